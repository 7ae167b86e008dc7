//! JSON of `dashboard`, `token`, `session` and `audit` (docs/api.md). Fields are only ever added.

use helm_proto::v1;
use serde::Serialize;

use helm_shapes::time::{optional as time, utc_nanos};

/// `dashboard --json`
#[derive(Debug, Serialize)]
pub(crate) struct Link {
    pub(crate) link: String,
    pub(crate) expires_at: Option<String>,
}

/// One of `token list --json`
#[derive(Debug, Serialize)]
pub(crate) struct Token {
    id: String,
    name: String,
    role: Option<String>,
    purpose: Option<String>,
    services: Vec<String>,
    created_at: Option<String>,
    created_by: String,
    expires_at: Option<String>,
    used_at: Option<String>,
}

impl From<v1::ApiToken> for Token {
    fn from(t: v1::ApiToken) -> Self {
        let given = |text: String| (!text.is_empty()).then_some(text);
        Self {
            id: t.id,
            name: t.name,
            role: given(t.role),
            purpose: given(t.purpose),
            services: t.services,
            created_at: time(t.created_at),
            created_by: t.created_by,
            expires_at: time(t.expires_at),
            used_at: time(t.used_at),
        }
    }
}

/// `token create --json`
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    secret: String,
    #[serde(flatten)]
    token: Token,
}

impl From<v1::CreateTokenResponse> for Made {
    fn from(made: v1::CreateTokenResponse) -> Self {
        Self { secret: made.secret, token: made.token.unwrap_or_default().into() }
    }
}

/// A line of `audit --json`
#[derive(Debug, Serialize)]
pub(crate) struct Audit {
    id: i64,
    at: String,
    what: String,
    targets: Vec<String>,
    outcome: String,
    message: String,
    peer: String,
    principal: Option<Principal>,
}

#[derive(Debug, Serialize)]
struct Principal {
    subject: String,
    name: String,
    role: String,
    via: String,
    request_id: String,
    from: String,
}

impl From<v1::AuditEntry> for Audit {
    fn from(e: v1::AuditEntry) -> Self {
        let principal = |p: v1::Principal| Principal {
            subject: p.subject,
            name: p.name,
            role: p.role,
            via: p.via,
            request_id: p.request_id,
            from: p.from,
        };
        Self {
            id: e.id,
            at: utc_nanos(e.at),
            what: e.what,
            targets: e.targets,
            outcome: e.outcome,
            message: e.message,
            peer: e.peer,
            principal: e.principal.map(principal),
        }
    }
}

/// `token revoke --json`, `session end --json`
#[derive(Debug, Serialize)]
pub(crate) struct Gone {
    pub(crate) id: String,
}

/// One of `session list --json`
#[derive(Debug, Serialize)]
pub(crate) struct Session {
    id: String,
    uid: u32,
    user: String,
    agent: String,
    created_at: Option<String>,
    used_at: Option<String>,
    expires_at: Option<String>,
}

impl From<v1::LocalSession> for Session {
    fn from(s: v1::LocalSession) -> Self {
        Self {
            id: s.id,
            uid: s.uid,
            user: s.user,
            agent: s.agent,
            created_at: time(s.created_at),
            used_at: time(s.used_at),
            expires_at: time(s.expires_at),
        }
    }
}
