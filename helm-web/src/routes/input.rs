//! Paths, queries and bodies of requests: read with axum's extractors, refused with our own words.

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
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(it)| Self(it)).map_err(|e: QueryRejection| Problem::bad_request(e.body_text()))
    }
}

/// A body of JSON; none is the same as `{}`.
#[derive(Debug)]
pub struct Payload<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Payload<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let body = whole(body, LONGEST).await?;
        if body.is_empty() {
            let empty = serde_json::from_str("{}");
            return empty.map(Self).map_err(|e| Problem::bad_request(format!("the body is empty: {e}")));
        }
        if !is_json(&parts.headers) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "this address takes JSON: send Content-Type: application/json",
            ));
        }
        let read = serde_json::from_slice(&body);
        read.map(Self).map_err(|e| Problem::bad_request(format!("the body cannot be read as JSON: {e}")))
    }
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
