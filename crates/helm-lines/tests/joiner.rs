//! What holds for every input: nothing panics, no line is lost, and how the lines come in changes nothing.

#![expect(clippy::expect_used, reason = "strategies are tests too")]

use helm_core::time::Wall;
use helm_lines::{
    Entry, Flags, HOLD, JOIN_LINES, Joiner, Level, Line, MESSAGE_MAX, PIECE_HOLD, Position, Rule, Span, plain,
};
use proptest::prelude::*;

/// One piece as it is captured.
#[derive(Debug, Clone)]
struct Piece {
    after: i64,
    stream: u8,
    full: bool,
    text: Vec<u8>,
}

fn piece(text: &[u8]) -> Piece {
    Piece { after: 0, stream: 0, full: true, text: text.to_vec() }
}

const HOLD_NS: i64 = HOLD.as_nanos() as i64;
const PIECE_NS: i64 = PIECE_HOLD.as_nanos() as i64;

/// Pushes all; between two pieces time is told where `flush` says so. Positions count per stream.
fn join(rule: &Rule, pieces: &[Piece], flush: impl Fn(usize) -> bool) -> Vec<Entry> {
    let (mut joiner, mut out) = (Joiner::new(rule.clone(), 0), Vec::new());
    let (mut at, mut places) = (1_795_424_700_000_000_000, [0, 0]);
    for (index, piece) in pieces.iter().enumerate() {
        at += piece.after;
        if flush(index) {
            joiner.flush_before(Wall(at), &mut out);
        }
        let place = &mut places[usize::from(piece.stream)];
        let span = Span { first: Position(1, *place), last: Position(1, *place + 1) };
        *place += 1;
        let Piece { stream, full, ref text, .. } = *piece;
        joiner.push(Line { at: Wall(at), stream, full, text, span }, &mut out);
    }
    joiner.finish(&mut out);
    assert_eq!((joiner.held(0), joiner.held(1), joiner.deadline()), (None, None, None));
    out
}

/// Every stream's spans follow one another from its first piece to its last.
fn assert_partition(entries: &[Entry], pieces: &[Piece]) {
    for stream in 0..2 {
        let mut cursor = Position(1, 0);
        for entry in entries.iter().filter(|e| e.stream == stream) {
            assert_eq!(entry.span.first, cursor);
            assert!(entry.span.last > entry.span.first);
            cursor = entry.span.last;
        }
        assert_eq!(cursor, Position(1, pieces.iter().filter(|p| p.stream == stream).count() as u64));
    }
}

/// Lines that mean something to some reader, and any bytes.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "",
        "plain",
        "  indented",
        "\tat a.B.c(B.java:1)",
        "java.lang.Error: x",
        "Caused by: a.B",
        "Traceback (most recent call last):",
        "  File \"a.py\", line 1",
        "ValueError: x",
        "During handling of the above exception, another exception occurred:",
        "thread 'main' panicked at src/main.rs:1:2:",
        "note: run with `RUST_BACKTRACE=1`",
        "panic: x",
        "goroutine 1 [running]:",
        "main.main()",
        "/srv/web.js:12",
        "    at f (/srv/web.js:12:1)",
        "2026-11-23 09:04:00,424 - app - ERROR - x",
        "2026-11-23T09:04:00Z  INFO helmd: x",
        "[2026-11-23 09:04:00 +0100] [1] [INFO] x",
        "ERROR:app:x",
        "{\"level\":\"error\",\"msg\":\"x\"}",
        "{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T09:04:00Z\"}",
        "level=info msg=x",
        "<6>x",
        "<34>1 2026-11-23T09:04:00Z h a - - [a b=\"c\"] x",
        "E1123 10:04:00.003000   12 web.go:34] x",
        "127.0.0.1 - - [23/Nov/2026 09:04:00] \"GET / HTTP/1.1\" 200 -",
        "\u{1b}[31mERROR\u{1b}[0m red",
    ]);
    prop_oneof![
        6 => known.prop_map(|s| s.as_bytes().to_vec()),
        // A known line, cut or with something put into it.
        2 => (text_known(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut line, at, byte)| {
            if !line.is_empty() {
                let at = at.index(line.len());
                if byte % 2 == 0 { line.truncate(at) } else { line[at] = byte }
            }
            line
        }),
        1 => prop::collection::vec(any::<u8>(), 0..60),
        1 => "[\\PC\\[\\]{}<>:=\"\\\\ 0-9-]{0,40}".prop_map(String::into_bytes),
    ]
}

fn text_known() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        r#"{"timestamp":"2026-11-23T09:04:00.424977Z","level":"ERROR","message":"a\u0000\ud800b","correlation_id":"c"}"#,
        r#"{"a":NaN,"b":-Infinity,"c":"NaN","d":"x\"y"}"#,
        r#"time="2026-11-23T09:04:00Z" level=warning msg="it \"is\"" port=5004"#,
        "2026-11-23T09:04:00.424+01:00  INFO 12345 --- [demo] [ main] c.e.Demo : Started",
        "2026-11-23 09:04:00.424 CET [77] helm@helm_db FATAL:  no entry",
        "2026-11-23 09:04:00.424 | INFO | app.main:run:12 - done",
        "[Mon Nov 23 10:04:00.424977 2026] [core:warn] [pid 1] x",
        "<34>1 2026-11-23T09:04:00Z h a - - [a b=\"c\"] x",
        "\u{1b}]0;title\u{7}\u{9b}1mInfo: \u{1b}(Bx\r\u{1b}[",
    ])
    .prop_map(|s| s.as_bytes().to_vec())
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let after = prop_oneof![
        6 => Just(0),
        2 => 0..HOLD_NS,
        1 => prop::sample::select(vec![HOLD_NS - 1, HOLD_NS, PIECE_NS - 1, PIECE_NS, -HOLD_NS]),
    ];
    let one = (after, 0..2u8, prop::bool::weighted(0.85), text());
    prop::collection::vec(
        one.prop_map(|(after, stream, full, text)| Piece { after, stream, full, text }),
        0..40,
    )
}

fn rules() -> impl Strategy<Value = Rule> {
    let pattern = Rule::pattern("^(?P<level>[A-Z]+):(?P<message>.*)").expect("a pattern");
    let named = ["auto", "json", "logfmt", "python", "java", "syslog", "plain", "none"];
    let mut all: Vec<Rule> = named.iter().map(|name| Rule::named(name).expect("a rule")).collect();
    all.push(pattern);
    prop::sample::select(all)
}

proptest! {
    #[test]
    fn no_line_is_lost_and_none_is_read_twice(rule in rules(), pieces in pieces()) {
        let entries = join(&rule, &pieces, |_| false);
        assert_partition(&entries, &pieces);
        for entry in &entries {
            let body = &entry.body;
            prop_assert!(!body.message.contains('\0'));
            prop_assert!(body.searched().chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert_eq!(plain(body.searched()), None, "what is searched is plain");
            if let Some(context) = &body.context {
                let value: serde_json::Value = serde_json::from_str(context).expect("a context is JSON");
                prop_assert!(value.is_object());
            }
        }
    }

    #[test]
    fn telling_the_time_between_the_lines_changes_nothing(rule in rules(), pieces in pieces(), told in any::<u64>()) {
        // As long as the clock is not set back.
        let pieces: Vec<Piece> = pieces.into_iter().map(|p| Piece { after: p.after.max(0), ..p }).collect();
        let mut once = join(&rule, &pieces, |_| false);
        let mut told = join(&rule, &pieces, |index| told >> (index % 64) & 1 == 1);
        // Between the streams no order is promised.
        for entries in [&mut once, &mut told] {
            entries.sort_by_key(|entry| (entry.stream, entry.span.first));
        }
        prop_assert_eq!(once, told);
    }

    #[test]
    fn going_on_from_any_cursor_gives_the_rest(rule in rules(), pieces in pieces(), kept in any::<prop::sample::Index>()) {
        // One stream; helmd dies with some entries stored, and its successor reads from the cursor.
        let pieces: Vec<Piece> = pieces.into_iter().map(|p| Piece { stream: 0, ..p }).collect();
        let whole = join(&rule, &pieces, |_| false);
        prop_assume!(!whole.is_empty());
        let cursor = whole[kept.index(whole.len())].span.last.1;
        let rest = join(&rule, &pieces[cursor as usize..], |_| false);
        // From the cursor on each line is in exactly one entry, as it was before the cursor.
        assert_partition(&rest, &pieces[cursor as usize..]);
        prop_assert_eq!(rest.is_empty(), cursor as usize == pieces.len());
    }

    #[test]
    fn plain_text_is_shown_as_it_was_written(lines in prop::collection::vec("[^\n\0\r]{0,80}", 1..20)) {
        let pieces: Vec<Piece> = lines.iter().map(|line| piece(line.as_bytes())).collect();
        for rule in [Rule::Plain, Rule::None] {
            let shown: Vec<String> = join(&rule, &pieces, |_| false).into_iter().map(|e| e.body.message).collect();
            prop_assert_eq!(shown.join("\n"), lines.join("\n"));
        }
    }
}

#[test]
fn pieces_of_a_line_are_one_line() {
    let mut pieces = vec![piece(b"{\"msg\":\"a"), piece(b"b"), piece(b"c\"}")];
    pieces[0].full = false;
    pieces[1].full = false;
    // The other stream comes in between.
    pieces.insert(1, Piece { stream: 1, ..piece(b"other") });
    let entries = join(&Rule::Auto, &pieces, |_| true);
    assert_eq!(entries.iter().map(|e| e.body.message.as_str()).collect::<Vec<_>>(), ["abc", "other"]);
    assert_eq!(entries[0].span, Span { first: Position(1, 0), last: Position(1, 3) });
}

#[test]
fn a_line_that_pauses_too_long_is_two_entries() {
    let start = Piece { full: false, ..piece(b"half") };
    let end = Piece { after: PIECE_NS, ..piece(b"other half") };
    for flush in [false, true] {
        let entries = join(&Rule::Auto, &[start.clone(), end.clone(), piece(b"next")], |_| flush);
        let seen: Vec<_> =
            entries.iter().map(|e| (e.body.message.as_str(), e.body.flags.continued)).collect();
        assert_eq!(seen, [("half", false), ("other half", true), ("next", false)]);
    }
}

#[test]
fn the_last_entry_waits_and_says_for_how_long() {
    let (mut joiner, mut out) = (Joiner::new(Rule::Auto, 0), Vec::new());
    let span = Span { first: Position(3, 10), last: Position(3, 20) };
    joiner.push(Line { at: Wall(1000), stream: 1, full: true, text: b"x", span }, &mut out);
    assert_eq!((out.len(), joiner.held(1), joiner.held(0)), (0, Some(span), None));
    let due = joiner.deadline().expect("something waits");
    joiner.flush_before(Wall(due.0 - 1), &mut out);
    assert_eq!(out.len(), 0);
    joiner.flush_before(due, &mut out);
    assert_eq!((out.len(), out[0].stream, out[0].span, joiner.deadline()), (1, 1, span, None));
    // A clock that is set back does not keep it for an hour.
    joiner.push(Line { at: due, stream: 1, full: true, text: b"x", span }, &mut out);
    joiner.flush_before(Wall(due.0 - 3_600_000_000_000), &mut out);
    assert_eq!((out.len(), joiner.deadline()), (2, None));
    // What cannot be continued does not wait.
    joiner.push(Line { at: due, stream: 1, full: true, text: b"{\"msg\":\"x\"}", span }, &mut out);
    assert_eq!(out.len(), 3);
}

#[test]
fn long_lines_are_cut_and_say_how_long_they_were() {
    let chunk = Piece { full: false, ..piece("é".repeat(8192).as_bytes()) };
    let mut pieces = vec![chunk; 640];
    pieces.push(piece(b"end"));
    let entries = join(&Rule::Auto, &pieces, |_| false);
    let body = &entries[0].body;
    assert_eq!((entries.len(), body.message.len(), body.flags.truncated), (1, MESSAGE_MAX, true));
    assert_eq!(body.context_json(), format!(r#"{{"helm.message_bytes":"{}"}}"#, 640 * 16384 + 3));
    // One byte less than the limit is not cut.
    let body = &join(&Rule::Auto, &[piece(&vec![b'x'; MESSAGE_MAX])], |_| false)[0].body;
    assert_eq!((body.message.len(), body.flags.truncated), (MESSAGE_MAX, false));
}

#[test]
fn a_trace_without_end_becomes_several_entries_without_a_loss() {
    let mut pieces = vec![
        piece(b"2026-11-23 09:04:00,0 - app - ERROR - deep"),
        piece(b"Traceback (most recent call last):"),
    ];
    pieces.extend(vec![piece(b"  File \"a.py\", line 1, in f"); 2 * JOIN_LINES]);
    pieces.push(piece(b"RecursionError: too deep"));
    let entries = join(&Rule::Auto, &pieces, |_| false);
    assert_partition(&entries, &pieces);
    assert_eq!(entries.len(), 3);
    let lines: usize = entries.iter().map(|e| e.body.message.split('\n').count()).sum();
    assert_eq!(lines, pieces.len());
    for (index, entry) in entries.iter().enumerate() {
        let Flags { continued, truncated, .. } = entry.body.flags;
        assert_eq!((continued, truncated, entry.body.level), (index > 0, false, Level::Error));
        assert_eq!(entry.body.source_time, entries[0].body.source_time);
    }
}

#[test]
fn bytes_that_are_no_text() {
    let body = |text: &[u8]| join(&Rule::Auto, &[piece(text)], |_| false).remove(0).body;
    let invalid = body(b"a\xff\0b\r");
    assert_eq!((invalid.message.as_str(), invalid.flags.invalid_utf8), ("a\u{fffd}\u{2400}b", true));
    let coloured = body(
        "\u{1b}[1;31mred\u{1b}[0m \u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7} 10%\r20%\u{9b}2K\u{85}"
            .as_bytes(),
    );
    assert_eq!(coloured.searched(), "red link 10% 20%");
    assert!(coloured.message.starts_with("\u{1b}[1;31mred"));
    assert_eq!(body("Grüße, Ålesund".as_bytes()).plain, None);
}

#[test]
fn hostile_lines_are_bounded() {
    let body = |text: &str| join(&Rule::Auto, &[piece(text.as_bytes())], |_| false).remove(0).body;
    let deep = body(&format!(r#"{{"msg":"m","x":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000)));
    let value: serde_json::Value = serde_json::from_str(deep.context_json()).expect("JSON");
    assert!(value["x"].as_str().is_some_and(|text| text.starts_with("[[[")), "kept as text");
    let wide = body(&format!(r#"{{"msg":"m","x":"{}","y":1}}"#, "\u{e9}".repeat(60_000)));
    let context = wide.context_json();
    assert!(
        context.len() <= helm_lines::CONTEXT_MAX && context.contains("helm.context_bytes"),
        "{}",
        context.len()
    );
    let many: String = (0..20_000).map(|n| format!(r#","k{n}":{n}"#)).collect();
    assert!(body(&format!(r#"{{"msg":"m"{many}}}"#)).context_json().len() <= helm_lines::CONTEXT_MAX);
    assert_eq!(body(&"<6>".repeat(50_000)).level, Level::Info);
    let id = "t".repeat(50);
    let long = body(&format!(r#"{{"msg":"m","trace_id":"{id}"}}"#));
    assert_eq!(long.trace_id.as_deref(), Some(&id[..36]));
    assert_eq!(long.context_json(), format!(r#"{{"helm.trace_id":"{id}"}}"#));
}

#[test]
fn flags_are_bits() {
    for bits in 0..64 {
        assert_eq!(Flags::from_bits(bits).bits(), bits);
    }
}
