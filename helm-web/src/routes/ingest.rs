//! Where programs send log entries: HiveMatrix's own address, and those of other senders' protocols.

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use helm_core::name::ServiceName;
use helm_ingest::{Format, answer};
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::Params;
use crate::app::App;
use crate::auth::MaybeDirect;
use crate::ingest::sender::Sender;
use crate::ingest::{self, Asking};
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::serve::Client;

/// What every ingest address takes in its query.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// Whose the entries are that name no service.
    service: Option<String>,
    /// `1`: say how the body would be read, and keep nothing.
    dry_run: Option<String>,
}

/// HiveMatrix's loggers: `{"service_name", "logs": [...]}`. 200 after the commit; what is wrong with single entries is in `rejected`.
#[utoipa::path(post, path = "/api/logs/ingest", tag = "logs", params(IngestQuery),
    request_body(content = serde_json::Value, description = "`service_name` and `logs`: level, message, timestamp, context, trace_id, user_id, hostname, process_id", content_type = "application/json"),
    responses((status = 200, body = serde_json::Value), (status = 400, body = PlainBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 408, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn hivematrix(
    State(app): State<App>,
    who: MaybeDirect,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Result<Response> {
    let sent = Sent::of(&app, who, query, request)?;
    if !sent.is_json() {
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json"));
    }
    sent.take(&app, Format::HiveMatrix, |outcome| json(answer::hivematrix(&outcome))).await
}

/// Lines: a JSON object each (`application/x-ndjson`), or text.
#[utoipa::path(post, path = "/api/v1/logs/lines", tag = "logs", params(IngestQuery),
    request_body(content = String, description = "One entry a line", content_type = "application/x-ndjson"),
    responses((status = 200, body = serde_json::Value), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
        (status = 403, body = ProblemBody), (status = 408, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody),
        (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn lines(
    State(app): State<App>,
    who: MaybeDirect,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Result<Response> {
    let sent = Sent::of(&app, who, query, request)?;
    sent.take(&app, Format::Lines, |outcome| json(answer::hivematrix(&outcome))).await
}

/// A request that brings entries.
struct Sent {
    sender: Sender,
    service: Option<String>,
    dry_run: bool,
    headers: HeaderMap,
    media: String,
    body: axum::body::Body,
}

impl Sent {
    fn of(app: &App, MaybeDirect(caller): MaybeDirect, query: IngestQuery, request: Request) -> Result<Self> {
        let uid = request.extensions().get::<Client>().and_then(|client| client.uid);
        let (parts, body) = request.into_parts();
        let media = ingest::media(&parts.headers);
        let sender = Sender::of(caller, uid);
        sender.check_open(app.situation.settings().open_ingest, &parts.headers, &media)?;
        let service = query.service.filter(|name| !name.is_empty());
        if let Some(name) = &service {
            ServiceName::new(name).map_err(|e| Problem::bad_request(e.to_string()))?;
        }
        let dry_run = query.dry_run.is_some_and(|word| matches!(word.as_str(), "1" | "true" | "yes"));
        Ok(Self { sender, service, dry_run, headers: parts.headers, media, body })
    }

    fn is_json(&self) -> bool {
        self.media == "application/json" || self.media.ends_with("+json")
    }

    async fn take(
        self,
        app: &App,
        format: Format,
        answer: impl FnOnce(answer::Outcome) -> Response,
    ) -> Result<Response> {
        let once = ingest::once(&self.headers, &self.sender)?;
        let asking = Asking {
            sender: &self.sender,
            service: self.service.as_deref(),
            headers: &self.headers,
            once: &once,
        };
        if self.dry_run {
            return ingest::dry_run(app, format, asking, self.body).await.map(json);
        }
        ingest::take(app, format, asking, self.body).await.map(answer)
    }
}

/// A text that is JSON already.
fn json(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
