//! Points of a chain that are kept elsewhere.

use std::fmt;
use std::str::FromStr;

use crate::chain::Head;
use crate::id::{EntryId, Instance};
use crate::partition::Class;

/// A point of a chain, kept elsewhere: shows that the end was cut off, or all was written anew. As text: `7/default/123:HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Whose chain.
    pub instance: Instance,
    /// Of which class.
    pub class: Class,
    /// After this entry.
    pub id: EntryId,
    /// The chain stood here.
    pub head: Head,
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}:{}", self.instance.0, self.class.0, self.id, self.head.hex())
    }
}

/// A text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no anchor: one looks like 7/default/123:64 hexadecimal digits, as `helmctl logs verify --anchor` prints it"
)]
pub struct NoAnchor(String);

impl FromStr for Anchor {
    type Err = NoAnchor;

    fn from_str(text: &str) -> Result<Self, NoAnchor> {
        let parse = || {
            let (place, head) = text.trim().split_once(':')?;
            let (instance, rest) = place.split_once('/')?;
            let (class, id) = rest.rsplit_once('/')?;
            let instance = Instance(instance.parse().ok()?);
            let id = EntryId(id.parse().ok()?);
            // An entry's id says whose it is.
            id.partition().filter(|partition| partition.instance == instance)?;
            Some(Anchor { instance, class: Class(class.to_owned()), id, head: Head::from_hex(head)? })
        };
        parse().ok_or_else(|| NoAnchor(text.to_owned()))
    }
}
