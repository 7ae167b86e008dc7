//! Where programs send log entries: HiveMatrix's own address, and those of other senders' protocols (docs/ingest.md).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use helm_core::name::ServiceName;
use helm_ingest::{Door, Format, answer, elastic};
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::{Params, Segment};
use crate::app::App;
use crate::auth::MaybeDirect;
use crate::ingest::sender::Sender;
use crate::ingest::{self, Asking, Taken};
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
    sent.take(&app, Door::HiveMatrix, None).await.map(in_own_words)
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
    sent.take(&app, Door::Lines, None).await.map(in_own_words)
}

/// OTLP/HTTP logs, as protobuf or JSON; the answer has the form of the request.
#[utoipa::path(post, path = "/v1/logs", tag = "logs", params(IngestQuery),
    request_body(content = serde_json::Value, description = "ExportLogsServiceRequest", content_type = "application/json"),
    responses((status = 200, description = "ExportLogsServiceResponse", body = serde_json::Value), (status = 400, description = "google.rpc.Status", body = serde_json::Value),
        (status = 401, body = serde_json::Value), (status = 403, body = serde_json::Value), (status = 408, body = serde_json::Value), (status = 413, body = serde_json::Value),
        (status = 415, body = serde_json::Value), (status = 429, body = serde_json::Value), (status = 503, body = serde_json::Value)))]
pub async fn otlp(
    State(app): State<App>,
    who: Result<MaybeDirect>,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Response {
    let json = !matches!(
        ingest::media(request.headers()).as_str(),
        "application/x-protobuf" | "application/protobuf"
    );
    let media = HeaderValue::from_static(if json { "application/json" } else { "application/x-protobuf" });
    let taken = async { Sent::of(&app, who?, query, request)?.take(&app, Door::Otlp, None).await }.await;
    match taken {
        Ok(Answer::Told(text)) => told(text),
        Ok(Answer::Taken(taken)) => {
            ([(CONTENT_TYPE, media)], answer::otlp(json, &taken.outcome)).into_response()
        }
        Err(problem) => {
            let body = answer::otlp_error(json, problem.status().as_u16(), problem.detail());
            problem.with_body(media, Body::from(body))
        }
    }
}

/// Loki's push, as JSON or snappy-compressed protobuf.
#[utoipa::path(post, path = "/loki/api/v1/push", tag = "logs", params(IngestQuery),
    request_body(content = serde_json::Value, description = "PushRequest", content_type = "application/json"),
    responses((status = 204), (status = 200, description = "With dry_run", body = serde_json::Value), (status = 400, content_type = "text/plain", body = String), (status = 401, content_type = "text/plain", body = String), (status = 403, content_type = "text/plain", body = String),
        (status = 408, content_type = "text/plain", body = String), (status = 413, content_type = "text/plain", body = String), (status = 415, content_type = "text/plain", body = String),
        (status = 429, content_type = "text/plain", body = String), (status = 503, content_type = "text/plain", body = String)))]
pub async fn loki(
    State(app): State<App>,
    who: Result<MaybeDirect>,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Response {
    let taken = async { Sent::of(&app, who?, query, request)?.take(&app, Door::Loki, None).await }.await;
    match taken {
        Ok(Answer::Told(text)) => told(text),
        Ok(Answer::Taken(taken)) => match taken.outcome.rejected.first() {
            // Its clients send again what is answered by 5xx and 429 only: these entries are not to be sent again.
            Some(first) if taken.outcome.ingested == 0 => {
                let words = format!(
                    "{} entries refused, the first because {}",
                    taken.outcome.rejected.len(),
                    first.reason
                );
                plain(Problem::bad_request(words))
            }
            _ => StatusCode::NO_CONTENT.into_response(),
        },
        Err(problem) => plain(problem),
    }
}

/// Elasticsearch's `_bulk`, for shippers that speak nothing else; its official clients PUT.
#[utoipa::path(method(post, put), path = "/es/_bulk", tag = "logs", params(IngestQuery),
    request_body(content = String, description = "An action and a document, a line each", content_type = "application/x-ndjson"),
    responses((status = 200, body = serde_json::Value), (status = 400, body = serde_json::Value), (status = 401, body = serde_json::Value), (status = 403, body = serde_json::Value),
        (status = 408, body = serde_json::Value), (status = 413, body = serde_json::Value), (status = 415, body = serde_json::Value), (status = 429, body = serde_json::Value), (status = 503, body = serde_json::Value)))]
pub async fn bulk(
    State(app): State<App>,
    who: Result<MaybeDirect>,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Response {
    of_bulk(&app, who, query, None, request).await
}

/// The same, for the documents of one index.
#[utoipa::path(method(post, put), path = "/es/{index}/_bulk", tag = "logs", params(IngestQuery, ("index" = String, Path, description = "Whose the documents are that say nothing else")),
    request_body(content = String, description = "An action and a document, a line each", content_type = "application/x-ndjson"),
    responses((status = 200, body = serde_json::Value), (status = 400, body = serde_json::Value), (status = 401, body = serde_json::Value), (status = 403, body = serde_json::Value),
        (status = 408, body = serde_json::Value), (status = 413, body = serde_json::Value), (status = 415, body = serde_json::Value), (status = 429, body = serde_json::Value), (status = 503, body = serde_json::Value)))]
pub async fn bulk_of_index(
    State(app): State<App>,
    who: Result<MaybeDirect>,
    Segment(index): Segment<String>,
    Params(query): Params<IngestQuery>,
    request: Request,
) -> Response {
    of_bulk(&app, who, query, Some(index), request).await
}

async fn of_bulk(
    app: &App,
    who: Result<MaybeDirect>,
    query: IngestQuery,
    index: Option<String>,
    request: Request,
) -> Response {
    let taken =
        async { Sent::of(app, who?, query, request)?.take(app, Door::Bulk, index.as_deref()).await }.await;
    as_elastic(match taken {
        Ok(Answer::Told(text)) => told(text),
        Ok(Answer::Taken(taken)) => told(answer::bulk(&taken.verbs, &taken.outcome)),
        Err(problem) => {
            let body = answer::bulk_error(problem.status().as_u16(), problem.detail());
            problem.with_body(JSON, Body::from(body))
        }
    })
}

/// What shippers ask an Elasticsearch before they send; `path` is what follows `/es`.
pub(super) fn probe(who: Result<MaybeDirect>, method: &Method, path: &str) -> Response {
    let refused = |problem: Problem| {
        let body = answer::bulk_error(problem.status().as_u16(), problem.detail());
        problem.with_body(JSON, Body::from(body))
    };
    as_elastic(match who.map(|_| elastic::probe(method.as_str(), path)) {
        Err(problem) => refused(problem),
        Ok(None) => {
            refused(Problem::not_found("Helm takes `_bulk` here, and answers what shippers ask before it"))
        }
        Ok(Some(probe)) => {
            let mut response = told(probe.body.to_owned());
            *response.status_mut() = StatusCode::from_u16(probe.status).unwrap_or(StatusCode::OK);
            response
        }
    })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The official clients go on only where this is said.
fn as_elastic(mut response: Response) -> Response {
    let name = HeaderName::from_static("x-elastic-product");
    response.headers_mut().insert(name, HeaderValue::from_static("Elasticsearch"));
    response
}

/// What is answered to a body.
enum Answer {
    /// How it would be read, as JSON.
    Told(String),
    Taken(Taken),
}

/// A request that brings entries.
struct Sent {
    sender: Sender,
    service: Option<String>,
    dry_run: bool,
    headers: HeaderMap,
    body: Body,
}

impl Sent {
    fn of(app: &App, MaybeDirect(caller): MaybeDirect, query: IngestQuery, request: Request) -> Result<Self> {
        let uid = request.extensions().get::<Client>().and_then(|client| client.uid);
        let (parts, body) = request.into_parts();
        let sender = Sender::of(caller, uid);
        let media = ingest::media(&parts.headers);
        sender.check_open(app.situation.settings().open_ingest, &parts.headers, &media)?;
        let service = query.service.filter(|name| !name.is_empty());
        if let Some(name) = &service {
            ServiceName::new(name).map_err(|e| Problem::bad_request(e.to_string()))?;
        }
        let dry_run = query.dry_run.is_some_and(|word| matches!(word.as_str(), "1" | "true" | "yes"));
        Ok(Self { sender, service, dry_run, headers: parts.headers, body })
    }

    async fn take(self, app: &App, door: Door, index: Option<&str>) -> Result<Answer> {
        let content_type = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let format = Format::of(door, content_type).ok_or_else(|| {
            let words = "this address does not take this Content-Type; HiveMatrix's loggers send application/json, docs/ingest.md has the others";
            Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)
        })?;
        let once = ingest::once(&self.headers)?;
        let asking = Asking {
            sender: &self.sender,
            service: self.service.as_deref(),
            index,
            headers: &self.headers,
            once: &once,
        };
        if self.dry_run {
            return ingest::dry_run(app, format, asking, self.body).await.map(Answer::Told);
        }
        ingest::take(app, format, asking, self.body).await.map(Answer::Taken)
    }
}

fn in_own_words(answer: Answer) -> Response {
    told(match answer {
        Answer::Told(text) => text,
        Answer::Taken(taken) => answer::hivematrix(&taken.outcome),
    })
}

/// A text that is JSON already.
fn told(text: String) -> Response {
    ([(CONTENT_TYPE, JSON)], text).into_response()
}

/// A refusal as Loki's clients show it.
fn plain(problem: Problem) -> Response {
    let body = Body::from(format!("{}\n", problem.detail()));
    problem.with_body(HeaderValue::from_static("text/plain; charset=utf-8"), body)
}
