//! Refusals, as programs read them: problem+json (RFC 9457), or the plain object where contract 5 has one.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use helm_client::{ClientError, Failing, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem as it is written (RFC 9457, contract 1.5).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// `about:blank#` and a word that programs match.
    pub r#type: String,
    /// The same for people.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// The path that was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Seconds after which to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// The plain object of contract 5.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PlainBody {
    /// What is wrong, and what to do.
    pub error: String,
}

/// Why a request is refused.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    detail: Cow<'static, str>,
    plain: bool,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
}

impl Problem {
    /// With this status, and this to say.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), plain: false, retry_after: None, allow: None }
    }

    /// 400
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 503, to be tried again after a while.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// 429, to be tried again after a while.
    pub fn too_many(detail: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self { retry_after: Some(after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// 405: only these methods. Where they are not known here, the router adds them.
    pub fn method(allow: Option<HeaderValue>) -> Self {
        let detail = "this address does not take this method: the header Allow names those that it takes";
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail) }
    }

    /// As `{"error": …}`: for routes whose callers expect that (contract 5).
    #[must_use]
    pub fn plain(self) -> Self {
        Self { plain: true, ..self }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The word of contract 1.5.
    fn word(&self) -> &'static str {
        match self.status.as_u16() {
            400 => "bad-request",
            401 => "unauthorized",
            403 => "forbidden",
            404 => "not-found",
            405 => "method-not-allowed",
            408 => "request-timeout",
            409 => "conflict",
            413 => "content-too-large",
            415 => "unsupported-media-type",
            421 => "misdirected-request",
            422 => "unprocessable-entity",
            429 => "rate-limit-exceeded",
            503 => "service-unavailable",
            _ => "internal-server-error",
        }
    }

    /// With a body of another protocol in the place of its own.
    #[must_use]
    pub fn with_body(self, media: HeaderValue, body: Body) -> Response {
        let mut response = self.at("");
        *response.body_mut() = body;
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, media);
        response
    }

    /// As it is sent, for this path.
    #[must_use]
    pub fn at(self, path: &str) -> Response {
        let seconds = self.retry_after.map(|after| after.as_secs().max(1));
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut response = if self.plain {
            Json(PlainBody { error: self.detail.clone().into_owned() }).into_response()
        } else {
            let body = ProblemBody {
                r#type: format!("about:blank#{}", self.word()),
                title: title.to_owned(),
                status: self.status.as_u16(),
                detail: format!("{} {title}: {}", self.status.as_u16(), self.detail),
                instance: path.to_owned(),
                retry_after: seconds,
            };
            let mut response = Json(body).into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
            response
        };
        *response.status_mut() = self.status;
        if let Some(seconds) = seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, allow);
        }
        response
    }
}

/// The path is not known here: [`crate::request::frame`] writes the problem once more, with it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.clone().at("");
        response.extensions_mut().insert(self);
        response
    }
}

/// After how long helmd may be back: its own restart is a matter of a second.
const HELMD_BACK: Duration = Duration::from_secs(2);

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        let words = error.to_string();
        if error.is_away() {
            return Self::unavailable(format!("helmd is away: {words}"), HELMD_BACK);
        }
        match error {
            ClientError::Refused { reason, message } => match reason {
                Reason::UnknownService(_) | Reason::UnknownEntry => Self::not_found(message),
                Reason::BadRequest => Self::bad_request(message),
                Reason::Denied => Self::forbidden(message),
                Reason::Unauthenticated => Self::unauthorized(message),
                Reason::StoreAway => Self::unavailable(message, Duration::from_secs(5)),
                Reason::NotRunnable => Self::new(StatusCode::CONFLICT, message),
                Reason::Leaving => Self::unavailable(message, HELMD_BACK),
                Reason::Other(word, failing) => of_word(&word, failing, message),
            },
            ClientError::Denied { .. } => Self::unavailable(words, Duration::from_secs(30)),
            ClientError::Home(_)
            | ClientError::NotRunning { .. }
            | ClientError::Starting { .. }
            | ClientError::NotAnswering { .. }
            | ClientError::Broken(_)
            | ClientError::Start(_)
            | ClientError::Unit { .. } => {
                tracing::error!("helmd answered in a way that was not expected: {words}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
            }
        }
    }
}

/// Refusals that have no kind of their own in helm-client.
fn of_word(word: &str, failing: Failing, message: String) -> Problem {
    use helm_proto::reason;
    match word {
        reason::LATER => Problem::too_many(message, Duration::from_secs(2)),
        reason::UNCLEAR | reason::NOT_RECORDED => Problem::unavailable(message, Duration::from_secs(5)),
        _ => of_code(failing, message),
    }
}

/// What a gRPC code becomes where no word says more: never a 500, which would say that helm-web itself is broken.
fn of_code(failing: Failing, message: String) -> Problem {
    match failing {
        Failing::Request => Problem::bad_request(message),
        Failing::Missing => Problem::not_found(message),
        Failing::State => Problem::new(StatusCode::CONFLICT, message),
        Failing::Denied => Problem::forbidden(message),
        Failing::Nobody => Problem::unauthorized(message),
        Failing::Exhausted => Problem::too_many(message, Duration::from_secs(2)),
        Failing::Late => Problem::unavailable(
            format!("helmd did not answer in time: {message}; ask again, or for less"),
            Duration::from_secs(5),
        ),
        Failing::Version => Problem::unavailable(
            format!("this helmd does not know how ({message}): helmctl daemon reexec takes the one on disk"),
            Duration::from_secs(30),
        ),
        Failing::Helmd => {
            tracing::error!("helmd failed: {message}");
            Problem::unavailable(format!("helmd failed: {message}"), Duration::from_secs(10))
        }
    }
}

/// What handlers answer.
pub type Result<T> = std::result::Result<T, Problem>;

#[cfg(test)]
mod tests {
    use helm_proto::reason;

    use super::*;

    #[test]
    fn no_answer_of_helmd_is_a_500() {
        for (failing, status) in [
            (Failing::Request, 400),
            (Failing::Nobody, 401),
            (Failing::Denied, 403),
            (Failing::Missing, 404),
            (Failing::State, 409),
            (Failing::Exhausted, 429),
            (Failing::Late, 503),
            (Failing::Version, 503),
            (Failing::Helmd, 503),
        ] {
            let problem = of_word("full-moon", failing, "the moon is full".to_owned());
            assert_eq!(problem.status().as_u16(), status, "{failing:?}");
            assert!(problem.detail().contains("the moon is full"), "{failing:?}");
            let wants_retry = matches!(status, 429 | 503);
            assert_eq!(problem.at("/x").headers().contains_key(RETRY_AFTER), wants_retry, "{failing:?}");
        }
        let broken = Problem::from(ClientError::Broken("h2 protocol error".to_owned()));
        assert_eq!(broken.status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn helmds_own_words_say_more_than_their_codes() {
        for (refused, status) in [
            (reason::later("full", 1), 429),
            (reason::unclear("maybe"), 503),
            (reason::not_recorded("full disk"), 503),
            (reason::busy("another one"), 409),
            (reason::bad_mode("prod"), 400),
            (reason::unknown_reload("r"), 404),
            (reason::store_away("gone"), 503),
            (reason::leaving("bye"), 503),
            (reason::cannot_start("no program"), 409),
        ] {
            assert_eq!(
                Problem::from(ClientError::from(refused.clone())).status().as_u16(),
                status,
                "{refused}"
            );
        }
    }
}
