//! The name of a service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A service's name: `^[a-z0-9_-]{1,50}$`, the pattern that Core and the log clients enforce (contract 1.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Box<str>);

/// Why a text is not a service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a service name: use 1 to 50 of a-z, 0-9, `_` and `-`")]
pub struct BadName(pub String);

impl ServiceName {
    /// Longest name, in bytes.
    pub const MAX: usize = 50;

    /// Checks `text` against the pattern.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let ok = (1..=Self::MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if ok { Ok(Self(text.into())) } else { Err(BadName(text.chars().take(80).collect())) }
    }

    /// The nearest name to what another system calls a service: lower case, `-` for anything that a name has not, cut to
    /// [`ServiceName::MAX`]. `None` if nothing of it is left.
    pub fn fold(text: &str) -> Option<Self> {
        let mut name = String::new();
        for letter in text.chars().take(4 * Self::MAX).flat_map(char::to_lowercase) {
            let fits =
                letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_' || letter == '-';
            match (fits, name.ends_with('-')) {
                (true, _) => name.push(letter),
                (false, false) if !name.is_empty() => name.push('-'),
                (false, _) => {}
            }
        }
        name.truncate(Self::MAX);
        Self::new(name.trim_end_matches('-')).ok()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of the audit trail, and of its class of retention: no service's.
pub const AUDIT: &str = "audit";

/// Longest name of a class of retention, in bytes: it is part of files' names.
pub const CLASS: usize = 32;
/// Classes of one helmd.
pub const CLASSES: usize = 64;

/// Why a text cannot name a class of retention.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a class of retention: use 1 to 32 of a-z, 0-9, `_` and `-`")]
pub struct BadClass(pub String);

/// Checks the name of a class of retention.
pub fn class(text: &str) -> Result<&str, BadClass> {
    let ok = text.len() <= CLASS && ServiceName::new(text).is_ok();
    if ok { Ok(text) } else { Err(BadClass(text.chars().take(80).collect())) }
}

impl TryFrom<String> for ServiceName {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        Self::new(&text)
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_ecosystem_uses() {
        for good in ["core", "my-app_2", "0", &"a".repeat(50)] {
            assert!(ServiceName::new(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_others_call_a_service_becomes_a_name() {
        let folded = |text: &str| ServiceName::fold(text).map(|name| name.as_str().to_owned());
        for (text, name) in [
            ("checkout", "checkout"),
            ("Shop.Checkout", "shop-checkout"),
            ("unknown_service:python", "unknown_service-python"),
            ("/docker/My App #2/", "docker-my-app-2"),
            ("a -- b", "a---b"),
            ("Müller", "m-ller"),
        ] {
            assert_eq!(folded(text).as_deref(), Some(name), "{text}");
        }
        assert_eq!(folded(&"A.".repeat(60)).map(|name| name.len()), Some(49));
        for none in ["", "...", "日本語"] {
            assert_eq!(folded(none), None, "{none}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in ["", "Core", "a b", "a/b", "..", "é", "a\n", &"a".repeat(51)] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?}");
        }
    }
}
