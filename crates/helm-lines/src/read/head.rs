//! The parts of a textual head that many formats share: levels, names in brackets, processes and threads.

use super::{Format, Head};
use crate::level::Level;

/// Words that are a level where a head has one, in capitals and without anything around them.
const BARE: [&str; 14] = [
    "TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "ERR", "SEVERE", "FATAL", "CRITICAL",
    "CRIT", "FINE", "PANIC",
];

/// Of these, the ones that may begin a line without a time stamp and a colon: the others begin sentences as well.
const ALONE: [&str; 7] = ["DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "SEVERE"];

/// Words that are a level before a colon at the start of a line, in any case (`http: TLS handshake error` is no level).
const COLON: [&str; 12] = [
    "trace", "debug", "info", "notice", "warn", "warning", "error", "err", "fatal", "critical", "crit",
    "severe",
];

/// A line that begins with its level.
pub(super) fn leveled(line: &str) -> Option<Head> {
    let start = line.trim_start_matches(' ');
    let mut head = Head::new(Format::Leveled);
    if start.starts_with('[') {
        let rest = bracketed_level(start, &mut head)?;
        let rest = after_level(rest, &mut head, false);
        return Some(head.tail(line, rest));
    }
    let word = word(start);
    let rest = &start[word.len()..];
    head.level = Level::of_word(word);
    head.level?;
    let capitals = word.bytes().all(|b| b.is_ascii_uppercase());
    if let Some(rest) = rest.strip_prefix(':') {
        if !capitals && !COLON.iter().any(|w| w.eq_ignore_ascii_case(word))
            || capitals && !BARE.contains(&word)
        {
            return None;
        }
        // `Error: no such file` is how a program words its message: it is shown as it was written.
        if word.as_bytes()[0].is_ascii_uppercase() && !capitals {
            return rest.starts_with(' ').then_some(head);
        }
        let rest = match (capitals, name_to_colon(rest)) {
            // `ERROR:app.views:text`
            (true, Some((name, text))) => {
                head.context.string("logger", name);
                text
            }
            _ if rest.starts_with(' ') || rest.is_empty() => rest.trim_start(),
            _ => return None,
        };
        return Some(head.tail(line, rest));
    }
    if !ALONE.contains(&word) || !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = after_level(rest, &mut head, start.len() < line.len());
    Some(head.tail(line, rest))
}

/// The letters (and what else names have) at the start.
pub(super) fn word(text: &str) -> &str {
    let end = text.bytes().take_while(|b| b.is_ascii_alphanumeric()).count();
    &text[..end]
}

/// A level in capitals at the start of `text`, and what follows it.
pub(super) fn bare_level(text: &str) -> Option<(Level, &str)> {
    let word = word(text);
    let rest = &text[word.len()..];
    let known =
        BARE.contains(&word) && (rest.is_empty() || rest.starts_with([' ', ':', '\t', ']', '|', ',']));
    // `info: text` of winston and its like.
    let colon = || rest.starts_with(": ") && COLON.contains(&word);
    (known || colon()).then(|| Level::of_word(word)).flatten().map(|level| (level, rest))
}

/// `[INFO] rest`: takes the level, gives the rest.
pub(super) fn bracketed_level<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let (inner, rest) = bracket(text)?;
    let level = Level::of_word(inner.trim())?;
    head.level = Some(level);
    Some(rest)
}

/// The text within brackets at the start, and what follows. Nothing longer than a name is looked for.
pub(super) fn bracket(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('[')?;
    let end = memchr::memchr2(b']', b'[', &inner.as_bytes()[..inner.len().min(100)])?;
    (inner.as_bytes()[end] == b']').then(|| (&inner[..end], &inner[end + 1..]))
}

/// What stands between level and message: a logger, a thread, a process. Gives the message. `target` says that a name with
/// a colon is one even if it is a plain word (Rust's tracing and env_logger).
pub(super) fn after_level<'a>(text: &'a str, head: &mut Head, target: bool) -> &'a str {
    if let Some(rest) = text.strip_prefix('\t') {
        return tabbed(rest, head);
    }
    // `:` `]` `|` `-` are what some formats put behind a level.
    let rest = text.trim_start_matches(':').trim_start();
    if let Some(rest) = rest.strip_prefix("- ") {
        return named(rest, head).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("| ").unwrap_or(rest);
    // Quarkus and Keycloak: `[io.quarkus] (main) text`; others: `[logger] text`.
    if let Some((name, after)) = bracket(rest).filter(|(name, _)| is_name(name)) {
        head.context.string("logger", name);
        let after = after.trim_start();
        let thread = after
            .strip_prefix('(')
            .and_then(|t| t.split_once(") "))
            .filter(|(thread, _)| thread.len() <= 100);
        if let Some((thread, message)) = thread {
            head.context.string("thread", thread);
            return message;
        }
        return after.strip_prefix(": ").or_else(|| after.strip_prefix("- ")).unwrap_or(after);
    }
    // Spring Boot: `12345 --- [app] [main] c.e.Demo : text`.
    if let Some((process, after)) = rest.split_once(" --- ").filter(|(p, _)| digits(p)) {
        head.context.number("process", process.trim_start_matches('0').parse::<u64>().unwrap_or(0));
        let mut after = after.trim_start();
        let mut names = [None; 2];
        for place in &mut names {
            let Some((name, tail)) = bracket(after) else { break };
            *place = Some(name.trim());
            after = tail.trim_start();
        }
        let (app, thread) =
            if let [Some(app), Some(thread)] = names { (Some(app), Some(thread)) } else { (None, names[0]) };
        for (key, name) in [("app", app), ("thread", thread)] {
            if let Some(name) = name {
                head.context.string(key, name);
            }
        }
        return match after.split_once(" : ").filter(|(name, _)| is_name(name.trim())) {
            Some((name, message)) => {
                head.context.string("logger", name.trim());
                message
            }
            None => after,
        };
    }
    // pino-pretty: `(1234): text`, `(name/1234): text`.
    if let Some((name, message)) = rest.strip_prefix('(').and_then(|r| r.split_once("): "))
        && is_name(name)
    {
        head.context.string("process", name);
        return message;
    }
    // Flask: `in views: text`.
    if let Some((name, message)) = rest.strip_prefix("in ").and_then(|r| r.split_once(": "))
        && is_name(name)
    {
        head.context.string("logger", name);
        return message;
    }
    // Rust: `helmd::store: text`.
    if let Some((name, message)) = rest.split_once(": ")
        && is_name(name)
        && (name.contains("::") || target && is_target(name))
    {
        head.context.string("logger", name);
        return message;
    }
    // logback: `com.example.Web - text`.
    named(rest, head).unwrap_or(rest)
}

/// `com.example.Web - text`, logback's `com.example.Web -- text`. One bare word before a dash is a word of the text.
fn named<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let (name, message) = text.split_once(" - ").or_else(|| text.split_once(" -- "))?;
    let name = name.trim_end();
    if !is_name(name) || !name.contains(['.', ':', '_']) {
        return None;
    }
    head.context.string("logger", name);
    Some(message)
}

/// zap's console: `logger\tfile.go:12\ttext\t{"more": 1}`.
fn tabbed<'a>(text: &'a str, head: &mut Head) -> &'a str {
    let mut rest = text;
    let mut logger = None;
    for _ in 0..2 {
        let Some((part, tail)) = rest.split_once('\t') else { break };
        if part.contains(' ') {
            break;
        }
        let caller = part.rsplit_once(':').is_some_and(|(file, line)| file.contains('.') && digits(line));
        if caller {
            if let Some(logger) = logger {
                head.context.string("logger", logger);
            }
            head.context.string("caller", part);
            return tail;
        }
        logger = Some(part);
        rest = tail;
    }
    text
}

/// `app.views:` before the text of Python's basic format, where no space follows the colons.
fn name_to_colon(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(':')?;
    is_name(name).then_some((name, rest))
}

/// One word as loggers, modules, threads and processes are called.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-:/$<>#@".contains(&b))
}

/// A plain word that may be the target of a Rust logger: the name of a crate.
fn is_target(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_digit())
}
