//! Where a stream is: helmd's own cursors, so that they outlive helm-web. A text that clients hand back.

use std::fmt;
use std::str::FromStr;

/// Behind which event and which log entry a stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The number of the last event; 0: none.
    pub event: u64,
    /// helmd's cursor of the log; empty: none.
    pub log: String,
}

impl Cursor {
    /// Behind this, or where it does not say, behind that: a cursor that was good once is not given away.
    #[must_use]
    pub fn or(&self, former: &Self) -> Self {
        let log = if self.log.is_empty() { &former.log } else { &self.log };
        Self { event: if self.event == 0 { former.event } else { self.event }, log: log.clone() }
    }
}

/// What was handed back is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor of a stream: hand back what the last `id:` said, or leave it out")]
pub struct BadCursor;

/// Longest cursor.
const LONGEST: usize = 4096;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}!{}", self.event, self.log)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (event, log) = text.split_once('!').ok_or(BadCursor)?;
        let plain = log.len() <= LONGEST && log.bytes().all(|b| b.is_ascii_graphic());
        let event = event.parse().map_err(|_| BadCursor)?;
        if plain { Ok(Self { event, log: log.to_owned() }) } else { Err(BadCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_yet_does_not_take_away_what_was() {
        let former = Cursor { event: 7, log: "a".into() };
        assert_eq!(Cursor::default().or(&former), former);
        let later = Cursor { event: 9, log: String::new() };
        assert_eq!(later.or(&former), Cursor { event: 9, log: "a".into() });
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for cursor in [Cursor::default(), Cursor { event: 7, log: "f1~default.7".to_owned() }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        for text in ["", "7", "x!y", "-1!a", "1!a b", "1!a\r\nid: 2"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text:?}");
        }
    }
}
