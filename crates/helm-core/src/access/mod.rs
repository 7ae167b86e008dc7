//! Who may do what: one table ([`matrix`]), and one function that reads it.
//!
//! ```text
//! Principal + Rules + Action --scope--> the services that it reaches --may--> yes, or why not
//! ```
//!
//! [`scope`] filters lists, streams and counts; [`may`] answers for one service, and is [`scope`] asked about it. What is not in the table
//! is refused.

mod action;
mod matrix;
mod scope;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use scope::{Outside, Scope};

use std::collections::BTreeSet;
use std::fmt;

use crate::name::ServiceName;
use matrix::{Column, Reach};

/// What people may, as Core's tokens say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// All that is offered over HTTP.
    Admin,
    /// Looks at services.
    Technician,
    /// Looks at what is listed for it.
    Billing,
    /// Is told names and states of what is listed for it.
    Client,
}

impl Role {
    /// All of them, the mightiest first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Technician, Self::Billing, Self::Client];

    /// Of Core's `permission_level`: what is not known is a client.
    pub fn of_level(level: &str) -> Self {
        Self::parse(level).unwrap_or(Self::Client)
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// The word on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Technician => "technician",
            Self::Billing => "billing",
            Self::Client => "client",
        }
    }
}

/// How somebody proved who they are, with what that gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's token of Core.
    User(Role),
    /// A local session: somebody who may use helmd's own socket.
    Session,
    /// A service token of Core; it proves nothing about who holds it.
    Service(ServiceName),
    /// An API token for all that a role may, in these services.
    Token(Role, Scope),
    /// An API token that sends log entries and numbers of these services.
    IngestToken(Scope),
    /// An API token that reads numbers of these services.
    MetricsToken(Scope),
    /// None: a program of Helm's own user on this host.
    Direct,
    /// helm-web for itself: what it shows to many is read once, and shared out by what each of them may.
    Web,
}

impl Credential {
    /// The word on every wire: user, session, service, token, direct or web.
    pub fn via(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Session => "session",
            Self::Service(_) => "service",
            Self::Token(..) | Self::IngestToken(_) | Self::MetricsToken(_) => "token",
            Self::Direct => "direct",
            Self::Web => "web",
        }
    }

    fn column(&self) -> Column {
        match self {
            Self::User(role) | Self::Token(role, _) => Column::of(*role),
            Self::Session => Column::Admin,
            Self::Service(_) => Column::Service,
            Self::IngestToken(_) => Column::IngestToken,
            Self::MetricsToken(_) => Column::MetricsToken,
            Self::Direct => Column::Direct,
            Self::Web => Column::Web,
        }
    }

    /// What it is narrowed to, whatever its column says.
    fn narrowed(&self) -> Scope {
        match self {
            Self::Token(_, services) | Self::IngestToken(services) | Self::MetricsToken(services) => {
                services.clone()
            }
            Self::User(_) | Self::Session | Self::Service(_) | Self::Direct | Self::Web => Scope::All,
        }
    }

    /// The services that are its own.
    fn own(&self) -> Scope {
        match self {
            Self::Service(calling) => Scope::Only(BTreeSet::from([calling.clone()])),
            Self::IngestToken(services) | Self::MetricsToken(services) => services.clone(),
            Self::User(_) | Self::Session | Self::Token(..) | Self::Direct | Self::Web => Scope::none(),
        }
    }
}

/// For whom helm-web asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `sub` of a user, the calling service, the id of an API token, `uid:1000` of a local session; empty for a direct request.
    pub subject: String,
    /// As people know it.
    pub name: String,
    /// What it showed.
    pub credential: Credential,
    /// Of the HTTP request.
    pub request_id: String,
    /// Where it came from: "127.0.0.1 uid 1000".
    pub from: String,
}

/// "Ada (user 5f3c…)", "direct request from 127.0.0.1 uid 1000"
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (via, subject) = (self.credential.via(), &self.subject);
        match (self.name.as_str(), subject.as_str()) {
            ("", "") => write!(f, "{via} request")?,
            ("", _) => write!(f, "{via} {subject}")?,
            (name, _) if name == subject => write!(f, "{name} ({via})")?,
            (name, "") => write!(f, "{name} ({via})")?,
            (name, _) => write!(f, "{name} ({via} {subject})")?,
        }
        if self.from.is_empty() { Ok(()) } else { write!(f, " from {}", self.from) }
    }
}

/// What one role sees and operates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rights {
    /// Services that are listed for it.
    pub sees: Scope,
    /// Services that it starts, stops and restarts.
    pub operates: Scope,
}

/// `[roles]` of instance/helm.conf. An admin's is not in it: that is everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Roles {
    /// All services where none are listed.
    pub technician: Rights,
    /// No service where none are listed.
    pub billing: Rights,
    /// Likewise.
    pub client: Rights,
}

impl Default for Roles {
    fn default() -> Self {
        let nothing = Rights { sees: Scope::none(), operates: Scope::none() };
        Self {
            technician: Rights { sees: Scope::All, operates: Scope::none() },
            billing: nothing.clone(),
            client: nothing,
        }
    }
}

/// All that decides, beside the table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rules {
    /// What is listed for roles.
    pub roles: Roles,
    /// Direct requests may send log entries without a token (`[web] open_ingest`).
    pub open_ingest: bool,
}

impl Rules {
    /// `None`: everything.
    fn rights(&self, column: Column) -> Option<&Rights> {
        match column {
            Column::Technician => Some(&self.roles.technician),
            Column::Billing => Some(&self.roles.billing),
            Column::Client => Some(&self.roles.client),
            Column::Admin
            | Column::Service
            | Column::Direct
            | Column::IngestToken
            | Column::MetricsToken
            | Column::Web => None,
        }
    }
}

/// Why somebody may not. Words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody of this kind may.
    #[error("{who} may not {action}: that is for {whom}", action = action.verb())]
    Never {
        /// "a technician"
        who: &'static str,
        /// What.
        action: Action,
        /// Who may: "admins".
        whom: String,
    },
    /// They may, but no service is listed for them.
    #[error(
        "no service is listed of which {who} may {action}: `{key}` in [roles] of instance/helm.conf lists them",
        action = action.verb()
    )]
    NoneListed {
        /// "a client"
        who: &'static str,
        /// What.
        action: Action,
        /// `client`, `client.operate`
        key: String,
    },
    /// Not of this service.
    #[error("{who} may not {action} of `{service}`", action = action.verb())]
    NotThis {
        /// "this API token"
        who: &'static str,
        /// What.
        action: Action,
        /// The service.
        service: String,
    },
    /// Only of some, and all were asked for.
    #[error("{who} may not {action} of all services: name those that are meant", action = action.verb())]
    NotAll {
        /// "a technician"
        who: &'static str,
        /// What.
        action: Action,
    },
    /// `[web] open_ingest` is off.
    #[error("log entries need a token: `open_ingest` is off in [web] of instance/helm.conf")]
    Closed,
}

/// The services of which this principal may do this.
pub fn scope(principal: &Principal, rules: &Rules, action: Action) -> Scope {
    let credential = &principal.credential;
    let column = credential.column();
    let rights = rules.rights(column);
    let listed = |of: fn(&Rights) -> Scope| rights.map_or(Scope::All, of);
    let reached = match matrix::reach(action, column) {
        Reach::No => Scope::none(),
        Reach::All => Scope::All,
        Reach::Seen => listed(|rights| rights.sees.clone()),
        Reach::Operated => listed(|rights| rights.operates.clone()),
        // Whoever may start something is to find its name.
        Reach::Named => listed(|rights| rights.sees.union(&rights.operates)),
        Reach::Own => credential.own(),
        Reach::Open if rules.open_ingest => Scope::All,
        Reach::Open => Scope::none(),
    };
    let scope = reached.intersection(&credential.narrowed());
    // There is no half of a configuration.
    if action.is_of_all() && scope != Scope::All { Scope::none() } else { scope }
}

/// Whether this principal may do this: of this service, or (`None`) of any at all.
pub fn may(
    principal: &Principal,
    rules: &Rules,
    action: Action,
    service: Option<&str>,
) -> Result<(), Refusal> {
    let scope = scope(principal, rules, action);
    let allowed = service.map_or(!scope.is_empty(), |service| scope.holds(service));
    if allowed { Ok(()) } else { Err(refusal(&principal.credential, action, service, &scope)) }
}

/// Whether this principal may do this of all services, those among them that nobody knows yet.
pub fn may_all(principal: &Principal, rules: &Rules, action: Action) -> Result<(), Refusal> {
    match scope(principal, rules, action) {
        Scope::All => Ok(()),
        Scope::Only(listed) if listed.is_empty() => {
            Err(refusal(&principal.credential, action, None, &Scope::Only(listed)))
        }
        Scope::Only(_) => Err(Refusal::NotAll { who: who(&principal.credential), action }),
    }
}

fn refusal(credential: &Credential, action: Action, service: Option<&str>, scope: &Scope) -> Refusal {
    let (who, column) = (who(credential), credential.column());
    let key = |word: &str| match credential {
        Credential::User(role) | Credential::Token(role, _) => format!("{}{word}", role.as_str()),
        Credential::Session
        | Credential::Service(_)
        | Credential::IngestToken(_)
        | Credential::MetricsToken(_)
        | Credential::Direct
        | Credential::Web => String::new(),
    };
    let listed_by = match matrix::reach(action, column) {
        Reach::Open => return Refusal::Closed,
        Reach::No => {
            let whom: Vec<&str> = matrix::who_may(action).map(Column::plural).collect();
            return Refusal::Never { who, action, whom: whom.join(", ") };
        }
        Reach::Operated => key(".operate"),
        Reach::Seen | Reach::Named => key(""),
        Reach::All | Reach::Own => String::new(),
    };
    match service {
        Some(service) if !scope.is_empty() || listed_by.is_empty() => {
            Refusal::NotThis { who, action, service: service.chars().take(80).collect() }
        }
        _ => Refusal::NoneListed { who, action, key: listed_by },
    }
}

fn who(credential: &Credential) -> &'static str {
    match credential {
        Credential::User(role) => match role {
            Role::Admin => "an admin",
            Role::Technician => "a technician",
            Role::Billing => "billing",
            Role::Client => "a client",
        },
        Credential::Session => "a local session",
        Credential::Service(_) => "a service token",
        Credential::Token(..) | Credential::IngestToken(_) | Credential::MetricsToken(_) => "this API token",
        Credential::Direct => "a request without a token",
        Credential::Web => "helm-web",
    }
}
