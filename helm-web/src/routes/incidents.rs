//! `/api/v1`: ends that nobody asked for, and why a service is as it is.

use axum::Json;
use axum::extract::State;
use helm_proto::v1::ListIncidentsRequest;
use helm_shapes::incident::{Incident, Why};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::{self, Params, Segment};
use super::when;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};

/// Which of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Of these services, separated by commas
    service: Option<String>,
    /// Most of them: 1 to 200, default 20
    limit: Option<u32>,
    /// Only below this number: the next page
    before: Option<u64>,
    /// From this time on, ISO 8601
    start_time: Option<String>,
}

/// Incidents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incidents {
    /// Newest first.
    incidents: Vec<Incident>,
    /// Why older ones may be missing.
    incomplete: Option<String>,
}

/// Ends that nobody asked for, newest first.
#[utoipa::path(get, path = "/api/v1/incidents", tag = "services", params(Which), responses(
    (status = 200, body = Incidents), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<Incidents>> {
    let limit = which.limit.unwrap_or(20);
    if limit == 0 || limit > 200 {
        return Err(Problem::bad_request("limit is 1 to 200").plain());
    }
    let request = ListIncidentsRequest {
        names: input::names(which.service.as_deref()),
        limit,
        before: which.before,
        since: when::given(which.start_time.as_deref(), "start_time")?.map(when::timestamp),
    };
    let found = app.backend.client(&caller.principal).await?.incidents(request).await?;
    let incidents = found.incidents.into_iter().map(Incident::from).collect();
    let incomplete = Some(found.incomplete).filter(|why| !why.is_empty());
    Ok(Json(Incidents { incidents, incomplete }))
}

/// One of them, with all its evidence.
#[utoipa::path(get, path = "/api/v1/incidents/{number}", tag = "services", params(("number" = u64, Path, description = "Its number")), responses(
    (status = 200, body = Incident), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn one(
    State(app): State<App>,
    caller: Caller,
    Segment(number): Segment<u64>,
) -> Result<Json<Incident>> {
    Ok(Json(app.backend.client(&caller.principal).await?.incident(number).await?.into()))
}

/// Why a service is as it is: one sentence, what tells it, and what to do next.
#[utoipa::path(get, path = "/api/v1/why/{name}", tag = "services", params(("name" = String, Path, description = "The service")), responses(
    (status = 200, body = Why), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn why(
    State(app): State<App>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<Why>> {
    Ok(Json(app.backend.client(&caller.principal).await?.why(&name).await?.into()))
}
