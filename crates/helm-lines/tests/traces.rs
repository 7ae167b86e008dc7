//! Stack traces of five languages, as they are printed: one entry each, and not a line more.

use helm_core::time::Wall;
use helm_lines::{Explanation, Format, Rule, explain_lines};

fn entries_by(rule: &Rule, text: &str) -> Vec<Explanation> {
    explain_lines(rule, 0, text.split('\n').map(str::as_bytes), Wall(1_795_424_700_000_000_000))
}

/// What the entries of `text` are: their lines, format and level.
fn entries(text: &str) -> Vec<((u64, u64), Format, &'static str)> {
    let of = |e: &Explanation| (e.lines, e.entry.format, e.entry.body.level.word());
    entries_by(&Rule::Auto, text).iter().map(of).collect()
}

const PYTHON: &str = r#"Traceback (most recent call last):
  File "/srv/core/app/views.py", line 12, in show
    return ledger[key]
           ~~~~~~^^^^^
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/core/run.py", line 3, in <module>
    main()
sqlalchemy.exc.OperationalError: (psycopg.OperationalError) connection refused"#;

#[test]
fn python() {
    assert_eq!(
        entries(&format!("before\n{PYTHON}\nafter")),
        [
            ((1, 1), Format::Plain, "INFO"),
            ((2, 13), Format::Trace, "ERROR"),
            ((14, 14), Format::Plain, "INFO"),
        ]
    );
    // Behind the record that tells of it: one entry, with the record's own level.
    let record = format!(
        "[2026-11-23 09:04:00,424] ERROR in app: Exception on / [GET]\n{PYTHON}\n127.0.0.1 - - [23/Nov/2026 09:04:00] \"GET / HTTP/1.1\" 500 -"
    );
    assert_eq!(entries(&record), [((1, 13), Format::Stamped, "ERROR"), ((14, 14), Format::Access, "INFO")]);
    // Two that do not follow from each other are two.
    let two = "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError\nTraceback (most recent call last):\n  File \"a.py\", line 1\nKeyboardInterrupt";
    assert_eq!(entries(two), [((1, 3), Format::Trace, "ERROR"), ((4, 6), Format::Trace, "ERROR")]);
    let thread = "Exception in thread Thread-1 (work):\nTraceback (most recent call last):\n  File \"a.py\", line 1, in work\nValueError: x";
    assert_eq!(entries(thread), [((1, 4), Format::Trace, "ERROR")]);
}

#[test]
fn java() {
    let trace = "java.lang.IllegalStateException: no database\n\tat com.example.Web.start(Web.java:12)\n\tat com.example.Web.main(Web.java:3)\n\tSuppressed: java.io.IOException: close\n\t\tat com.example.Web.close(Web.java:9)\nCaused by: java.net.ConnectException: refused\n\tat java.base/sun.nio.ch.Net.connect(Native Method)\n\t... 12 more";
    let record = format!(
        "2026-11-23 09:04:00,424 ERROR [org.keycloak] (main) Failed to start\n{trace}\n2026-11-23 09:04:00,425 INFO  [io.quarkus] (main) stopped"
    );
    assert_eq!(entries(&record), [((1, 9), Format::Stamped, "ERROR"), ((10, 10), Format::Stamped, "INFO")]);
    assert_eq!(
        entries(&format!("Exception in thread \"main\" {trace}\nbye")),
        [((1, 8), Format::Trace, "ERROR"), ((9, 9), Format::Plain, "INFO"),]
    );
    assert_eq!(entries(trace), [((1, 8), Format::Trace, "ERROR")]);
    // A name alone is no trace.
    assert_eq!(
        entries("java.io.IOException: no file\nnext"),
        [((1, 1), Format::Plain, "INFO"), ((2, 2), Format::Plain, "INFO"),]
    );
}

#[test]
fn rust() {
    let panic = "thread 'main' panicked at src/main.rs:4:5:\nassertion `left == right` failed: no\n  left: 1\n right: 2\nstack backtrace:\n   0: rust_begin_unwind\n             at /rustc/5980/library/std/src/panicking.rs:689:5\n   1: demo::main\n             at ./src/main.rs:4:5\nnote: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\nnext";
    assert_eq!(entries(panic), [((1, 10), Format::Trace, "ERROR"), ((11, 11), Format::Plain, "INFO")]);
    let short = "thread 'worker' (4711) panicked at src/w.rs:1:1:\nboom\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\nnext";
    assert_eq!(entries(short)[0], ((1, 3), Format::Trace, "ERROR"));
    let old = "thread '<unnamed>' panicked at 'boom', src/w.rs:1:1\nnext";
    assert_eq!(entries(old), [((1, 1), Format::Trace, "ERROR"), ((2, 2), Format::Plain, "INFO")]);
}

#[test]
fn go() {
    let panic = "panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x49]\n\ngoroutine 1 [running]:\nmain.(*Web).start(0x0)\n\t/srv/web.go:12 +0x1d\nmain.main()\n\t/srv/web.go:3 +0x25\n\ngoroutine 5 [chan receive]:\nmain.wait(...)\n\t/srv/web.go:30\ncreated by main.main in goroutine 1\n\t/srv/web.go:2 +0x11\nexit status 2";
    assert_eq!(entries(panic)[0], ((1, 14), Format::Trace, "CRITICAL"));
    let served = "2026/11/23 09:04:00 http: panic serving 127.0.0.1:5: boom\ngoroutine 7 [running]:\nnet/http.(*conn).serve.func1()\n\t/go/server.go:1 +0xbf\n2026/11/23 09:04:01 next";
    assert_eq!(entries(served), [((1, 4), Format::Stamped, "CRITICAL"), ((5, 5), Format::Stamped, "INFO")]);
    // The word alone proves nothing.
    assert_eq!(entries("panic: at the disco\nnext")[0], ((1, 1), Format::Plain, "INFO"));
}

#[test]
fn node() {
    let uncaught = "/srv/web.js:12\n    throw new TypeError('no port');\n    ^\n\nTypeError: no port\n    at Object.<anonymous> (/srv/web.js:12:11)\n    at Module._compile (node:internal/modules/cjs/loader:1554:14) {\n  code: 'ENOPORT'\n}\n\nNode.js v22.14.0";
    assert_eq!(entries(uncaught), [((1, 11), Format::Trace, "ERROR")]);
    let logged = "TypeError: no port\n    at start (/srv/web.js:12:11)\n    at async main (file:///srv/web.mjs:3:1)\nlistening";
    assert_eq!(entries(logged), [((1, 3), Format::Trace, "ERROR"), ((4, 4), Format::Plain, "INFO")]);
}

#[test]
fn lines_of_one_record() {
    // Indented lines belong to the record before them, and to nothing else.
    let text = "2026-11-23 09:04:00,424 - db - INFO - SELECT *\n  FROM users\n    WHERE 1\n2026-11-23 09:04:01,0 - db - INFO - next\nflat\n  indented";
    assert_eq!(entries(text).iter().map(|e| e.0).collect::<Vec<_>>(), [(1, 3), (4, 4), (5, 5), (6, 6)]);
    // Where a format is named, every line without a head does.
    let named = entries_by(&Rule::named("python").expect("a rule"), text);
    assert_eq!(named.iter().map(|e| e.lines).collect::<Vec<_>>(), [(1, 3), (4, 6)]);
    assert_eq!(named[1].entry.body.message, "next\nflat\n  indented");
    // An indented head is a head: Rust's tracing without times.
    assert_eq!(entries(" INFO web: up\n WARN web: slow").len(), 2);
    // A banner is not indented.
    let werkzeug = "\u{1b}[31mWARNING: This is a development server.\u{1b}[0m\n * Running on http://127.0.0.1:5000\nPress CTRL+C to quit";
    assert_eq!(entries(werkzeug).iter().map(|e| e.2).collect::<Vec<_>>(), ["WARNING", "INFO", "INFO"]);
    // JSON lines stand alone.
    assert_eq!(entries("{\"msg\":\"a\"}\n  b").len(), 2);
    assert_eq!(entries_by(&Rule::None, PYTHON).len(), PYTHON.lines().count());
    assert_eq!(entries_by(&Rule::Plain, PYTHON).len(), 1);
}

#[test]
fn a_record_with_a_trace_behind_it_is_as_grave_as_the_trace() {
    let python = "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\nValueError: no";
    let java = "java.lang.IllegalStateException: no\n\tat com.example.Web.get(Web.java:12)";
    for (rule, record, trace, lines) in [
        (Rule::Auto, "2026-11-23 09:04:00,424 - db - WARNING - slow", python, 4),
        (Rule::named("python").unwrap(), "2026-11-23 09:04:00,424 - db - INFO - stopped", python, 4),
        (Rule::Auto, "2026-11-23 09:04:00,424 WARN  [org.keycloak] (main) slow", java, 3),
        (
            Rule::named("java").unwrap(),
            "2026-11-23 09:04:00,424 INFO  [org.keycloak] (main) stopped",
            java,
            3,
        ),
    ] {
        let text = format!("{record}\n{trace}");
        let found = entries_by(&rule, &text);
        let seen: Vec<_> = found.iter().map(|e| (e.lines, e.entry.body.level.word())).collect();
        assert_eq!(seen, [((1, lines), "ERROR")], "{text}");
    }
    // Behind a record that says that all is well, a trace is an entry of its own.
    let apart = format!("2026-11-23 09:04:00,424 - db - INFO - stopped\n{python}");
    assert_eq!(entries(&apart).iter().map(|e| e.2).collect::<Vec<_>>(), ["INFO", "ERROR"]);
}
