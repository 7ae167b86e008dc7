//! Who asks, and how far their rights go. [`super::gate`] makes one for each call.

use std::sync::Arc;

use helm_core::access::{self, Action, Principal, Rules, Scope};
use helm_proto::access::of;
use helm_proto::reason;
use tonic::{Request, Status};

use super::Result;
use super::peer::Peer;
use crate::audit::By;

/// Whoever is behind a call.
#[derive(Debug, Clone)]
pub(super) enum Who {
    /// Whoever may open helmd's own socket.
    Owner,
    /// helm-web asks for somebody.
    Somebody(Arc<Principal>),
    /// helm-web asks, and says not for whom: it finds out, or tells of something.
    Nobody,
}

/// Whoever is behind a call, and what decides what they may.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) peer: Arc<Peer>,
    pub(super) who: Who,
    pub(super) rules: Arc<Rules>,
}

impl Caller {
    /// Of this call.
    ///
    /// # Errors
    /// It did not come through the gate.
    #[allow(clippy::result_large_err, reason = "the error of every handler")]
    pub(super) fn of<T>(request: &Request<T>) -> Result<Arc<Self>> {
        let caller = request.extensions().get::<Arc<Self>>().cloned();
        caller.ok_or_else(|| reason::permission_denied("nobody is known to have asked"))
    }

    /// The services of which they may do this.
    pub(super) fn scope(&self, action: Action) -> Scope {
        match &self.who {
            Who::Owner => Scope::All,
            Who::Somebody(principal) => access::scope(principal, &self.rules, action),
            Who::Nobody => Scope::none(),
        }
    }

    /// Whether they may do this of a service, or (`None`) of any.
    #[allow(clippy::result_large_err, reason = "the error of every handler")]
    pub(super) fn may(&self, action: Action, service: Option<&str>) -> Result<()> {
        match &self.who {
            Who::Owner => Ok(()),
            Who::Somebody(principal) => {
                access::may(principal, &self.rules, action, service).map_err(|why| refused(&why))
            }
            Who::Nobody => Err(reason::permission_denied("this is done for somebody only")),
        }
    }

    /// Whether they may do this of each of these; without names, of all services.
    #[allow(clippy::result_large_err, reason = "the error of every handler")]
    pub(super) fn may_each(&self, action: Action, names: &[String]) -> Result<()> {
        match &self.who {
            Who::Somebody(principal) if names.is_empty() => {
                access::may_all(principal, &self.rules, action).map_err(|why| refused(&why))
            }
            Who::Owner | Who::Nobody if names.is_empty() => self.may(action, None),
            Who::Owner | Who::Somebody(_) | Who::Nobody => {
                names.iter().try_for_each(|name| self.may(action, Some(name)))
            }
        }
    }

    /// A filter by name, in which no name means all, for what they may: never empty where not all are meant.
    #[allow(clippy::result_large_err, reason = "the error of every handler")]
    pub(super) fn narrow(&self, action: Action, names: Vec<String>) -> Result<Vec<String>> {
        self.scope(action).narrow(names).map_err(|outside| {
            let service = (!outside.0.is_empty()).then_some(outside.0.as_str());
            let refused = self.may(action, service).err();
            refused.unwrap_or_else(|| reason::permission_denied("nothing of this may be seen"))
        })
    }

    /// helmd's own socket, and nobody in between.
    pub(super) fn is_owner(&self) -> bool {
        matches!(self.who, Who::Owner)
    }

    /// For whom helm-web asks.
    pub(super) fn principal(&self) -> Option<&Arc<Principal>> {
        match &self.who {
            Who::Somebody(principal) => Some(principal),
            Who::Owner | Who::Nobody => None,
        }
    }

    /// The other end of the socket.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// For the audit trail.
    pub(super) fn by(&self) -> By {
        By { peer: self.peer.describe(), principal: self.principal().map(|principal| of(principal)) }
    }

    /// For records: "uid 1000 pid 4711 (helmctl)", "Ada (user 5f3c) from 127.0.0.1, request 7c2f, through uid 1000 pid 12 (helm-web)"
    pub(super) fn describe(&self) -> String {
        let peer = self.peer.describe();
        let Some(principal) = self.principal() else { return peer };
        let request = match principal.request_id.as_str() {
            "" => String::new(),
            id => format!(", request {id}"),
        };
        format!("{principal}{request}, through {peer}")
    }
}

fn refused(why: &access::Refusal) -> Status {
    reason::permission_denied(&why.to_string())
}
