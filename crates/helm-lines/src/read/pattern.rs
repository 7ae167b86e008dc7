//! The operator's own pattern.

use regex::Regex;

use super::{Format, Head, Message};
use crate::level::Level;
use crate::time::{self, Clock};

/// Reads what the named groups matched.
pub(super) fn read(pattern: &Regex, line: &str, clock: Clock) -> Option<Head> {
    let found = pattern.captures(line)?;
    let mut head = Head::new(Format::Pattern);
    for name in pattern.capture_names().flatten() {
        let Some(group) = found.name(name) else { continue };
        let value = group.as_str();
        let taken = match name {
            "message" => {
                head.message = if group.end() == line.len() {
                    Message::From(group.start())
                } else {
                    Message::Text(value.to_owned())
                };
                true
            }
            "level" => {
                head.level = Level::parse(value);
                head.level.is_some()
            }
            "time" => {
                head.time = stamp(value, clock);
                head.time.is_some()
            }
            "trace" => {
                head.trace = Some(value.to_owned());
                true
            }
            "user" => {
                head.user = Some(value.to_owned());
                true
            }
            _ => false,
        };
        if !taken {
            head.context.string(name, value);
        }
    }
    Some(head)
}

/// A time in any form that is read elsewhere.
fn stamp(text: &str, clock: Clock) -> Option<i64> {
    let any = || {
        [time::access, time::month_day, time::ctime, time::of_day]
            .into_iter()
            .find_map(|read| read(text, clock))
    };
    time::whole(text, clock).or_else(|| any().map(|(at, _)| at))
}
