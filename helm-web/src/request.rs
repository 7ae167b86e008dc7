//! What every request passes: its id, the prefix that it came by, the host that it was meant for, who asks, and the form of
//! refusals and headers.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;
use crate::auth::{cross_site, direct};
use crate::problem::{Problem, Result};
use crate::serve::Client;

/// The header of a request's id (contract 5.1).
pub const CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");
/// A longer id is not one.
const LONGEST_ID: usize = 100;
/// What the services of the ecosystem get through Nexus, and what this program is called there.
const OWN_PREFIX: &str = "/helm";

/// What is known of a request before anybody asked whose it is.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Its id: the caller's, or a new one.
    pub id: String,
    /// Before our paths, as the browser sees them: `/helm`, or empty.
    pub prefix: String,
    /// The path that was asked for, without the prefix.
    pub path: String,
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let arrival = parts.extensions.get::<Self>().cloned();
        arrival.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the request has lost its id"))
    }
}

/// Paths may still carry the prefix (contract 0.1): it is taken off before anything looks at them.
pub fn without_prefix(mut request: Request) -> Request {
    let stripped = strip(request.uri());
    if let Some(uri) = stripped {
        *request.uri_mut() = uri;
    }
    request
}

fn strip(uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(OWN_PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let rest = if rest.is_empty() { "/" } else { rest };
    let whole = uri.query().map_or_else(|| rest.to_owned(), |query| format!("{rest}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(whole).ok()?);
    Uri::from_parts(parts).ok()
}

/// The outermost layer.
pub async fn frame(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let arrival = arrival(&app, &request);
    request.extensions_mut().insert(arrival.clone());
    let response = match admit(&app, &mut request, &arrival).await {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.at(&arrival.path),
    };
    finish(response, &arrival)
}

fn arrival(app: &App, request: &Request) -> Arrival {
    let given = request.headers().get(CORRELATION_ID).and_then(|id| id.to_str().ok());
    let is_id =
        |id: &&str| !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|b| b.is_ascii_graphic());
    let id = given.filter(is_id).map_or_else(|| app.ids.next(), str::to_owned);
    let settings = app.situation.settings();
    let prefix = request.headers().get("x-forwarded-prefix").and_then(|prefix| prefix.to_str().ok());
    let prefix = prefix.filter(|prefix| settings.prefixes.iter().any(|listed| listed == prefix));
    Arrival { id, prefix: prefix.unwrap_or_default().to_owned(), path: request.uri().path().to_owned() }
}

/// The host is one of ours, the change is asked for by one of our pages, and it is known who asks.
async fn admit(app: &App, request: &mut Request, arrival: &Arrival) -> Result<()> {
    let client = request.extensions().get::<Client>().copied();
    let client = client.ok_or_else(|| Problem::forbidden("where the request comes from is not known"))?;
    let settings = app.situation.settings();
    let host = direct::host(request.headers())
        .ok_or_else(|| Problem::bad_request("the request needs exactly one Host header"))?;
    // A target with a host of its own would decide instead (RFC 9112, 3.2.2).
    if request.uri().authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
        return Err(Problem::bad_request(
            "the target of the request and its Host header name different hosts",
        ));
    }
    if !direct::is_own_host(host, client.near.port()) && !direct::is_allowed(host, &settings.allowed_hosts) {
        let host: String = host.chars().filter(|c| !c.is_control()).take(100).collect();
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "`{host}` is not a name of this Helm; `[web] allowed_hosts = {host}` in instance/helm.conf makes it one"
            ),
        ));
    }
    if let Some(why) = cross_site::fault(request.method(), request.headers(), settings.public_url.as_deref())
    {
        return Err(Problem::forbidden(why));
    }
    let who = app.authority.who(request.headers(), &client, &arrival.id).await;
    request.extensions_mut().insert(who);
    Ok(())
}

/// Refusals get their path, axum's own ones their form, and everything its headers.
fn finish(response: Response, arrival: &Arrival) -> Response {
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => problem.clone().at(&arrival.path),
        None => of_router(response, &arrival.path),
    };
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&arrival.id) {
        headers.insert(CORRELATION_ID, id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(VARY).or_insert(HeaderValue::from_static("Authorization, Cookie"));
    response
}

fn of_router(response: Response, path: &str) -> Response {
    let bare = !response.headers().contains_key(CONTENT_TYPE);
    match response.status() {
        StatusCode::METHOD_NOT_ALLOWED if bare => {
            Problem::method(response.headers().get(ALLOW).cloned()).at(path)
        }
        _ => response,
    }
}

/// Ids for requests that bring none.
#[derive(Debug)]
pub struct Ids {
    /// Of this process: its start and pid tell its ids from others'.
    stem: String,
    next: std::sync::atomic::AtomicU64,
}

impl Ids {
    /// Of this process.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "each is another: a default would hide that")]
    pub fn new() -> Self {
        let stem = format!("{:x}-{:x}", crate::auth::now(), std::process::id());
        Self { stem, next: std::sync::atomic::AtomicU64::new(1) }
    }

    /// What all of them begin with.
    #[must_use]
    pub fn stem(&self) -> &str {
        &self.stem
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!("{}-{number:x}", self.stem)
    }
}

/// Whether an `Accept` header names a media type.
#[must_use]
pub fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers.get_all(axum::http::header::ACCEPT).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.split(',').any(|one| one.trim().split(';').next() == Some(media)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_taken_off_where_it_is_one() {
        for (uri, rest) in [
            ("/helm", Some("/")),
            ("/helm/", Some("/")),
            ("/helm/api/logs?a=b", Some("/api/logs?a=b")),
            ("/helm?x=1", Some("/?x=1")),
            ("/helmet", None),
            ("/api/helm", None),
        ] {
            let stripped = strip(&uri.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(stripped.as_deref(), rest, "{uri}");
        }
    }
}
