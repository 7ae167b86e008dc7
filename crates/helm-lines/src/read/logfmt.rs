//! logfmt: `time=2026-11-23T09:04:00Z level=info msg="started" port=5004`.

use std::borrow::Cow;

use super::{Format, Head, Message};
use crate::level::Level;
use crate::time::{self, Clock};

/// Reads a line of pairs. Unless it was `asked` for, a line is logfmt only if all of it is pairs, there are two or more,
/// and one of them is a level or a message.
pub(super) fn read(line: &str, clock: Clock, asked: bool) -> Option<Head> {
    // The cheap no: the first word has no `=`.
    let first = line.as_bytes().iter().position(|b| matches!(b, b'=' | b' ' | b'"' | b':'))?;
    if line.as_bytes()[first] != b'=' && !asked {
        return None;
    }
    let (mut pairs, mut known) = (0, false);
    for pair in Pairs(line) {
        let (key, value) = pair?;
        pairs += usize::from(value.is_some());
        known |= matches!(key, "level" | "lvl" | "severity" | "msg" | "message");
        if value.is_none() && !asked {
            return None;
        }
    }
    if pairs == 0 || !asked && (pairs < 2 || !known) {
        return None;
    }
    let mut head = Head::new(Format::Logfmt);
    let mut message: Option<String> = None;
    for (key, value) in Pairs(line).flatten() {
        let Some(value) = value else {
            head.context.json(key, "true");
            continue;
        };
        let taken = match key {
            "time" | "ts" | "timestamp" | "t" if head.time.is_none() => {
                head.time = time::whole(&value, clock);
                head.time.is_some()
            }
            "level" | "lvl" | "severity" if head.level.is_none() => {
                head.level = Level::parse(&value);
                head.level.is_some()
            }
            "msg" | "message" if message.is_none() => {
                message = Some(value.to_string());
                true
            }
            "trace_id" | "traceID" | "traceId" | "correlation_id" | "request_id" if head.trace.is_none() => {
                head.trace = Some(value.to_string());
                true
            }
            "user_id" | "userId" if head.user.is_none() => {
                head.user = Some(value.to_string());
                true
            }
            _ => false,
        };
        if !taken {
            head.context.string(key, &value);
        }
    }
    if let Some(message) = message {
        head.message = Message::Text(message);
    }
    Some(head)
}

/// The pairs of a line; `None` for what is no pair, which ends it.
struct Pairs<'a>(&'a str);

impl<'a> Iterator for Pairs<'a> {
    type Item = Option<(&'a str, Option<Cow<'a, str>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches(' ');
        if rest.is_empty() {
            return None;
        }
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_-.@/".contains(b)).count();
        let (key, after) = rest.split_at(length);
        if key.is_empty() {
            self.0 = "";
            return Some(None);
        }
        let Some(after) = after.strip_prefix('=') else {
            let bare = after.is_empty() || after.starts_with(' ');
            self.0 = if bare { after } else { "" };
            return Some(bare.then_some((key, None)));
        };
        let (value, after) = match after.strip_prefix('"') {
            None => {
                let end = memchr::memchr(b' ', after.as_bytes()).unwrap_or(after.len());
                (Cow::Borrowed(&after[..end]), &after[end..])
            }
            Some(quoted) => match unquote(quoted) {
                Some(found) => found,
                None => {
                    self.0 = "";
                    return Some(None);
                }
            },
        };
        self.0 = after;
        Some(Some((key, Some(value))))
    }
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut at = 0;
    let mut owned: Option<String> = None;
    let mut from = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?.as_bytes())?;
        if text.as_bytes()[at] == b'"' {
            let value = match owned {
                None => Cow::Borrowed(&text[..at]),
                Some(owned) => Cow::Owned(owned + &text[from..at]),
            };
            return Some((value, &text[at + 1..]));
        }
        let escaped = text[at + 1..].chars().next()?;
        let out = owned.get_or_insert_default();
        out.push_str(&text[from..at]);
        out.push(match escaped {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            other => other,
        });
        at += 1 + escaped.len_utf8();
        from = at;
    }
}
