//! Who asks: from a request's credential to the principal that helmd is told. What that principal may is helmd's to decide.

pub mod claims;
pub mod cookie;
pub mod core;
pub mod credential;
pub mod cross_site;
pub mod direct;
pub mod failures;
pub mod keys;
pub mod secrets;
pub mod sessions;
pub mod standing;
pub mod verified;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use helm_proto::v1::{NoteRequest, Principal};

use tokio::time::Instant;

use crate::backend::Backend;
use crate::problem::{Problem, Result};
use crate::serve::Client;
use crate::situation::{Situation, ourselves};
use claims::{Claims, TokenFault, User};
use failures::Failures;
use keys::{Keys, Looked, NoKey};
use secrets::Secrets;
use sessions::Sessions;
use standing::Standing;
use verified::Verified;

/// Who asks, as far as it is known.
#[derive(Debug, Clone)]
pub enum Who {
    /// With a credential that counts.
    Known(Caller),
    /// Without one, but by a program of Helm's own user.
    Direct(Caller),
    /// Without one.
    Nobody,
    /// With one that does not count.
    Refused(Problem),
}

/// A principal that is known.
#[derive(Debug, Clone)]
pub struct Caller {
    /// As helmd is told.
    pub principal: Principal,
    /// Why it may read only, if so.
    pub reads_only: Option<&'static str>,
    /// When its credential ends, in seconds since 1970.
    pub expires: Option<i64>,
}

impl Caller {
    /// Of this principal, whose credential ends then.
    #[must_use]
    pub fn of(principal: Principal, expires: Option<i64>) -> Self {
        Self { principal, reads_only: None, expires }
    }

    /// With the cookie of a local session.
    #[must_use]
    pub fn is_session(&self) -> bool {
        self.principal.via == "session"
    }

    /// With a user's token of Core's.
    #[must_use]
    pub fn is_of_core(&self) -> bool {
        self.principal.via == "user"
    }

    /// Of a service token: contract 5's routes that are for people refuse it.
    #[must_use]
    pub fn is_service(&self) -> bool {
        self.principal.via == "service"
    }
}

/// Finds out who asks.
#[derive(Debug, Clone)]
pub struct Authority(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    own: u32,
    keys: Keys,
    verified: Verified,
    failures: Failures,
    sessions: Sessions,
    secrets: Secrets,
    backend: Backend,
    situation: Situation,
}

/// What a Bearer header holds where it is an API token of Helm's own.
const API_TOKEN: &str = "helm_";

impl Authority {
    /// `own`: Helm's user.
    #[must_use]
    pub fn new(own: u32, keys: Keys, sessions: Sessions, backend: Backend, situation: Situation) -> Self {
        let secrets = Secrets::new(backend.clone());
        let (verified, failures) = (Verified::default(), Failures::default());
        Self(Arc::new(Inner { own, keys, verified, failures, sessions, secrets, backend, situation }))
    }

    /// Whether a request comes from a program of Helm's own user with nothing in between.
    #[must_use]
    pub fn is_direct(&self, headers: &HeaderMap, client: &Client) -> bool {
        let settings = self.0.situation.settings();
        direct::is_direct(headers, client, self.0.own, &settings.trusted_uids)
    }

    /// Who asks. An Authorization header decides alone; a local session counts on direct requests only.
    pub async fn who(&self, headers: &HeaderMap, client: &Client, request_id: &str) -> Who {
        self.whose(headers, client, request_id, true).await
    }

    /// The same, of an answer that goes on: to look is no use of a local session, which would keep it alive.
    pub async fn who_still(&self, headers: &HeaderMap, client: &Client, request_id: &str) -> Who {
        self.whose(headers, client, request_id, false).await
    }

    async fn whose(&self, headers: &HeaderMap, client: &Client, request_id: &str, uses: bool) -> Who {
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let who = match (given.next(), given.next()) {
            (None, _) if self.is_direct(headers, client) => self.local(headers, client, uses).await,
            (None, _) => return Who::Nobody,
            (Some(_), Some(_)) => Err(Problem::unauthorized("there is more than one Authorization header")),
            (Some(value), None) => self.bearer(value.to_str().unwrap_or_default()).await.map(Who::Known),
        };
        let named = |mut caller: Caller| {
            request_id.clone_into(&mut caller.principal.request_id);
            caller.principal.from = from(client);
            caller
        };
        match who {
            Ok(Who::Known(caller)) => Who::Known(named(caller)),
            Ok(Who::Direct(caller)) => Who::Direct(named(caller)),
            Ok(other) => other,
            Err(problem) => Who::Refused(self.slowed(problem, client)),
        }
    }

    /// A wrong credential too many is answered with 429.
    fn slowed(&self, problem: Problem, client: &Client) -> Problem {
        if problem.status() != StatusCode::UNAUTHORIZED {
            return problem;
        }
        match self.0.failures.note(client.uid, Instant::now()) {
            Some(after) => {
                Problem::too_many("too many wrong credentials: what counts is still let in", after)
            }
            None => problem,
        }
    }

    /// Without an Authorization header, by a program of Helm's own user.
    async fn local(&self, headers: &HeaderMap, client: &Client, uses: bool) -> Result<Who> {
        if let Some(cookie) = cookie::of(headers)
            && let Some(owner) = self.0.secrets.session(cookie, client.uid, uses).await?
        {
            return Ok(Who::Known(Caller::of(owner.principal, owner.expires)));
        }
        let principal = Principal { via: "direct".to_owned(), ..Principal::default() };
        Ok(Who::Direct(Caller::of(principal, None)))
    }

    async fn bearer(&self, value: &str) -> Result<Caller> {
        let token = value.strip_prefix("Bearer ").ok_or_else(|| Problem::unauthorized(MISSING))?;
        if token.starts_with(API_TOKEN) {
            let owner = self.0.secrets.token(token).await?.ok_or_else(|| {
                Problem::unauthorized("this API token is not known, or was revoked: helmctl token list")
            })?;
            return Ok(Caller::of(owner.principal, owner.expires));
        }
        let (principal, expires, reads_only) = self.of_core(token).await?;
        Ok(Caller { reads_only, ..Caller::of(principal, Some(expires)) })
    }

    /// Turns a code of `helmctl dashboard` into a session; what the browser is to keep of it.
    ///
    /// # Errors
    /// It is none, or was used already; helmd is away.
    pub async fn redeem(&self, code: &str, client: &Client, agent: String) -> Result<String> {
        let answer = self.0.secrets.code(code, client.uid, agent).await?;
        // A session that begins helmd writes down by itself.
        if answer.is_none() {
            self.note("sign_in", "refused", Some(client)).await;
        }
        let refused = "this link does not work (any more): it is for once, for a minute, and for browsers of the user who asked for it. Ask for another: helmctl dashboard";
        answer.map(|answer| answer.session).ok_or_else(|| Problem::unauthorized(refused))
    }

    /// Ends the local session of this caller, whose browser brought this cookie.
    ///
    /// # Errors
    /// helmd is away, or does not end it.
    pub async fn sign_out(&self, caller: &Caller, headers: &HeaderMap) -> Result<()> {
        let Some(cookie) = cookie::of(headers) else { return Ok(()) };
        let mut access = self.0.backend.access(&caller.principal).await?;
        let ended = access.sign_out(cookie).await;
        self.0.secrets.forget(cookie);
        ended.map_err(Problem::from)
    }

    /// Tells the audit trail.
    async fn note(&self, what: &str, outcome: &str, client: Option<&Client>) {
        let from = client.map(from).unwrap_or_default();
        let request = NoteRequest { what: what.to_owned(), outcome: outcome.to_owned(), from };
        let told = async { self.0.backend.access(&ourselves()).await?.note(request).await };
        if let Err(e) = told.await {
            tracing::warn!("the audit trail could not be told of `{what}` ({outcome}): {e}");
        }
    }

    /// A token of Core's.
    async fn of_core(&self, token: &str) -> Result<(Principal, i64, Option<&'static str>)> {
        match self.claims(token).await? {
            Claims::Service { calling, expires } => {
                let principal = Principal {
                    subject: calling.to_string(),
                    name: calling.to_string(),
                    via: "service".to_owned(),
                    ..Principal::default()
                };
                Ok((principal, expires, None))
            }
            Claims::User(user) => {
                let reads_only = self.standing(token, &user).await?;
                let principal = Principal {
                    subject: user.subject,
                    name: user.name,
                    role: user.role.as_str().to_owned(),
                    via: "user".to_owned(),
                    ..Principal::default()
                };
                Ok((principal, user.expires, reads_only))
            }
        }
    }

    async fn claims(&self, token: &str) -> Result<Claims> {
        let place = self.0.situation.core();
        let unknown = |e: NoKey| Problem::unavailable(e.to_string(), Duration::from_secs(5));
        let mut looked = self.0.keys.look(&place, false).await.map_err(unknown)?;
        self.tell_change(&looked).await;
        if let Some(claims) = self.0.verified.recall(token, &looked.keys, now()) {
            return Ok(claims);
        }
        let mut read = claims::read(token, &looked.keys);
        if read == Err(TokenFault::Signature) {
            // Core's keys may have been made anew, under the same name (contract 1.1).
            looked = self.0.keys.look(&place, true).await.map_err(unknown)?;
            self.tell_change(&looked).await;
            read = claims::read(token, &looked.keys);
        }
        if let Ok(claims) = &read {
            self.0.verified.keep(token, &looked.keys, claims);
        }
        read.map_err(|fault| Problem::unauthorized(format!("Invalid Token: {fault}")))
    }

    /// A changed key makes all tokens of before void, and tokens of its owner count: somebody should know.
    async fn tell_change(&self, looked: &Looked) {
        if looked.changed {
            tracing::warn!("Core's key has changed: tokens are checked with the new one from now on");
            self.note("core_key", "changed", None).await;
        }
    }

    /// What Core says of a user's session: why it may read only, if so.
    async fn standing(&self, token: &str, user: &User) -> Result<Option<&'static str>> {
        let age = Duration::from_secs(now().saturating_sub(user.issued).max(0).unsigned_abs());
        let port = self.0.situation.core().port;
        match self.0.sessions.standing(port, token, age).await {
            Standing::Whole => Ok(None),
            Standing::Reads => Ok(Some(
                "Core does not say whether this session still lives (helmctl why core): until it does, nothing is changed in its name. `helmctl dashboard` signs in without Core",
            )),
            Standing::Unconfirmed => Err(Problem::unauthorized(
                "Core does not say whether this session lives (helmctl why core), and the token is not new. `helmctl dashboard` signs in without Core",
            )),
            Standing::Ended => {
                Err(Problem::unauthorized("the session of this token was ended: sign in again"))
            }
        }
    }
}

/// The text of contract 1.5.
const MISSING: &str = "Authorization header is missing or invalid.";

/// "127.0.0.1 uid 1000"
fn from(client: &Client) -> String {
    let uid = client.uid.map_or_else(|| "of an unknown user".to_owned(), |uid| format!("uid {uid}"));
    format!("{} {uid}", client.far.ip())
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Somebody with a credential.
impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match parts.extensions.get::<Who>() {
            Some(Who::Known(caller)) => {
                if let Some(why) = caller.reads_only
                    && cross_site::is_change(&parts.method)
                {
                    return Err(Problem::unavailable(why, Duration::from_secs(10)));
                }
                Ok(caller.clone())
            }
            Some(Who::Refused(problem)) => Err(problem.clone()),
            Some(Who::Direct(_) | Who::Nobody) | None => Err(Problem::unauthorized(MISSING)),
        }
    }
}

/// Somebody with a credential, or a program of Helm's own user without one.
#[derive(Debug, Clone)]
pub struct MaybeDirect(pub Caller);

impl<S: Sync> FromRequestParts<S> for MaybeDirect {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if let Some(Who::Direct(caller)) = parts.extensions.get::<Who>() {
            return Ok(Self(caller.clone()));
        }
        Caller::from_request_parts(parts, state).await.map(Self)
    }
}

/// A person: contract 5's routes for users refuse service tokens with a plain object.
#[derive(Debug, Clone)]
pub struct Person(pub Caller);

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.is_service() {
            return Err(Problem::forbidden("This endpoint is for users only").plain());
        }
        Ok(Self(caller))
    }
}
