//! Text that begins with a time: Python's logging, gunicorn, Flask, loguru, Java's loggers, Rust's, Go's, nginx, PostgreSQL,
//! klog. They differ in what follows the stamp, and in little else.

use super::head::{after_level, bare_level, bracket, bracketed_level, digits, is_name};
use super::{Format, Head};
use crate::level::Level;
use crate::time::{self, Clock};

/// Whose stamp it looks like: where a format without marks is told from a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `2026-11-23 09:04:00,424`
    Python,
    /// `2026-11-23T09:04:00.424977Z`
    Rust,
    Other,
}

/// A line that begins with a stamp: `2026-11-23 09:04:00,424 ...`, `2026/11/23 09:04:00 ...`, `09:04:00.424 [main] ...`.
pub(super) fn read(line: &str, clock: Clock) -> Option<Head> {
    let (at, length) = match time::iso(line, clock) {
        // A date without a time is no head.
        Some((_, ..=10)) | None => time::of_day(line, clock)?,
        Some(found) => found,
    };
    let rest = &line[length..];
    if rest.starts_with(|c: char| c.is_alphanumeric() || c == '-') {
        return None;
    }
    // A time of day alone is a head only if a level follows: `09:04:00 we start` is a sentence.
    let needs_level = length < 19;
    let mut head = Head::new(Format::Stamped);
    head.time = Some(at);
    let stamp = &line.as_bytes()[..length];
    let style = match stamp.len() {
        23 if stamp[19] == b',' => Style::Python,
        20.. if stamp[10] == b'T' && stamp.ends_with(b"Z") => Style::Rust,
        _ => Style::Other,
    };
    let message = after_time(rest, &mut head, style);
    (head.level.is_some() || !needs_level).then(|| head.tail(line, message))
}

/// A line that begins with a stamp in brackets: gunicorn, Flask, env_logger, pino-pretty, Apache.
pub(super) fn bracketed(line: &str, clock: Clock) -> Option<Head> {
    let inner = line.strip_prefix('[')?;
    let mut head = Head::new(Format::Stamped);
    if let Some((at, length)) = time::ctime(inner, clock) {
        // Apache: `[Wed Nov 23 09:04:00.1 2026] [core:error] [pid 12:tid 34] text`.
        let rest = inner[length..].strip_prefix("] ")?;
        head.time = Some(at);
        let (module, after) = bracket(rest)?;
        let (module, level) = module.split_once(':')?;
        head.level = Level::of_word(level);
        head.context.string("logger", module);
        let message = after.trim_start();
        return Some(head.tail(line, message));
    }
    let (at, length) = match time::iso(inner, clock) {
        Some((_, ..=10)) | None => time::of_day(inner, clock)?,
        Some(found) => found,
    };
    head.time = Some(at);
    let rest = &inner[length..];
    if let Some(rest) = rest.strip_prefix(']') {
        let message = after_time(rest, &mut head, Style::Other);
        return (head.level.is_some() || length >= 19).then(|| head.tail(line, message));
    }
    // env_logger: `[2026-11-23T09:04:00Z INFO  helmd::store] text`.
    let (said, message) = rest.strip_prefix(' ')?.split_once(']')?;
    let (level, after) = bare_level(said)?;
    head.level = Some(level);
    if is_name(after.trim()) {
        head.context.string("logger", after.trim());
    }
    Some(head.tail(line, message.trim_start()))
}

/// `E1123 09:04:00.123456    1 file.go:12] text`
pub(super) fn klog(line: &str, clock: Clock) -> Option<Head> {
    let letter = line.get(..1).filter(|l| matches!(*l, "I" | "W" | "E" | "F" | "D"))?;
    let (at, length) = time::klog(&line[1..], clock)?;
    let (said, message) = line[1 + length..].split_once("] ")?;
    let (process, place) = said.trim().rsplit_once(' ')?;
    let process = process.trim();
    if !digits(process) || !place.contains(':') {
        return None;
    }
    let mut head = Head::new(Format::Klog);
    head.time = Some(at);
    head.level = Level::parse(letter);
    head.context.string("process", process);
    head.context.string("caller", place);
    Some(head.tail(line, message))
}

/// What follows a stamp. Without a level that can be recognised all of it is the message.
fn after_time<'a>(text: &'a str, head: &mut Head, style: Style) -> &'a str {
    // tracing pads the level, zap separates by tabs, some put a colon.
    let rest = text.strip_prefix(':').unwrap_or(text).trim_start();
    if let Some(found) = bare_level(rest).and_then(|(level, after)| known(level, after, head, style)) {
        return found;
    }
    if let Some(found) = lower_tabbed(rest).and_then(|(level, after)| known(level, after, head, style)) {
        return found;
    }
    match rest.as_bytes().first() {
        Some(b'-') => dashes(rest, head).unwrap_or(rest),
        Some(b'|') => bars(rest, head).unwrap_or(rest),
        Some(b'[') => brackets(rest, head).unwrap_or(rest),
        _ => named_level(rest, head, style).or_else(|| postgres(rest, head)).unwrap_or(rest),
    }
}

fn known<'a>(level: Level, after: &'a str, head: &mut Head, style: Style) -> Option<&'a str> {
    head.level = Some(level);
    // `2026-11-23 09:04:00,424:ERROR:name:text` and `... ERROR:name:text`.
    if let Some((name, text)) = after.strip_prefix(':').and_then(|rest| rest.split_once(':'))
        && is_name(name)
    {
        head.context.string("logger", name);
        return Some(text.trim_start());
    }
    Some(after_level(after, head, style == Style::Rust))
}

/// `info\ttext` of zap's console in lower case.
fn lower_tabbed(text: &str) -> Option<(Level, &str)> {
    let (word, _) = text.split_once('\t')?;
    Some((Level::of_word(word)?, &text[word.len()..]))
}

/// `- name - LEVEL - text`, also with process or thread between, or without a name.
fn dashes<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let mut rest = text.strip_prefix("- ")?;
    let mut names: [&str; 3] = [""; 3];
    for at in 0..=names.len() {
        let (part, after) = rest.split_once(" - ").or_else(|| rest.split_once(": "))?;
        let part = part.trim();
        if let Some((level, "")) = bare_level(part) {
            head.level = Some(level);
            for (key, name) in
                ["logger", "process", "thread"].iter().zip(names).filter(|(_, name)| !name.is_empty())
            {
                head.context.string(key, name);
            }
            return Some(after);
        }
        if !is_name(part) {
            return None;
        }
        *names.get_mut(at)? = part;
        rest = after;
    }
    None
}

/// loguru: `| INFO     | module:function:12 - text`.
fn bars<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let (level, after) = text.strip_prefix("| ")?.split_once('|')?;
    head.level = Some(Level::of_word(level.trim())?);
    let after = after.trim_start();
    match after.split_once(" - ").or_else(|| after.split_once(" | ")).filter(|(name, _)| is_name(name)) {
        Some((name, message)) => {
            head.context.string("logger", name);
            Some(message)
        }
        None => Some(after),
    }
}

/// `[12] [INFO] text` (gunicorn), `[error] 12#34: *1 text` (nginx), `[main] INFO  c.e.Web - text` (logback),
/// `[12] LOG:  text` (PostgreSQL).
fn brackets<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let mut rest = text;
    let mut names = [""; 3];
    let mut count = 0;
    loop {
        if let Some(after) = bracketed_level(rest, head) {
            names_of(head, &names[..count], "logger");
            let after = after.trim_start();
            if let Some((worker, message)) =
                after.split_once("#").and_then(|(pid, t)| digits(pid).then_some((pid, t.split_once(": ")?.1)))
            {
                head.context.string("process", worker);
                return Some(message);
            }
            return Some(after_level(after, head, false));
        }
        let Some((name, after)) = bracket(rest) else { break };
        *names.get_mut(count)? = name.trim();
        count += 1;
        rest = after.trim_start();
    }
    if let Some((level, after)) = bare_level(rest) {
        names_of(head, &names[..count], "thread");
        head.level = Some(level);
        return Some(after_level(after, head, false));
    }
    let message = postgres(rest, head)?;
    names_of(head, &names[..count], "thread");
    Some(message)
}

fn names_of(head: &mut Head, names: &[&str], word: &'static str) {
    let mut words = [word, "thread", "name"].into_iter();
    for name in names {
        if digits(name) {
            head.context.string("process", name);
        } else if let Some(key) = words.next() {
            head.context.string(key, name);
        }
    }
}

/// `name LEVEL text`, `12 INFO name text`: one word before the level. An ordinary word is a logger's name only behind a stamp
/// as Python writes it.
fn named_level<'a>(text: &'a str, head: &mut Head, style: Style) -> Option<&'a str> {
    let (word, rest) = text.split_once(' ')?;
    let rest = rest.trim_start();
    let name = word.strip_suffix(':').unwrap_or(word);
    let marked = name.len() < word.len() || digits(name) || name.contains('.');
    if !is_name(name) || !(marked || style == Style::Python) {
        return None;
    }
    let found = match bare_level(rest) {
        Some((level, after)) => {
            head.level = Some(level);
            after_level(after, head, style == Style::Rust)
        }
        None => {
            let after = bracketed_level(rest, head)?;
            after_level(after, head, style == Style::Rust)
        }
    };
    head.context.string(if digits(name) { "process" } else { "logger" }, name);
    Some(found)
}

/// PostgreSQL: `CET [12] user@db LOG:  text`; its words are its own.
fn postgres<'a>(text: &'a str, head: &mut Head) -> Option<&'a str> {
    let (said, message) = text.split_once(":  ")?;
    let word = said.rsplit(' ').next()?;
    let level = match word {
        "LOG" | "DETAIL" | "HINT" | "CONTEXT" | "STATEMENT" | "QUERY" | "LOCATION" => Level::Info,
        "DEBUG1" | "DEBUG2" | "DEBUG3" | "DEBUG4" | "DEBUG5" => Level::Debug,
        _ => bare_level(word)?.0,
    };
    let zone = |part: &str| part.len() <= 5 && part.bytes().all(|b| b.is_ascii_uppercase());
    let known = |part: &str| zone(part) || part.contains('@') || part.starts_with('[') && part.ends_with(']');
    if !said.split(' ').filter(|part| *part != word).all(known) {
        return None;
    }
    head.level = Some(level);
    for part in said.split(' ').filter(|p| *p != word) {
        match part.strip_prefix('[').and_then(|p| p.strip_suffix(']')) {
            Some(process) => head.context.string("process", process),
            None if part.contains('@') => head.context.string("session", part),
            None => {}
        }
    }
    Some(message)
}
