//! Syslog (RFC 5424, RFC 3164) and the prefixes of sd-daemon.

use super::{Format, Head, Message};
use crate::level::Level;
use crate::time::{self, Clock};

/// `<34>1 2026-11-23T09:04:00Z host app 12 ID - text`, `<34>Nov 23 09:04:00 host app[12]: text`, `<6>text`. What follows a
/// bare sd-daemon prefix is read on by `inner`.
pub(super) fn read(line: &str, clock: Clock, inner: impl Fn(&str, Clock) -> Option<Head>) -> Option<Head> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    if number.is_empty() || number.len() > 3 {
        return None;
    }
    let priority: u8 = number.parse().ok().filter(|p| *p <= 191)?;
    let level = Level::from_syslog(i64::from(priority & 7));
    let found = rfc5424(line, rest, clock).or_else(|| bare_at(line, rest, clock));
    if let Some(mut head) = found {
        head.level = level;
        head.context.number("facility", priority >> 3);
        return Some(head);
    }
    let mut head = match inner(rest, clock) {
        Some(mut head) => {
            if let Message::From(at) = head.message {
                head.message = Message::From(at + line.len() - rest.len());
            }
            head
        }
        None => Head::new(Format::Syslog).tail(line, rest),
    };
    // What the line itself says is more exact than eight steps.
    head.level = head.level.or(level);
    Some(head)
}

/// `Nov 23 09:04:00 host app[12]: text`: as in a file that a syslog daemon wrote.
pub(super) fn bare(line: &str, clock: Clock) -> Option<Head> {
    bare_at(line, line, clock)
}

fn bare_at(line: &str, rest: &str, clock: Clock) -> Option<Head> {
    let (at, length) = time::month_day(rest, clock)?;
    let rest = rest[length..].strip_prefix(' ')?;
    let mut head = Head::new(Format::Syslog);
    head.time = Some(at);
    // Local messages have no host: `Nov 23 09:04:00 app[12]: text`.
    let (host, tail) = match rest.split_once(' ') {
        Some((host, tail)) if !host.ends_with(':') => (Some(host), tail),
        _ => (None, rest),
    };
    if let Some(host) = host {
        head.context.string("host", host);
    }
    let message = match tail.split_once(": ") {
        Some((tag, message)) if !tag.contains(' ') && tag.len() <= 64 => {
            tagged(&mut head, tag);
            message
        }
        _ => tail,
    };
    Some(head.tail(line, message))
}

/// `app[12]`
fn tagged(head: &mut Head, tag: &str) {
    match tag.strip_suffix(']').and_then(|tag| tag.split_once('[')) {
        Some((app, process)) => {
            head.context.string("app", app);
            head.context.string("process", process);
        }
        None => head.context.string("app", tag),
    }
}

fn rfc5424(line: &str, rest: &str, clock: Clock) -> Option<Head> {
    let rest = rest.strip_prefix("1 ")?;
    let (stamp, mut rest) = rest.split_once(' ')?;
    let mut head = Head::new(Format::Syslog);
    head.time = if stamp == "-" { None } else { Some(time::whole(stamp, clock)?) };
    for key in ["host", "app", "process", "message_id"] {
        let (value, tail) = rest.split_once(' ')?;
        rest = tail;
        if value != "-" {
            head.context.string(key, value);
        }
    }
    let message = match rest.strip_prefix('-') {
        Some(message) => message,
        None => {
            let end = data_end(rest)?;
            head.context.string("structured_data", &rest[..end]);
            &rest[end..]
        }
    };
    let message = message.strip_prefix(' ').unwrap_or(message);
    Some(head.tail(line, message.strip_prefix('\u{feff}').unwrap_or(message)))
}

/// Where the structured data `[id key="value"][...]` ends.
fn data_end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped, mut open) = (false, false, false);
    for (at, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' if !quoted => open = true,
            b']' if !quoted => open = false,
            b' ' if !open => return Some(at),
            _ if !open => return None,
            _ => {}
        }
    }
    (!open && text.starts_with('[')).then_some(text.len())
}
