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

    /// Whether an operation about these services (none: all) may be seen: whoever sees, or operates, each of them.
    #[must_use]
    pub fn may_see_job(&self, names: &[String]) -> bool {
        let holds_all =
            |action: &str| self.by_action.get(action).is_some_and(|reach| matches!(reach, Reach::All));
        let sees = |name: &String| self.may("status", name) || self.may("operate", name);
        holds_all("status") || holds_all("operate") || !names.is_empty() && names.iter().all(sees)
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

#[cfg(test)]
mod tests {
    use helm_proto::v1::Permission;

    use super::*;

    fn rights(permissions: &[(&str, bool, &[&str])]) -> Rights {
        let one = |(action, all, services): &(&str, bool, &[&str])| Permission {
            action: (*action).into(),
            all: *all,
            services: services.iter().map(|name| (*name).into()).collect(),
        };
        PermissionsResponse { permissions: permissions.iter().map(one).collect(), revision: 1 }.into()
    }

    #[test]
    fn an_operation_is_seen_where_all_that_it_is_about_is() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let all = rights(&[("status", true, &[])]);
        let some = rights(&[("status", false, &["a"]), ("operate", false, &["b"])]);
        for (about, by_some) in [(&["a"][..], true), (&["a", "b"], true), (&["a", "c"], false), (&[], false)]
        {
            assert!(all.may_see_job(&names(about)));
            assert_eq!(some.may_see_job(&names(about)), by_some, "{about:?}");
        }
        assert!(!rights(&[("services", true, &[])]).may_see_job(&names(&["a"])));
    }
}
