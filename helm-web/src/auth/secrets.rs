//! API tokens and local sessions: whose each is, by helmd's word, remembered for a moment. A token that was revoked counts no more
//! from helmd's next call on, whatever is remembered here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use helm_client::{ClientError, Reason};
use helm_proto::v1::identify_request::Secret;
use helm_proto::v1::{IdentifyRequest, IdentifyResponse, Principal};
use tokio::time::Instant;

use super::sessions::{Fingerprint, fingerprint};
use crate::backend::Backend;

/// How long it holds whose a token is: helmd looks at a token again with every call.
const HOLDS: Duration = Duration::from_secs(10);
/// How long it holds whose a session is: one that was ended does nothing any more after that.
const SESSION_HOLDS: Duration = Duration::from_secs(1);
/// How long it holds that a secret is nobody's: guessing does not reach helmd more often.
const NOBODY_HOLDS: Duration = Duration::from_secs(2);
/// Answers that are remembered.
const MOST: usize = 10_000;

/// Whose a secret is.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The principal.
    pub principal: Principal,
    /// When it ends, in seconds since 1970.
    pub expires: Option<i64>,
}

#[derive(Debug)]
struct Known {
    owner: Option<Owner>,
    until: Instant,
}

/// What is remembered.
#[derive(Debug)]
pub struct Secrets {
    backend: Backend,
    known: Mutex<HashMap<(Fingerprint, Option<u32>), Known>>,
}

impl Secrets {
    /// Nothing yet.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        Self { backend, known: Mutex::default() }
    }

    /// Whose this API token is; `None`: nobody's.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn token(&self, token: &str) -> Result<Option<Owner>, ClientError> {
        let secret = Secret::Token(token.to_owned());
        self.owner(
            (fingerprint(token), None),
            IdentifyRequest { secret: Some(secret), ..IdentifyRequest::default() },
            HOLDS,
        )
        .await
    }

    /// Whose this local session is, for a client of this user; `uses`: it counts as used.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn session(
        &self,
        cookie: &str,
        uid: Option<u32>,
        uses: bool,
    ) -> Result<Option<Owner>, ClientError> {
        let secret = Some(Secret::Session(cookie.to_owned()));
        let request = IdentifyRequest { secret, uid, look_only: !uses, ..IdentifyRequest::default() };
        self.owner((fingerprint(cookie), uid), request, SESSION_HOLDS).await
    }

    /// Uses up a code; the answer holds the cookie of the session. `None`: it is none, or none any more.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn code(
        &self,
        code: &str,
        uid: Option<u32>,
        agent: String,
    ) -> Result<Option<IdentifyResponse>, ClientError> {
        let secret = Some(Secret::Code(code.to_owned()));
        self.ask(IdentifyRequest { secret, uid, agent, look_only: false }).await
    }

    /// Whatever is remembered of this cookie holds no more.
    pub fn forget(&self, cookie: &str) {
        let of = fingerprint(cookie);
        self.known().retain(|(known, _), _| *known != of);
    }

    async fn owner(
        &self,
        of: (Fingerprint, Option<u32>),
        request: IdentifyRequest,
        holds: Duration,
    ) -> Result<Option<Owner>, ClientError> {
        let now = Instant::now();
        if let Some(known) = self.known().get(&of).filter(|known| known.until > now) {
            return Ok(known.owner.clone());
        }
        let owner = self.ask(request).await?.and_then(|answer| {
            let expires = answer.expires_at.map(|at| at.seconds);
            Some(Owner { principal: answer.principal?, expires })
        });
        let until = now + if owner.is_some() { holds } else { NOBODY_HOLDS };
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, known| known.until > now);
        }
        // Guesses never push out what counts.
        if known.len() < if owner.is_some() { MOST } else { MOST / 2 } {
            known.insert(of, Known { owner: owner.clone(), until });
        }
        Ok(owner)
    }

    async fn ask(&self, request: IdentifyRequest) -> Result<Option<IdentifyResponse>, ClientError> {
        match self.backend.access(&crate::situation::ourselves()).await?.identify(request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(ClientError::Refused { reason: Reason::Unauthenticated, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(Fingerprint, Option<u32>), Known>> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
