//! Paths, queries and bodies of requests: read with axum's extractors, refused with our own words.

use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::problem::{Problem, Result};
use crate::serve::Broken;

/// Longest body of a request that is no ingest.
const LONGEST: usize = 64 << 10;

/// A part of the path.
#[derive(Debug)]
pub struct Segment<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        refuse_nul(parts.uri.path(), "the path")?;
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(it)| Self(it)).map_err(|e: PathRejection| Problem::not_found(e.body_text()))
    }
}

/// The query.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        refuse_nul(parts.uri.query().unwrap_or_default(), "the query")?;
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(it)| Self(it)).map_err(|e: QueryRejection| Problem::bad_request(e.body_text()))
    }
}

/// No name and no text that is searched for holds a NUL, and PostgreSQL takes none.
fn refuse_nul(raw: &str, place: &str) -> Result<()> {
    match raw.contains("%00") {
        true => Err(Problem::bad_request(format!("{place} holds a NUL"))),
        false => Ok(()),
    }
}

/// The keys of the query that begin so, without that: `context.` of `context.status=500`.
///
/// # Errors
/// One of them stands there twice, or the query cannot be read.
pub fn keyed(parts: &Parts, begin: &str) -> Result<BTreeMap<String, String>> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(pairs) = query.map_err(|e: QueryRejection| Problem::bad_request(e.body_text()))?;
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        let Some(rest) = key.strip_prefix(begin).filter(|rest| !rest.is_empty()) else { continue };
        if found.insert(rest.to_owned(), value).is_some() {
            return Err(Problem::bad_request(format!("`{key}` stands twice in the query")));
        }
    }
    Ok(found)
}

/// Names that are separated by commas: Nexus keeps only the first of repeated keys.
#[must_use]
pub fn names(text: Option<&str>) -> Vec<String> {
    let all = text.unwrap_or_default().split(',').map(str::trim);
    all.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A body of JSON; none is the same as `{}`.
#[derive(Debug)]
pub struct Payload<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        json(request, LONGEST).await.map(Self)
    }
}

/// A body of JSON within a bound of bytes; none is the same as `{}`.
///
/// # Errors
/// It is longer, or no JSON, or not what is asked for here.
pub async fn json<T: DeserializeOwned>(request: Request, longest: usize) -> Result<T> {
    let (parts, body) = request.into_parts();
    let body = whole(body, longest).await?;
    if body.is_empty() {
        let empty = serde_json::from_str("{}");
        return empty.map_err(|e| Problem::bad_request(format!("the body is empty: {e}")));
    }
    if !is_json(&parts.headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this address takes JSON: send Content-Type: application/json",
        ));
    }
    serde_json::from_slice(&body)
        .map_err(|e| Problem::bad_request(format!("the body cannot be read as JSON: {e}")))
}

/// The whole body, within a bound of bytes.
///
/// # Errors
/// 413, 408, or the connection broke.
pub async fn whole(body: Body, longest: usize) -> Result<axum::body::Bytes> {
    let too_long = || {
        let words = format!("the body is longer than the {longest} bytes that this address takes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, words)
    };
    if hyper::body::Body::size_hint(&body).lower() > longest as u64 {
        return Err(too_long());
    }
    to_bytes(body, longest).await.map_err(|e| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&e);
        while let Some(this) = cause {
            if let Some(Broken::TooSlow) = this.downcast_ref::<Broken>() {
                return Problem::new(StatusCode::REQUEST_TIMEOUT, Broken::TooSlow.to_string());
            }
            if this.is::<http_body_util::LengthLimitError>() {
                return too_long();
            }
            cause = this.source();
        }
        Problem::bad_request(format!("the body broke off: {e}"))
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || media.starts_with("application/") && media.ends_with("+json")
}
