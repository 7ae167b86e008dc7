//! Signing in without Keycloak: `helmctl dashboard` gives a link, which works once, on this host (docs/access.md).

use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::Params;
use crate::app::App;
use crate::auth::{Caller, Who, cookie};
use crate::problem::{Problem, ProblemBody, Result};
use crate::serve::Client;

/// The query of a link.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SignInQuery {
    /// As `helmctl dashboard` gave it.
    code: String,
}

/// What goes on by itself: only a second request, from our own page, brings a cookie that is SameSite=Strict.
const WELCOME: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url=/\"><title>Helm</title></head><body><main><p>Signed in. <a href=\"/\">Go on</a></p></main></body></html>";

/// Longest name of a browser that is kept.
const AGENT: usize = 200;

/// Signs in with a link of `helmctl dashboard`: once, within a minute, by a browser of the same user on this host.
#[utoipa::path(get, path = "/sign-in", tag = "helm", params(SignInQuery), responses(
    (status = 200, description = "Signed in; goes on to the dashboard", content_type = "text/html", body = String),
    (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn sign_in(
    State(app): State<App>,
    method: Method,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    Params(query): Params<SignInQuery>,
) -> Result<Response> {
    // Previews and link checkers ask so: the link is not used up.
    if method != Method::GET {
        return Err(Problem::method(Some(HeaderValue::from_static("GET"))));
    }
    if !app.authority.is_direct(&headers, &client) {
        return Err(Problem::forbidden(
            "local sessions are for browsers of Helm's own user on this host, with no proxy in between",
        ));
    }
    let embedded = |name: &str, allowed: &str| headers.get(name).is_some_and(|value| value != allowed);
    if embedded("sec-fetch-dest", "document") || embedded("sec-fetch-mode", "navigate") {
        return Err(Problem::forbidden("this link is to be opened, not to be loaded by a page"));
    }
    let agent: String = headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .chars()
        .take(AGENT)
        .collect();
    let session = app.authority.redeem(&query.code, &client, agent).await?;
    let cookie = HeaderValue::from_str(&cookie::set(&session));
    let cookie =
        cookie.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the session has no cookie"))?;
    let policy = HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'");
    Ok(([(SET_COOKIE, cookie), (CONTENT_SECURITY_POLICY, policy)], Html(WELCOME)).into_response())
}

/// Ends the local session, and makes the browser forget it.
#[utoipa::path(post, path = "/sign-out", tag = "helm", responses((status = 204), (status = 503, body = ProblemBody, description = "helmd is away: the session is not ended")))]
pub async fn sign_out(
    State(app): State<App>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Result<Response> {
    match who {
        Who::Known(caller) if caller.is_session() => app.authority.sign_out(&caller, &headers).await?,
        Who::Refused(problem) if problem.status() == StatusCode::SERVICE_UNAVAILABLE => return Err(problem),
        Who::Known(_) | Who::Direct(_) | Who::Nobody | Who::Refused(_) => {}
    }
    let cookie = HeaderValue::from_str(&cookie::forget()).ok();
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}

/// Who asks, and what that may.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// `sub` of a user, the calling service, the id of an API token, `uid:1000` of a local session.
    subject: String,
    name: String,
    /// admin, technician, billing or client; empty for service tokens and tokens for one purpose.
    role: String,
    /// user, service, token or session
    via: String,
    /// When the credential ends, in seconds since 1970.
    expires: Option<i64>,
    /// Why nothing can be changed for now, if so.
    reads_only: Option<&'static str>,
    permissions: Vec<Permission>,
}

/// One right.
#[derive(Debug, Serialize, ToSchema)]
pub struct Permission {
    action: String,
    /// For all services; else for these.
    all: bool,
    services: Vec<String>,
}

/// Who asks, and what that may.
#[utoipa::path(get, path = "/api/v1/me", tag = "helm", responses(
    (status = 200, body = Me), (status = 401, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn me(State(app): State<App>, caller: Caller) -> Result<Json<Me>> {
    let told = app.backend.access(&caller.principal).await?.permissions().await?;
    let permission =
        |p: helm_proto::v1::Permission| Permission { action: p.action, all: p.all, services: p.services };
    let permissions = told.permissions.into_iter().map(permission).collect();
    let Caller { principal, expires, reads_only } = caller;
    Ok(Json(Me {
        subject: principal.subject,
        name: principal.name,
        role: principal.role,
        via: principal.via,
        expires,
        reads_only,
        permissions,
    }))
}
