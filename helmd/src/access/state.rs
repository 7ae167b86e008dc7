//! Tokens, sessions and codes as values: who has which, until when. Times and secrets are handed in.

use helm_core::access::Credential;
use helm_core::name::ServiceName;
use helm_proto::access;
use helm_proto::v1::Principal;
use serde::{Deserialize, Serialize};

use super::secret::Digest;

const SECOND: i64 = 1_000_000_000;
/// A session ends so long after it began...
pub(super) const SESSION: i64 = 12 * 3600 * SECOND;
/// ... or after it was used last.
pub(super) const IDLE: i64 = 2 * 3600 * SECOND;
/// A code is good for so long.
pub(super) const CODE: i64 = 60 * SECOND;
/// Most tokens; most sessions and codes at a time: of those the oldest goes.
pub(super) const TOKENS: usize = 1000;
const SESSIONS: usize = 200;
const CODES: usize = 32;

/// What helmd remembers of who may sign in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    pub(super) tokens: Vec<Token>,
    pub(super) sessions: Vec<Session>,
    /// They are too young to be written down.
    #[serde(skip)]
    codes: Vec<Code>,
}

/// What a token is good for. Empty lists mean everything, as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// For people.
    pub name: String,
    /// A role, where it is for no single purpose.
    pub role: String,
    /// ingest, metrics, or empty.
    pub purpose: String,
    /// Only in these.
    pub services: Vec<ServiceName>,
}

/// An API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// Names it.
    pub id: String,
    pub(super) digest: Digest,
    /// What for.
    #[serde(flatten)]
    pub good: Good,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Who made it.
    pub created_by: String,
    /// `None`: never.
    pub expires_at: Option<i64>,
    /// The last time that it was shown.
    pub used_at: Option<i64>,
}

impl Token {
    fn lives(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whom helmd takes its bearer for.
    pub fn principal(&self) -> Principal {
        let Good { name, role, purpose, services } = &self.good;
        Principal {
            subject: self.id.clone(),
            name: name.clone(),
            role: role.clone(),
            via: "token".to_owned(),
            services: services.iter().map(ToString::to_string).collect(),
            purpose: purpose.clone(),
            ..Principal::default()
        }
    }
}

/// A local session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// Names it in lists.
    pub id: String,
    pub(super) digest: Digest,
    /// Whose client it was, and must be.
    pub uid: u32,
    /// Their name, where they have one.
    pub user: String,
    /// "Firefox 140 on Linux"
    pub agent: String,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// The last time that it was shown.
    pub used_at: i64,
}

impl Session {
    /// When it ends, if nothing happens before.
    pub fn ends(&self) -> i64 {
        (self.created_at + SESSION).min(self.used_at + IDLE)
    }

    /// Whom helmd takes its bearer for.
    pub fn principal(&self) -> Principal {
        let name = if self.user.is_empty() { format!("uid {}", self.uid) } else { self.user.clone() };
        Principal {
            subject: format!("uid:{}", self.uid),
            name,
            role: "admin".to_owned(),
            via: "session".to_owned(),
            ..Principal::default()
        }
    }
}

#[derive(Debug, Clone)]
struct Code {
    digest: Digest,
    uid: u32,
    expires_at: i64,
}

/// Why what was shown is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nothing like it is known.
    #[error("this API token is not known: it was revoked, has expired, or was never given")]
    Token,
    /// Likewise.
    #[error("this session is over: helmctl dashboard begins another one")]
    Session,
    /// Likewise.
    #[error(
        "this link is not good any more: it works once, and for a minute; helmctl dashboard prints another one"
    )]
    Code,
    /// It belongs to somebody else.
    #[error("this belongs to another user of this host")]
    Uid,
}

impl State {
    /// The token that was shown.
    pub(super) fn token(&mut self, shown: &Digest, now: i64) -> Result<&Token, NotTaken> {
        let found =
            self.tokens.iter_mut().find(|token| token.digest.is(shown)).filter(|token| token.lives(now));
        let token = found.ok_or(NotTaken::Token)?;
        token.used_at = Some(now);
        Ok(token)
    }

    /// What the token of this id is good for, if it still is.
    pub(super) fn grant(&self, id: &str, now: i64) -> Option<Credential> {
        let token = self.tokens.iter().find(|token| token.id == id).filter(|token| token.lives(now))?;
        access::principal(token.principal()).ok().map(|principal| principal.credential)
    }

    /// `false`: there are too many.
    pub(super) fn add_token(&mut self, token: Token, now: i64) -> bool {
        self.tokens.retain(|token| token.lives(now));
        let room = self.tokens.len() < TOKENS;
        if room {
            self.tokens.push(token);
        }
        room
    }

    /// The token that is no more.
    pub(super) fn revoke(&mut self, id: &str) -> Option<Token> {
        let place = self.tokens.iter().position(|token| token.id == id)?;
        Some(self.tokens.remove(place))
    }

    pub(super) fn add_code(&mut self, digest: Digest, uid: u32, now: i64) -> i64 {
        self.codes.retain(|code| now < code.expires_at);
        if self.codes.len() >= CODES {
            self.codes.remove(0);
        }
        let expires_at = now + CODE;
        self.codes.push(Code { digest, uid, expires_at });
        expires_at
    }

    /// Uses a code up, whoever shows it: one that somebody else has seen is good for nobody.
    pub(super) fn redeem(&mut self, shown: &Digest, uid: Option<u32>, now: i64) -> Result<u32, NotTaken> {
        let place = self.codes.iter().position(|code| code.digest.is(shown)).ok_or(NotTaken::Code)?;
        let code = self.codes.remove(place);
        match code {
            Code { expires_at, .. } if now >= expires_at => Err(NotTaken::Code),
            Code { uid: bound, .. } if uid != Some(bound) => Err(NotTaken::Uid),
            Code { uid, .. } => Ok(uid),
        }
    }

    pub(super) fn add_session(&mut self, session: Session, now: i64) {
        self.sessions.retain(|session| now < session.ends());
        if self.sessions.len() >= SESSIONS {
            self.sessions.remove(0);
        }
        self.sessions.push(session);
    }

    /// The session that was shown, by a client of this uid; `uses`: it counts as used now.
    pub(super) fn session(
        &mut self,
        shown: &Digest,
        uid: Option<u32>,
        uses: bool,
        now: i64,
    ) -> Result<&Session, NotTaken> {
        let found = self.sessions.iter_mut().find(|session| session.digest.is(shown));
        let session = found.filter(|session| now < session.ends()).ok_or(NotTaken::Session)?;
        if uid != Some(session.uid) {
            return Err(NotTaken::Uid);
        }
        if uses {
            session.used_at = now.max(session.used_at);
        }
        Ok(session)
    }

    /// The session that is no more.
    pub(super) fn end(&mut self, id: &str) -> Option<Session> {
        let place = self.sessions.iter().position(|session| session.id == id)?;
        Some(self.sessions.remove(place))
    }

    /// Those that live, the newest first.
    pub(super) fn living(&self, now: i64) -> (Vec<Token>, Vec<Session>) {
        let tokens = self.tokens.iter().rev().filter(|token| token.lives(now)).cloned();
        let sessions = self.sessions.iter().rev().filter(|session| now < session.ends()).cloned();
        (tokens.collect(), sessions.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &str, expires_at: Option<i64>) -> Token {
        let services = vec![ServiceName::new("codex").unwrap()];
        let good = Good { name: "CI".into(), role: "technician".into(), purpose: String::new(), services };
        Token {
            id: format!("id-{secret}"),
            digest: Digest::of(secret),
            good,
            created_at: 0,
            created_by: "uid 1".into(),
            expires_at,
            used_at: None,
        }
    }

    fn session(secret: &str, created_at: i64) -> Session {
        Session {
            id: format!("id-{secret}"),
            digest: Digest::of(secret),
            uid: 7,
            user: "ada".into(),
            agent: String::new(),
            created_at,
            used_at: created_at,
        }
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let mut state = State::default();
        assert!(state.add_token(token("a", Some(10)), 0) && state.add_token(token("b", None), 0));
        assert_eq!(state.token(&Digest::of("a"), 9).unwrap().used_at, Some(9));
        assert_eq!(state.token(&Digest::of("a"), 10).unwrap_err(), NotTaken::Token);
        assert_eq!(state.token(&Digest::of("c"), 0).unwrap_err(), NotTaken::Token);
        assert!(state.grant("id-a", 9).is_some() && state.grant("id-a", 10).is_none());
        assert!(state.grant("id-b", i64::MAX).is_some());
        assert!(state.revoke("id-b").is_some() && state.revoke("id-b").is_none());
        assert!(state.grant("id-b", 0).is_none());
    }

    #[test]
    fn tokens_are_bounded_and_what_has_expired_makes_room() {
        let mut state = State::default();
        for n in 0..TOKENS {
            assert!(state.add_token(token(&n.to_string(), Some(10)), 0));
        }
        assert!(!state.add_token(token("more", None), 9));
        assert!(state.add_token(token("more", None), 10));
        assert_eq!(state.tokens.len(), 1);
    }

    #[test]
    fn a_code_works_once_within_a_minute_and_for_its_own_user() {
        let mut state = State::default();
        let (code, digest) = (|state: &mut State| state.add_code(Digest::of("c"), 7, 0), Digest::of("c"));
        assert_eq!(code(&mut state), CODE);
        assert_eq!(state.redeem(&digest, Some(7), CODE - 1), Ok(7));
        assert_eq!(state.redeem(&digest, Some(7), 1), Err(NotTaken::Code), "twice");
        code(&mut state);
        assert_eq!(state.redeem(&digest, Some(7), CODE), Err(NotTaken::Code), "too late");
        for other in [Some(8), None] {
            code(&mut state);
            assert_eq!(state.redeem(&digest, other, 1), Err(NotTaken::Uid));
            assert_eq!(state.redeem(&digest, Some(7), 1), Err(NotTaken::Code), "it is used up");
        }
    }

    #[test]
    fn a_session_ends_by_age_by_rest_and_is_its_users_alone() {
        let (mut state, digest) = (State::default(), Digest::of("s"));
        state.add_session(session("s", 0), 0);
        assert_eq!(state.session(&digest, Some(8), true, 1).unwrap_err(), NotTaken::Uid);
        assert_eq!(state.session(&digest, None, true, 1).unwrap_err(), NotTaken::Uid);
        assert_eq!(state.session(&digest, Some(7), true, IDLE).unwrap_err(), NotTaken::Session, "idle");
        assert!(state.session(&digest, Some(7), false, IDLE - 1).is_ok());
        assert!(state.session(&digest, Some(7), false, IDLE).is_err(), "to look is no use");
        let mut now = 0;
        while now + IDLE - 1 < SESSION {
            now += IDLE - 1;
            assert!(state.session(&digest, Some(7), true, now).is_ok(), "in use");
        }
        assert_eq!(state.session(&digest, Some(7), true, SESSION).unwrap_err(), NotTaken::Session, "old");
        assert!(state.end("id-s").is_some() && state.end("id-s").is_none());
    }

    #[test]
    fn sessions_are_bounded() {
        let mut state = State::default();
        for n in 0..=SESSIONS {
            state.add_session(session(&n.to_string(), 0), 0);
        }
        assert_eq!(state.living(0).1.len(), SESSIONS);
        assert!(state.session(&Digest::of("0"), Some(7), true, 0).is_err(), "the oldest has gone");
    }

    #[test]
    fn no_secret_is_written_and_what_is_written_is_read() {
        let mut state = State::default();
        state.add_token(token("geheim", None), 0);
        state.add_session(session("geheim2", 0), 0);
        state.add_code(Digest::of("c"), 7, 0);
        let text = serde_json::to_string(&state).unwrap();
        assert!(!text.contains("\"geheim\"") && !text.contains("\"geheim2\""), "{text}");
        let mut back: State = serde_json::from_str(&text).unwrap();
        assert!(back.token(&Digest::of("geheim"), 1).is_ok());
        assert!(back.session(&Digest::of("geheim2"), Some(7), true, 1).is_ok());
        assert_eq!(back.redeem(&Digest::of("c"), Some(7), 1), Err(NotTaken::Code));
    }
}
