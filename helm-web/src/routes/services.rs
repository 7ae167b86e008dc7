//! The services: which there are, and how each is (contract 5.2, 5.3).

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use helm_proto::v1::{Principal, ServiceInfo, ServiceStatus};
use serde::Serialize;
use utoipa::ToSchema;

use super::input::Segment;
use super::when::{instant, naive};
use crate::app::App;
use crate::auth::{Caller, Person};
use crate::problem::{PlainBody, Problem, ProblemBody, Result};

/// Which services there are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Services {
    /// Their names, in the order of services.json.
    services: Vec<String>,
    /// What services.json says of each that others may know.
    details: BTreeMap<String, Details>,
}

/// Of one service (contract 3.3).
#[derive(Debug, Serialize, ToSchema)]
pub struct Details {
    /// Where it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Its directory.
    path: String,
    /// Its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u32>,
    /// It stands in Nexus's side panel.
    visible: bool,
    /// Only for admins there.
    admin_only: bool,
    /// Only for billing and admins there.
    billing_or_admin_only: bool,
}

impl From<ServiceInfo> for Details {
    fn from(info: ServiceInfo) -> Self {
        Self {
            url: info.url,
            path: info.path,
            port: info.port,
            visible: info.visible,
            admin_only: info.admin_only,
            billing_or_admin_only: info.billing_or_admin_only,
        }
    }
}

/// How a service is (contract 5.3), and what Helm knows beyond that.
#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    service_name: String,
    /// `running`, `stopped`, `error` or `unknown`
    status: String,
    /// The exact state: stopped, blocked, starting, running, stopping, backoff, failed, external, not_installed
    state: String,
    /// Why it is in this state.
    reason: String,
    /// `healthy`, `degraded`, `unhealthy`, `unreachable`, `starting` or `unknown`
    health: String,
    health_message: String,
    configured_port: Option<u32>,
    configured_url: Option<String>,
    pid: Option<u32>,
    /// Of the whole tree, in per cent of one core.
    cpu_percent: Option<f64>,
    /// Of the whole tree.
    memory_mb: Option<f64>,
    /// Naive UTC, ISO 8601.
    started_at: Option<String>,
    /// RFC 1123.
    create_time: Option<String>,
    /// Since when it is in this state; naive UTC, ISO 8601.
    since: Option<String>,
    /// Restarts that nobody asked for.
    restarts: u32,
    last_exit: Option<String>,
    /// It should run.
    wanted: bool,
    mode: String,
}

impl From<ServiceStatus> for Status {
    fn from(status: ServiceStatus) -> Self {
        let started = status.started_at.as_ref().and_then(instant);
        let running = status.status == "running";
        Self {
            service_name: status.name,
            status: status.status,
            state: status.state,
            reason: status.reason,
            health: status.health,
            health_message: status.health_message,
            configured_port: status.port,
            configured_url: status.url,
            pid: status.pid,
            cpu_percent: status.cpu_percent,
            memory_mb: status.memory_bytes.map(megabytes),
            started_at: started.map(naive),
            create_time: started.filter(|_| running).map(rfc_1123),
            since: status.since.as_ref().and_then(instant).map(naive),
            restarts: status.restarts,
            last_exit: status.last_exit,
            wanted: status.wanted,
            mode: status.mode,
        }
    }
}

/// Without more digits than anybody reads.
fn megabytes(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = bytes as f64;
    (bytes / 1_048_576.0 * 100.0).round() / 100.0
}

fn rfc_1123(at: jiff::Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Which services there are.
#[utoipa::path(get, path = "/api/services", tag = "services", responses(
    (status = 200, body = Services), (status = 401, body = ProblemBody), (status = 403, body = PlainBody), (status = 503, body = ProblemBody)))]
pub async fn list(State(app): State<App>, Person(caller): Person) -> Result<Json<Services>> {
    let list = app.backend.client(&caller.principal).await?.list().await?;
    let services = list.iter().map(|info| info.name.clone()).collect();
    let details = list.into_iter().map(|info| (info.name.clone(), info.into())).collect();
    Ok(Json(Services { services, details }))
}

/// How all services are.
#[utoipa::path(get, path = "/api/services/status", tag = "services", responses(
    (status = 200, body = BTreeMap<String, Status>), (status = 401, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn statuses(State(app): State<App>, caller: Caller) -> Result<impl IntoResponse> {
    // What a request is called, and where it comes from, changes nothing about the answer.
    let key = Principal { request_id: String::new(), from: String::new(), ..caller.principal.clone() };
    let asked = async {
        let statuses = of_all(&app, &caller).await?;
        // Names and numbers: nothing that JSON cannot hold.
        Ok(serde_json::to_vec(&statuses).unwrap_or_default().into())
    };
    let json: Bytes = app.statuses.ask(key, asked).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json))
}

/// By name.
pub(super) async fn of_all(app: &App, caller: &Caller) -> Result<BTreeMap<String, Status>> {
    let status = app.backend.client(&caller.principal).await?.status(Vec::new()).await?;
    Ok(status.services.into_iter().map(|service| (service.name.clone(), service.into())).collect())
}

/// How one service is.
#[utoipa::path(get, path = "/api/services/{name}/status", tag = "services",
    params(("name" = String, Path, description = "The service")), responses(
    (status = 200, body = Status), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 503, body = ProblemBody)))]
pub async fn status(
    State(app): State<App>,
    caller: Caller,
    Segment(name): Segment<String>,
) -> Result<Json<Status>> {
    let known = |problem: Problem| {
        if problem.status() == axum::http::StatusCode::NOT_FOUND { problem.plain() } else { problem }
    };
    let status = app.backend.client(&caller.principal).await?.status(vec![name]).await;
    let status = status.map_err(|e| known(e.into()))?;
    let one = status.services.into_iter().next();
    one.map(|service| Json(service.into())).ok_or_else(|| Problem::not_found("Service not found").plain())
}
