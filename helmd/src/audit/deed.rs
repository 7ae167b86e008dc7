//! What is written of a change, as an entry of the log: who, what, to what, and what came of it.

use helm_core::ask::Ask;
use helm_core::name::AUDIT;
use helm_proto::v1::{AuditEntry, Principal};
use helm_store::entry::{Entry, Level, NewEntry, Source};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest message of one, in characters, and most targets that are named.
const MESSAGE: usize = 500;
const TARGETS: usize = 200;

/// Who does something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    /// The other end of the socket: "uid 1000 pid 4711 (helm-web)".
    pub peer: String,
    /// Whom helm-web names.
    pub principal: Option<Principal>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// By whom.
    pub by: By,
    /// restart, reload, create_token
    pub what: &'static str,
    /// Names of services, the id of a token.
    pub targets: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to be done.
    Intent,
    /// It was.
    Done,
    /// It was tried.
    Failed,
    /// It was not tried.
    Refused,
}

impl Outcome {
    /// The word on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Intent | Self::Done => Level::Info,
            Self::Failed | Self::Refused => Level::Warning,
        }
    }
}

/// The context of an entry.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Context {
    what: String,
    targets: Vec<String>,
    outcome: String,
    message: String,
    peer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Named>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Named {
    subject: String,
    name: String,
    role: String,
    via: String,
    services: Vec<String>,
    purpose: String,
    request_id: String,
    from: String,
}

impl Deed {
    /// An operation of the fleet.
    pub fn of(by: By, ask: &Ask) -> Self {
        let (what, names) = match ask {
            Ask::Forget => return Self { by, what: "forget", targets: Vec::new() },
            Ask::Start { names, .. } => ("start", names),
            Ask::Stop { names } => ("stop", names),
            Ask::Restart { names, .. } => ("restart", names),
            Ask::Up { names, .. } => ("up", names),
            Ask::Down { names } => ("down", names),
        };
        Self { by, what, targets: names.clone() }
    }

    /// The entry, at this time.
    pub fn entry(&self, outcome: Outcome, message: &str, now: i64) -> NewEntry {
        let targets: Vec<String> = self.targets.iter().take(TARGETS).cloned().collect();
        let message: String = message.chars().take(MESSAGE).collect();
        let who = self.by.principal.as_ref().map(named);
        let words = match (outcome, message.as_str()) {
            (Outcome::Intent, _) | (_, "") => outcome.as_str().to_owned(),
            (_, message) => format!("{}: {message}", outcome.as_str()),
        };
        let line = format!("{} {} by {}: {words}", self.what, targets.join(", "), self.in_words());
        let principal = self.by.principal.as_ref();
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let context = Context {
            what: self.what.to_owned(),
            targets,
            outcome: outcome.as_str().to_owned(),
            message,
            peer: self.by.peer.clone(),
            principal: who,
        };
        NewEntry {
            service: AUDIT.to_owned(),
            at: now,
            seen: now,
            level: outcome.level(),
            source: Source::Helm,
            stream: 0,
            flags: 0,
            message: line.replace("  ", " "),
            plain: None,
            // Texts and lists of them: nothing in it cannot be written.
            context: serde_json::to_string(&context).ok(),
            trace: principal.and_then(|p| given(&p.request_id)).filter(|id| id.len() <= TRACE),
            user: principal.and_then(|p| given(&p.subject)),
            hostname: None,
            process: None,
        }
    }

    fn in_words(&self) -> String {
        match &self.by.principal {
            Some(principal) if principal.name.is_empty() => {
                format!("{} {} through {}", principal.via, principal.subject, self.by.peer)
            }
            Some(principal) => format!("{} ({}) through {}", principal.name, principal.via, self.by.peer),
            None => self.by.peer.clone(),
        }
    }
}

/// Longest id that the column for traces takes.
const TRACE: usize = 36;

fn named(principal: &Principal) -> Named {
    let p = principal.clone();
    Named {
        subject: p.subject,
        name: p.name,
        role: p.role,
        via: p.via,
        services: p.services,
        purpose: p.purpose,
        request_id: p.request_id,
        from: p.from,
    }
}

/// An entry of the log as one of the audit trail. What cannot be read is told as it stands.
pub fn told(entry: Entry) -> AuditEntry {
    let body = entry.body;
    let value = body.context.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let context: Context = value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
    let principal = context.principal.map(|n| Principal {
        subject: n.subject,
        name: n.name,
        role: n.role,
        via: n.via,
        services: n.services,
        purpose: n.purpose,
        request_id: n.request_id,
        from: n.from,
    });
    AuditEntry {
        id: entry.id.0,
        at: body.at,
        peer: context.peer,
        principal,
        what: context.what,
        targets: context.targets,
        outcome: context.outcome,
        message: if context.message.is_empty() { body.message } else { context.message },
    }
}

#[cfg(test)]
mod tests {
    use helm_store::id::EntryId;

    use super::*;

    #[test]
    fn what_is_written_is_told_again() {
        let ada = Principal {
            subject: "5f3c".into(),
            name: "Ada".into(),
            via: "user".into(),
            role: "admin".into(),
            request_id: "req-7".into(),
            ..Principal::default()
        };
        let by = By { peer: "uid 1 pid 2 (helm-web)".into(), principal: Some(ada.clone()) };
        let deed = Deed { by, what: "restart", targets: vec!["codex".into()] };
        let body = deed.entry(Outcome::Failed, "codex: no such program", 7);
        assert_eq!(
            (body.service.as_str(), body.level, body.trace.as_deref()),
            ("audit", Level::Warning, Some("req-7"))
        );
        assert_eq!(
            body.message,
            "restart codex by Ada (user) through uid 1 pid 2 (helm-web): failed: codex: no such program"
        );
        let told = told(Entry { id: EntryId(3), digest: 0, body });
        assert_eq!(
            (told.id, told.at, told.what.as_str(), told.outcome.as_str()),
            (3, 7, "restart", "failed")
        );
        assert_eq!((told.principal, told.targets), (Some(ada), vec!["codex".to_owned()]));
        assert_eq!(told.message, "codex: no such program");
    }

    #[test]
    fn without_a_principal_the_peer_did_it() {
        let by = By { peer: "uid 1 pid 2 (helmctl)".into(), principal: None };
        let body = Deed { by, what: "shutdown", targets: Vec::new() }.entry(Outcome::Intent, "", 7);
        assert_eq!(body.message, "shutdown by uid 1 pid 2 (helmctl): intent");
    }

    #[test]
    fn what_somebody_else_wrote_is_told_as_it_stands() {
        let mut body = Deed { by: By::default(), what: "x", targets: Vec::new() }.entry(Outcome::Done, "", 7);
        (body.context, body.message) = (Some("[1".into()), "odd".into());
        assert_eq!(told(Entry { id: EntryId(3), digest: 0, body }).message, "odd");
    }
}
