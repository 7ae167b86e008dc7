//! Sets of services.

use std::collections::BTreeSet;

use crate::name::ServiceName;

/// Some services, or all: those among them that nobody knows yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every one.
    All,
    /// These.
    Only(BTreeSet<ServiceName>),
}

/// A service that was asked for lies outside of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside(pub String);

impl Scope {
    /// No service.
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// No service is in it.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(services) if services.is_empty())
    }

    /// This one is in it.
    pub fn holds(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(services) => services.contains(service),
        }
    }

    /// What is in both.
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, scope) | (scope, Self::All) => scope.clone(),
            (Self::Only(one), Self::Only(two)) => Self::Only(one.intersection(two).cloned().collect()),
        }
    }

    /// What is in one of them.
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Only(one), Self::Only(two)) => Self::Only(one.union(two).cloned().collect()),
        }
    }

    /// A filter by name, in which no name means all, for this scope: never empty where not all are meant.
    ///
    /// # Errors
    /// A name lies outside, or nothing is inside (the text is empty then).
    pub fn narrow(&self, names: Vec<String>) -> Result<Vec<String>, Outside> {
        let Self::Only(services) = self else { return Ok(names) };
        if services.is_empty() {
            return Err(Outside(names.into_iter().next().unwrap_or_default()));
        }
        if names.is_empty() {
            return Ok(services.iter().map(ToString::to_string).collect());
        }
        match names.iter().find(|name| !services.contains(name.as_str())) {
            Some(outside) => Err(Outside(outside.clone())),
            None => Ok(names),
        }
    }
}

impl FromIterator<ServiceName> for Scope {
    fn from_iter<I: IntoIterator<Item = ServiceName>>(services: I) -> Self {
        Self::Only(services.into_iter().collect())
    }
}

/// As helm.conf says it: `*`, `codex, ledger`, or nothing.
impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(services) => {
                let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}
