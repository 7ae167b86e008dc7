//! How long something is kept: by age, by size, or by both.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conf::LONGEST;
use super::json::Json;
use super::plain::text;
use super::scalar;
use super::shape::{Reader, Shape, typed};
use super::tree::Node;

/// What a class of retention keeps; whatever bound is met first holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Longest age; `None`: any.
    pub age: Option<Duration>,
    /// Most bytes on disk; `None`: any number.
    pub bytes: Option<u64>,
}

impl Default for Keep {
    /// 90 days, as the seed has it.
    fn default() -> Self {
        Self { age: Some(Duration::from_secs(90 * 86_400)), bytes: None }
    }
}

/// Why a text is no rule of retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKeep {
    /// Nothing is said.
    #[error("say 90d, 20G, \"90d 20G\" or forever")]
    Empty,
    /// Days or bytes?
    #[error("`{0}` has no unit: say {0}d for days, or {0}G for gibibytes")]
    Unit(String),
    /// Two times, or two sizes.
    #[error("`{0}` is one too many: say one time, one size, or one of each")]
    Twice(String),
    /// A bound and none.
    #[error(
        "`forever` and `{0}` contradict each other: `{0}` alone keeps as long as that has room, `forever` alone keeps everything"
    )]
    Forever(String),
    /// Nothing would be kept, or longer than anybody can tell.
    #[error("`{0}` is out of range: from 1s to a hundred years, and more than nothing")]
    Range(String),
    /// No time, no size.
    #[error("`{0}` is neither a time nor a size: say 90d, 20G, \"90d 20G\" or forever")]
    Word(String),
}

impl Keep {
    /// From `90d`, `20G`, `90d 20G` or `forever`.
    pub fn parse(text: &str) -> Result<Keep, NoKeep> {
        let words: Vec<&str> = text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        let mut keep = Keep { age: None, bytes: None };
        if let Some(at) = words.iter().position(|word| *word == "forever") {
            let other = words.iter().enumerate().find(|(other, _)| *other != at);
            return other.map_or(Ok(keep), |(_, word)| Err(NoKeep::Forever((*word).to_owned())));
        }
        for word in &words {
            keep.take(word)?;
        }
        if words.is_empty() { Err(NoKeep::Empty) } else { Ok(keep) }
    }

    fn take(&mut self, word: &str) -> Result<(), NoKeep> {
        let named = word.to_owned();
        if word.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NoKeep::Unit(named));
        }
        match (scalar::duration(word), scalar::size(word)) {
            (Some(age), _) if !(1..=LONGEST).contains(&millis(age)) => Err(NoKeep::Range(named)),
            (None, Some(0)) => Err(NoKeep::Range(named)),
            (Some(age), _) => self.age.replace(age).map_or(Ok(()), |_| Err(NoKeep::Twice(named))),
            (None, Some(bytes)) => self.bytes.replace(bytes).map_or(Ok(()), |_| Err(NoKeep::Twice(named))),
            (None, None) => Err(NoKeep::Word(named)),
        }
    }
}

/// As [`Keep::parse`] reads it.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(age) = self.age {
            let millis = millis(age);
            let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
            let (unit, name) =
                units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit)).unwrap_or((1, "ms"));
            write!(f, "{}{name}", millis / unit)?;
        }
        if let Some(bytes) = self.bytes {
            let space = if self.age.is_some() { " " } else { "" };
            let shown = scalar::show_size(bytes);
            // Without a unit it would not be read again.
            let unit = if shown.ends_with(|c: char| c.is_ascii_digit()) { "B" } else { "" };
            write!(f, "{space}{shown}{unit}")?;
        }
        if *self == (Keep { age: None, bytes: None }) {
            f.write_str("forever")?;
        }
        Ok(())
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

impl Shape for Keep {
    fn read(node: &Node, r: &mut Reader<'_, '_>) -> Option<Self> {
        let found = Keep::parse(text(node, r, "a time, a size, or both")?);
        found.map_err(|why| r.expected(node, "a time, a size, or both", &why.to_string())).ok()
    }

    fn schema() -> Json {
        typed("string")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_sizes_and_both() {
        let days = |n: u64| Some(Duration::from_secs(n * 86_400));
        assert_eq!(Keep::parse("90d"), Ok(Keep { age: days(90), bytes: None }));
        assert_eq!(Keep::parse("20G 30d"), Ok(Keep { age: days(30), bytes: Some(20 << 30) }));
        assert_eq!(Keep::parse("forever"), Ok(Keep { age: None, bytes: None }));
        for text in ["90d", "20G", "36h 1500M", "90s 1000B", "forever"] {
            assert_eq!(Keep::parse(text).map(|keep| keep.to_string()).as_deref(), Ok(text));
        }
        for (bad, why) in [
            ("", "say 90d"),
            ("90", "90d for days, or 90G"),
            ("0", "no unit"),
            ("90d 30d", "`30d` is one too many"),
            ("1G 2G", "`2G` is one too many"),
            ("forever 5G", "contradict"),
            ("soon", "neither a time nor a size"),
            ("0d", "out of range"),
            ("0G", "out of range"),
            ("200000d", "out of range"),
        ] {
            let said = Keep::parse(bad).map_err(|e| e.to_string());
            assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{bad}: {said:?}");
        }
    }
}
