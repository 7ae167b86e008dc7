//! The log: pages, single entries and what stands around them.

mod asked;
pub mod counts;
pub(crate) mod entry;
pub mod export;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use helm_client::{ClientError, Reason};
use helm_proto::v1::{LogContextRequest, QueryLogsRequest, QueryLogsResponse};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::{Params, Segment};
use crate::app::App;
use crate::auth::Person;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use asked::{Paging, Wanted, What};
use entry::Log;

/// A page of the log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPage {
    /// How many entries are found; null where it was not asked for.
    total: Option<u64>,
    /// false: there may be more, counting them all takes too long.
    total_exact: bool,
    limit: u32,
    offset: u32,
    logs: Vec<Log>,
    /// For the next page; null: there is nothing further.
    cursor: Option<String>,
    /// What could not be read, or waits.
    notes: Vec<String>,
}

/// Entries of the log, newest first.
#[utoipa::path(get, path = "/api/logs", tag = "logs", params(What, Paging,
    ("context.KEY" = Option<String>, Query, description = "With this value at KEY of the context; KEY stands for a path like http.status, and there may be several")),
    responses((status = 200, body = LogPage), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody), (status = 404, body = PlainBody, description = "There is no entry `after_id`"), (status = 503, body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Person(caller): Person,
    Wanted(filter): Wanted,
    Params(paging): Params<Paging>,
) -> Result<Json<LogPage>> {
    let page = paging.page()?;
    let request = QueryLogsRequest {
        filter: Some(filter),
        oldest_first: page.oldest_first,
        cursor: page.cursor,
        limit: page.limit,
        offset: page.offset,
        total: page.total,
        after_id: page.after_id,
    };
    let found = match app.backend.logs(&caller.principal).await?.query(request).await {
        // As the Python Helm: of a service that is not there, there is nothing.
        Err(ClientError::Refused { reason: Reason::UnknownService(_), message }) => QueryLogsResponse {
            total: Some(0),
            total_exact: true,
            notes: vec![message],
            ..Default::default()
        },
        found => found.map_err(|e| plain(e.into()))?,
    };
    Ok(Json(LogPage {
        total: found.total.filter(|_| page.total),
        total_exact: found.total_exact,
        limit: page.limit,
        offset: page.offset,
        logs: entry::logs(found.entries),
        cursor: Some(found.cursor).filter(|cursor| !cursor.is_empty()),
        notes: found.notes,
    }))
}

/// What the caller got wrong is told in the plain form here.
fn plain(problem: Problem) -> Problem {
    match problem.status() {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => problem.plain(),
        _ => problem,
    }
}

/// One entry.
#[utoipa::path(get, path = "/api/logs/{id}", tag = "logs", params(("id" = i64, Path, description = "Its number")),
    responses((status = 200, body = Log), (status = 401, body = ProblemBody), (status = 403, body = PlainBody),
    (status = 404, body = PlainBody), (status = 503, body = ProblemBody)))]
pub async fn one(
    State(app): State<App>,
    Person(caller): Person,
    Segment(id): Segment<i64>,
) -> Result<Json<Log>> {
    let found = app.backend.logs(&caller.principal).await?.get(id).await;
    found.map(|entry| Json(entry.into())).map_err(|e| match Problem::from(e) {
        problem if problem.status() == StatusCode::NOT_FOUND => {
            Problem::not_found("Log entry not found").plain()
        }
        problem => problem,
    })
}

/// How much of what stands around an entry.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Around {
    /// Entries before it: at most 1000, default 20
    before: Option<u32>,
    /// Entries after it: at most 1000, default 20
    after: Option<u32>,
}

/// An entry and its neighbours.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogContext {
    /// Oldest first, the entry among them.
    logs: Vec<Log>,
}

/// What the same service said before and after an entry.
#[utoipa::path(get, path = "/api/v1/logs/{id}/context", tag = "logs", params(("id" = i64, Path, description = "Its number"), Around),
    responses((status = 200, body = LogContext), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = PlainBody),
    (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn context(
    State(app): State<App>,
    Person(caller): Person,
    Segment(id): Segment<i64>,
    Params(around): Params<Around>,
) -> Result<Json<LogContext>> {
    let (before, after) = (around.before.unwrap_or(20), around.after.unwrap_or(20));
    let request = LogContextRequest { id, before, after };
    let found = app.backend.logs(&caller.principal).await?.context(request).await?;
    Ok(Json(LogContext { logs: entry::logs(found.entries) }))
}
