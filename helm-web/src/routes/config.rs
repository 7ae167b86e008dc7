//! `/api/v1`: the configuration. What is applied are the files on disk: no route takes a text of it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use helm_proto::v1::{Job, PlanRequest, StartJobRequest};
use helm_shapes::config::{Plan, Version};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::{Params, Payload};
use super::jobs::JobLink;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Problem, ProblemBody, Result};
use crate::request::Arrival;

/// How far a reload reaches.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Reach {
    /// true: leave what runs as it is
    no_restart: Option<bool>,
    /// true: do not start what is new
    no_start: Option<bool>,
}

/// What a reload would do with the files as they are on disk.
#[utoipa::path(get, path = "/api/v1/config/plan", tag = "configuration", params(Reach), responses(
    (status = 200, body = Plan), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn plan(
    State(app): State<App>,
    caller: Caller,
    Params(reach): Params<Reach>,
) -> Result<Json<Plan>> {
    let request = PlanRequest {
        no_restart: reach.no_restart.unwrap_or(false),
        no_start: reach.no_start.unwrap_or(false),
    };
    Ok(Json(app.backend.client(&caller.principal).await?.plan(request).await?.into()))
}

/// The configurations that were applied.
#[derive(Debug, Serialize, ToSchema)]
pub struct History {
    /// Newest first.
    versions: Vec<Version>,
}

/// The configurations that were applied, newest first.
#[utoipa::path(get, path = "/api/v1/config/history", tag = "configuration", responses(
    (status = 200, body = History), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn history(State(app): State<App>, caller: Caller) -> Result<Json<History>> {
    let versions = app.backend.client(&caller.principal).await?.config_history().await?;
    Ok(Json(History { versions: versions.into_iter().map(Version::from).collect() }))
}

/// Between which.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Between {
    /// The number of the older one
    from: u64,
    /// The number of the newer one; default: what is in force
    to: Option<u64>,
}

/// What is different between two configurations.
#[utoipa::path(get, path = "/api/v1/config/diff", tag = "configuration", params(Between), responses(
    (status = 200, body = Plan), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn diff(
    State(app): State<App>,
    caller: Caller,
    Params(between): Params<Between>,
) -> Result<Json<Plan>> {
    let mut client = app.backend.client(&caller.principal).await?;
    Ok(Json(client.config_diff(between.from, between.to.unwrap_or(0)).await?.into()))
}

/// How to reload.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct ReloadBody {
    /// Leave what runs as it is.
    no_restart: bool,
    /// Do not start what is new.
    no_start: bool,
    /// Go back where a changed service does not become healthy in time.
    gate: bool,
    /// For `gate`; default: 60
    timeout_seconds: Option<u32>,
}

/// Which configuration to go back to.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RollbackBody {
    /// As the history has it.
    number: u64,
    /// Go forth again where a changed service does not become healthy in time.
    #[serde(default)]
    gate: bool,
    /// For `gate`; default: 60
    timeout_seconds: Option<u32>,
}

/// What a reload does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Applied {
    success: bool,
    message: String,
    /// Absent where the same is under way already.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    /// Of the new configuration; absent where there was nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    /// Where it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobLink>,
}

/// Applies the files as they are on disk. Faulty files change nothing.
#[utoipa::path(post, path = "/api/v1/config/reload", tag = "configuration", request_body(content = ReloadBody, description = "May be empty"), responses(
    (status = 200, body = Applied, description = "There was nothing to do"), (status = 202, body = Applied, description = "It goes on as a job"),
    (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 409, body = Applied, description = "The files have faults; as problem+json where another reload is under way"),
    (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn reload(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    Payload(body): Payload<ReloadBody>,
) -> Result<Response> {
    let request = StartJobRequest {
        kind: "reload".to_owned(),
        no_restart: body.no_restart,
        no_start: body.no_start,
        gate: body.gate,
        timeout_ms: milliseconds(body.timeout_seconds)?,
        ..StartJobRequest::default()
    };
    let job = app.backend.jobs(&caller.principal).await?.start(request).await?;
    Ok(applied(job, &arrival))
}

/// Writes the files of a former configuration back, and applies them.
#[utoipa::path(post, path = "/api/v1/config/rollback", tag = "configuration", request_body = RollbackBody, responses(
    (status = 200, body = Applied, description = "There was nothing to do"), (status = 202, body = Applied, description = "It goes on as a job"),
    (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody),
    (status = 409, body = Applied, description = "The files have faults; as problem+json where another reload is under way"),
    (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn rollback(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    Payload(body): Payload<RollbackBody>,
) -> Result<Response> {
    let request = StartJobRequest {
        kind: "rollback".to_owned(),
        number: body.number,
        gate: body.gate,
        timeout_ms: milliseconds(body.timeout_seconds)?,
        ..StartJobRequest::default()
    };
    let job = app.backend.jobs(&caller.principal).await?.start(request).await?;
    Ok(applied(job, &arrival))
}

/// Of a time that a gate has: an hour at most.
fn milliseconds(seconds: Option<u32>) -> Result<u64> {
    match seconds {
        None => Ok(0),
        Some(seconds @ 1..=3600) => Ok(u64::from(seconds) * 1000),
        Some(_) => Err(Problem::bad_request("timeout_seconds is 1 to 3600")),
    }
}

fn applied(job: Job, arrival: &Arrival) -> Response {
    let link = JobLink::of(&job.id, &arrival.prefix);
    let Some(reload) = job.reload else {
        let message = "the same is under way already".to_owned();
        let going = Applied { success: true, message, plan: None, number: None, job: Some(link) };
        return (StatusCode::ACCEPTED, Json(going)).into_response();
    };
    let plan = reload.plan.unwrap_or_default();
    let (status, success, message) = match (plan.ok, reload.id.is_empty()) {
        (false, _) => (StatusCode::CONFLICT, false, "the files have faults: nothing was changed".to_owned()),
        (true, true) => (StatusCode::OK, true, "there was nothing to do".to_owned()),
        (true, false) => {
            (StatusCode::ACCEPTED, true, format!("configuration {} is being applied", reload.number))
        }
    };
    let goes_on = status == StatusCode::ACCEPTED;
    let (number, job) = (goes_on.then_some(reload.number), goes_on.then_some(link));
    (status, Json(Applied { success, message, plan: Some(plan.into()), number, job })).into_response()
}
