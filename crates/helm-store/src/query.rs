//! What can be asked of the log.

use serde::{Deserialize, Serialize};

use crate::entry::{AUDIT, Entry, Level, Source};
use crate::id::{EntryId, Instance};

/// Newest or oldest first, by the entries' own time and then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Newest first.
    #[default]
    Newest,
    /// Oldest first.
    Oldest,
}

/// Which levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Levels {
    /// This one and graver ones.
    AtLeast(Level),
    /// This one.
    Exactly(Level),
}

impl Levels {
    /// Whether `level` is wanted.
    pub fn has(self, level: Level) -> bool {
        match self {
            Levels::AtLeast(least) => level >= least,
            Levels::Exactly(only) => level == only,
        }
    }
}

/// How a text is looked for. All are compared without case, unless `case` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// The words.
    pub pattern: String,
    /// How they are read.
    pub kind: TextKind,
    /// Case counts.
    pub case: bool,
    /// Wanted are the entries that do not have it.
    pub not: bool,
}

/// How a pattern is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextKind {
    /// Anywhere.
    Substring,
    /// Between word boundaries.
    Word,
    /// A regular expression (linear time).
    Regex,
}

/// A key of the context and the value that it must have (compared as text; numbers and booleans in their JSON form).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContextIs {
    /// Key; `a.b` is one that is written so, and one that reaches into objects.
    pub key: String,
    /// Value.
    pub value: String,
}

impl ContextIs {
    /// The ways in which the key can be read: each dot is part of a name, or stands between two. Twice as many with each dot: whoever
    /// takes filters from outside bounds these ([`crate::reader::matcher::DOTS`]).
    pub fn readings(&self) -> Vec<Vec<String>> {
        let mut all = vec![Vec::new()];
        for (nth, part) in self.key.split('.').enumerate() {
            let joined: Vec<Vec<String>> = match nth {
                0 => Vec::new(),
                _ => all.clone(),
            };
            all.iter_mut().for_each(|names: &mut Vec<String>| names.push(part.to_owned()));
            all.extend(joined.into_iter().map(|mut names| {
                if let Some(last) = names.last_mut() {
                    last.push('.');
                    last.push_str(part);
                }
                names
            }));
        }
        all
    }

    /// Whether this context, a JSON object, has the value.
    pub fn holds(&self, context: &serde_json::Value) -> bool {
        let reached =
            |names: Vec<String>| names.iter().try_fold(context, |value, name| value.as_object()?.get(name));
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.readings().into_iter().filter_map(reached).any(|value| text(value) == self.value)
    }
}

/// Which entries. All conditions must hold; an empty filter takes everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Filter {
    /// Names of services; empty: all but the audit trail ([`AUDIT`]).
    pub services: Vec<String>,
    /// Levels.
    pub levels: Option<Levels>,
    /// From this time on (nanoseconds since 1970, the entries' own time), inclusive.
    pub since: Option<i64>,
    /// Before this time, exclusive.
    pub until: Option<i64>,
    /// Trace id, whole.
    pub trace: Option<String>,
    /// User id, whole.
    pub user: Option<String>,
    /// How it came.
    pub source: Option<Source>,
    /// Values of the context.
    pub context: Vec<ContextIs>,
    /// Texts.
    pub texts: Vec<Text>,
    /// Twins too (see [`crate::entry::flag::TWIN`]).
    pub twins: bool,
    /// Written by these helmds; empty: all that share the database.
    pub instances: Vec<Instance>,
}

/// Whether a service is among those that are named. The audit trail must be named.
pub(crate) fn names(services: &[String], service: &str) -> bool {
    if services.is_empty() { service != AUDIT } else { services.iter().any(|named| named == service) }
}

/// A place in an ordered list: the last entry that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Its time.
    pub at: i64,
    /// Its id.
    pub id: EntryId,
}

impl Cursor {
    /// The place of an entry.
    pub fn of(entry: &Entry) -> Cursor {
        Cursor { at: entry.body.at, id: entry.id }
    }

    /// Text for clients: opaque, safe in a URL.
    pub fn token(self) -> String {
        format!("{:x}-{:x}", self.at, self.id.0)
    }

    /// From [`Cursor::token`].
    pub fn from_token(token: &str) -> Option<Cursor> {
        let (at, id) = token.split_once('-').filter(|(at, _)| !at.is_empty())?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok().map(u64::cast_signed);
        Some(Cursor { at: number(at)?, id: EntryId(number(id)?) })
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Which.
    pub filter: Filter,
    /// In which order.
    pub order: Order,
    /// Only what comes after this place.
    pub after: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}
