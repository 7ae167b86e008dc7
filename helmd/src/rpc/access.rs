//! Who may sign in, and what they may.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use helm_core::access::{Action, Credential, Role, Scope};
use helm_core::name::ServiceName;
use helm_core::time::Wall;
use helm_proto::v1::access_server::Access as AccessRpc;
use helm_proto::v1::identify_request::Secret;
use helm_proto::v1::{
    ApiToken, AuditRequest, AuditResponse, CreateTokenRequest, CreateTokenResponse, EndSessionRequest,
    EndSessionResponse, IdentifyRequest, IdentifyResponse, ListSessionsRequest, ListSessionsResponse,
    ListTokensRequest, ListTokensResponse, LocalSession, NoteRequest, NoteResponse, Permission,
    PermissionsRequest, PermissionsResponse, Principal, RevokeTokenRequest, RevokeTokenResponse,
    SignInCodeRequest, SignInCodeResponse, WebSettingsRequest, WebSettingsResponse,
};
use helm_proto::{Timestamp, convert, reason};
use tonic::{Request, Response, Status};

use super::caller::{Caller, Who};
use super::{Api, Result};
use crate::access::{Good, NotChanged, NotTaken, Session, Token};
use crate::audit::{By, Deed, Outcome};
use crate::work;

/// Longest name of a token, and longest word about a client, in characters.
const NAME: usize = 64;
const AGENT: usize = 200;
/// Most services of a token.
const SERVICES: usize = 1000;
/// Longest life of a token that ends: ten years, in seconds.
const LIFETIME: u64 = 10 * 366 * 86_400;

#[tonic::async_trait]
impl AccessRpc for Api {
    async fn sign_in_code(
        &self,
        request: Request<SignInCodeRequest>,
    ) -> Result<Response<SignInCodeResponse>> {
        let caller = Caller::of(&request)?;
        let (code, expires_at) = self.access.code(caller.peer().uid).map_err(|why| not_changed(&why))?;
        tracing::info!("a link to sign in was given to {}", caller.describe());
        Ok(Response::new(SignInCodeResponse { code, expires_at: Some(stamp(expires_at)) }))
    }

    async fn identify(&self, request: Request<IdentifyRequest>) -> Result<Response<IdentifyResponse>> {
        web_only(&request)?;
        let by = Caller::of(&request)?.by();
        let IdentifyRequest { secret, uid, agent } = request.into_inner();
        let answer = match secret {
            Some(Secret::Token(shown)) => of_token(&self.access.token(&shown).await.map_err(not_taken)?),
            Some(Secret::Session(shown)) => {
                of_session(&self.access.session(&shown, uid).await.map_err(not_taken)?)
            }
            Some(Secret::Code(shown)) => {
                let uid = self.access.redeem(&shown, uid).map_err(not_taken)?;
                let begun = self.access.begin(uid, user(uid).await, printable(&agent, AGENT)).await;
                let (cookie, session) = begun.map_err(|why| not_changed(&why))?;
                tracing::info!("a local session of uid {uid} has begun ({})", session.id);
                let by = By { principal: Some(session.principal()), ..by };
                let deed = Deed { by, what: "sign_in", targets: vec![session.id.clone()] };
                self.trail.note(deed, Outcome::Done, session.agent.clone());
                IdentifyResponse { session: cookie, ..of_session(&session) }
            }
            None => return Err(reason::bad_request("nothing was shown: a token, a session or a code")),
        };
        Ok(Response::new(answer))
    }

    async fn permissions(
        &self,
        request: Request<PermissionsRequest>,
    ) -> Result<Response<PermissionsResponse>> {
        let caller = Caller::of(&request)?;
        let permissions = Action::ALL.map(|action| permission(action, caller.scope(action)));
        let mut revision = DefaultHasher::new();
        self.facts.rules.hash(&mut revision);
        Ok(Response::new(PermissionsResponse {
            permissions: permissions.into(),
            revision: revision.finish(),
        }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>> {
        let caller = Caller::of(&request)?;
        if caller.principal().is_some_and(|principal| principal.credential != Credential::Session) {
            let why =
                "an API token is made in a local session (helmctl dashboard), or by helmctl token create";
            return Err(reason::permission_denied(why));
        }
        let request = request.into_inner();
        let lifetime = lifetime(request.lifetime)?;
        let good = good(request)?;
        if good.purpose != INGEST {
            let names: Vec<String> = good.services.iter().map(ToString::to_string).collect();
            self.known(&names)?;
        }
        let intent = self.intend(&caller, "create_token", &good.name).await;
        let made = self.access.create(good, lifetime, caller.describe()).await;
        match &made {
            Ok((_, token)) => intent.came(Outcome::Done, format!("{}: {}", token.id, words(&token.good))),
            Err(why) => intent.came(Outcome::Failed, why.to_string()),
        }
        let (secret, token) = made.map_err(|why| not_changed(&why))?;
        tracing::info!("API token {} ({}) was made by {}", token.id, token.good.name, token.created_by);
        Ok(Response::new(CreateTokenResponse { secret, token: Some(shown(token)) }))
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>> {
        let (tokens, _) = self.access.living();
        Ok(Response::new(ListTokensResponse { tokens: tokens.into_iter().map(shown).collect() }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>> {
        let caller = Caller::of(&request)?;
        let (by, id) = (caller.describe(), request.into_inner().id);
        let intent = self.intend(&caller, "revoke_token", &id).await;
        let revoked = self.access.revoke(&id).await;
        match &revoked {
            Ok(token) => intent.came(Outcome::Done, token.good.name.clone()),
            Err(why) => intent.came(Outcome::Failed, why.to_string()),
        }
        let token = revoked.map_err(|why| not_changed(&why))?;
        tracing::info!("API token {} ({}) was revoked by {by}", token.id, token.good.name);
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn list_sessions(&self, _: Request<ListSessionsRequest>) -> Result<Response<ListSessionsResponse>> {
        let (_, sessions) = self.access.living();
        Ok(Response::new(ListSessionsResponse { sessions: sessions.into_iter().map(listed).collect() }))
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Result<Response<EndSessionResponse>> {
        let caller = Caller::of(&request)?;
        let by = caller.describe();
        let EndSessionRequest { id, session } = request.into_inner();
        let id = match session.as_str() {
            "" => id,
            cookie => self.access.session_of(cookie).map_err(not_taken)?,
        };
        let intent = self.intend(&caller, "end_session", &id).await;
        let ended = self.access.end(&id).await;
        match &ended {
            Ok(session) => intent.came(Outcome::Done, format!("of uid {}", session.uid)),
            Err(why) => intent.came(Outcome::Failed, why.to_string()),
        }
        let ended = ended.map_err(|why| not_changed(&why))?;
        tracing::info!("the local session {} of uid {} was ended by {by}", ended.id, ended.uid);
        Ok(Response::new(EndSessionResponse {}))
    }

    async fn note(&self, request: Request<NoteRequest>) -> Result<Response<NoteResponse>> {
        web_only(&request)?;
        let by = Caller::of(&request)?.by();
        let NoteRequest { what, outcome, from } = request.into_inner();
        let [what, outcome, from] = [what, outcome, from].map(|text| printable(&text, AGENT));
        tracing::info!("helm-web notes: {what}: {outcome} (from {from})");
        let principal = Some(Principal { via: "web".to_owned(), from, ..Principal::default() });
        let deed = Deed { by: By { principal, ..by }, what: "note", targets: vec![what] };
        self.trail.note(deed, Outcome::Done, outcome);
        Ok(Response::new(NoteResponse {}))
    }

    async fn web_settings(&self, _: Request<WebSettingsRequest>) -> Result<Response<WebSettingsResponse>> {
        let web = self.facts.web.clone();
        Ok(Response::new(WebSettingsResponse {
            allowed_hosts: web.allowed_hosts,
            public_url: web.public_url.unwrap_or_default(),
            trusted_uids: web.trusted_uids,
            open_ingest: web.open_ingest,
            prefixes: web.prefixes,
            uid: rustix::process::getuid().as_raw(),
            home: self.facts.home.path().to_string_lossy().into_owned(),
        }))
    }

    async fn audit(&self, request: Request<AuditRequest>) -> Result<Response<AuditResponse>> {
        Caller::of(&request)?.may(Action::Audit, None)?;
        self.trail_page(request.into_inner()).await.map(Response::new)
    }
}

/// For the audit trail: "technician in codex".
fn words(good: &Good) -> String {
    let may = if good.purpose.is_empty() { &good.role } else { &good.purpose };
    let names: Vec<&str> = good.services.iter().map(ServiceName::as_str).collect();
    if names.is_empty() { may.clone() } else { format!("{may} in {}", names.join(", ")) }
}

/// A token for this sends entries of services that need not be configured.
const INGEST: &str = "ingest";

/// On helmd's own socket nobody has to show anything.
#[allow(clippy::result_large_err, reason = "the error of every handler")]
fn web_only<T>(request: &Request<T>) -> Result<()> {
    match Caller::of(request)?.who {
        Who::Nobody => Ok(()),
        Who::Owner | Who::Somebody(_) => {
            Err(reason::permission_denied("this is for helm-web, on its own socket"))
        }
    }
}

fn permission(action: Action, scope: Scope) -> Permission {
    let (all, services) = match scope {
        Scope::All => (true, Vec::new()),
        Scope::Only(services) => (false, services.iter().map(ToString::to_string).collect()),
    };
    Permission { action: action.as_str().to_owned(), all, services }
}

/// What a token is to be good for, if that can be.
#[allow(clippy::result_large_err, reason = "the error of every handler")]
fn good(request: CreateTokenRequest) -> Result<Good> {
    let CreateTokenRequest { name, role, purpose, services, lifetime: _ } = request;
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME || name.chars().any(char::is_control) {
        return Err(reason::bad_request(&format!(
            "a token needs a name of 1 to {NAME} characters, for people"
        )));
    }
    match (role.as_str(), purpose.as_str()) {
        (role, "") if Role::parse(role).is_some() => {}
        ("", INGEST | "metrics") => {}
        _ => {
            let why =
                "a token has a role (admin, technician, billing, client) or a purpose (ingest, metrics)";
            return Err(reason::bad_request(why));
        }
    }
    if services.len() > SERVICES {
        return Err(reason::bad_request(&format!("a token names at most {SERVICES} services")));
    }
    let services = services.iter().map(|name| ServiceName::new(name)).collect::<std::result::Result<_, _>>();
    let services = services.map_err(|e| reason::bad_request(&e.to_string()))?;
    Ok(Good { name, role, purpose, services })
}

/// In nanoseconds; `None`: for ever.
#[allow(clippy::result_large_err, reason = "the error of every handler")]
fn lifetime(seconds: u64) -> Result<Option<i64>> {
    if seconds > LIFETIME {
        return Err(reason::bad_request("a token lives for ten years at most, or (0) until it is revoked"));
    }
    let nanos = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    Ok((nanos > 0).then_some(nanos))
}

fn of_token(token: &Token) -> IdentifyResponse {
    IdentifyResponse {
        principal: Some(token.principal()),
        expires_at: token.expires_at.map(stamp),
        session: String::new(),
    }
}

fn of_session(session: &Session) -> IdentifyResponse {
    IdentifyResponse {
        principal: Some(session.principal()),
        expires_at: Some(stamp(session.ends())),
        session: String::new(),
    }
}

fn shown(token: Token) -> ApiToken {
    let Good { name, role, purpose, services } = token.good;
    ApiToken {
        id: token.id,
        name,
        role,
        purpose,
        services: services.iter().map(ToString::to_string).collect(),
        created_at: Some(stamp(token.created_at)),
        created_by: token.created_by,
        expires_at: token.expires_at.map(stamp),
        used_at: token.used_at.map(stamp),
    }
}

fn listed(session: Session) -> LocalSession {
    LocalSession {
        expires_at: Some(stamp(session.ends())),
        id: session.id,
        uid: session.uid,
        user: session.user,
        agent: session.agent,
        created_at: Some(stamp(session.created_at)),
        used_at: Some(stamp(session.used_at)),
    }
}

fn stamp(nanos: i64) -> Timestamp {
    convert::timestamp(Wall(nanos))
}

/// Their name, where one can be found.
async fn user(uid: u32) -> String {
    let look = move || Ok(nix::unistd::User::from_uid(uid.into()).ok().flatten());
    let found = work::NAMES.run(look).await.ok().flatten();
    found.map(|user| user.name).unwrap_or_default()
}

fn printable(text: &str, longest: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(longest).collect()
}

fn not_taken(why: NotTaken) -> Status {
    reason::unauthenticated(&why.to_string())
}

fn not_changed(why: &NotChanged) -> Status {
    let words = why.to_string();
    match why {
        NotChanged::Unknown(..) => reason::unknown_entry(&words),
        NotChanged::Full => reason::bad_request(&words),
        NotChanged::NotWritten(..) => reason::not_recorded(&words),
        NotChanged::Random(_) => Status::internal(words),
    }
}
