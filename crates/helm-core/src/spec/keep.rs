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

impl Keep {
    /// From `90d`, `20G`, `90d 20G` or `forever`.
    pub fn parse(text: &str) -> Option<Keep> {
        let mut keep = Keep { age: None, bytes: None };
        let words: Vec<&str> = text.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return None;
        }
        for word in words {
            match (
                scalar::duration(word).filter(|_| !word.bytes().all(|b| b.is_ascii_digit())),
                scalar::size(word),
            ) {
                (Some(age), _) if keep.age.is_none() && (1..=LONGEST).contains(&millis(age)) => {
                    keep.age = Some(age)
                }
                (None, Some(bytes)) if keep.bytes.is_none() => keep.bytes = Some(bytes),
                (None, None) if word == "forever" => {}
                _ => return None,
            }
        }
        Some(keep)
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
            write!(f, "{space}{}", scalar::show_size(bytes))?;
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
        if found.is_none() {
            r.expected(node, "a time, a size, or both", "like 90d, 20G, 90d 20G, or forever");
        }
        found
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
        assert_eq!(Keep::parse("90d"), Some(Keep { age: days(90), bytes: None }));
        assert_eq!(Keep::parse("20G 30d"), Some(Keep { age: days(30), bytes: Some(20 << 30) }));
        assert_eq!(Keep::parse("forever"), Some(Keep { age: None, bytes: None }));
        for text in ["90d", "20G", "36h 1500M", "90s 1000", "forever"] {
            assert_eq!(Keep::parse(text).map(|keep| keep.to_string()).as_deref(), Some(text));
        }
        for bad in ["", "90d 30d", "soon", "0d", "200000d"] {
            assert_eq!(Keep::parse(bad), None, "{bad}");
        }
    }
}
