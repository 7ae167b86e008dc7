//! What a principal may see of what the hub tells, by helmd's word ([`Permissions`]).
//!
//! [`Permissions`]: helm_proto::v1::PermissionsResponse

use std::collections::{BTreeMap, BTreeSet};

use helm_proto::v1::PermissionsResponse;

/// Which services a right reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Each.
    All,
    /// These.
    Only(BTreeSet<String>),
}

impl Reach {
    /// Whether this service is among them.
    #[must_use]
    pub fn holds(&self, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(service),
        }
    }
}

/// The rights of one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    by_action: BTreeMap<String, Reach>,
    /// Another number: they are to be asked for again.
    pub revision: u64,
}

impl From<PermissionsResponse> for Rights {
    fn from(told: PermissionsResponse) -> Self {
        let reach = |all: bool, these: Vec<String>| {
            if all { Reach::All } else { Reach::Only(these.into_iter().collect()) }
        };
        let by_action =
            told.permissions.into_iter().map(|one| (one.action, reach(one.all, one.services))).collect();
        Self { by_action, revision: told.revision }
    }
}

impl Rights {
    /// Whether this may be done with that service.
    #[must_use]
    pub fn may(&self, action: &str, service: &str) -> bool {
        self.by_action.get(action).is_some_and(|reach| reach.holds(service))
    }

    /// Whether this may be done at all.
    #[must_use]
    pub fn any(&self, action: &str) -> bool {
        self.by_action.get(action).is_some_and(|reach| match reach {
            Reach::All => true,
            Reach::Only(these) => !these.is_empty(),
        })
    }
}
