//! Start, stop, restart (contract 5.2): done within 25 s, or answered with a job. Nexus waits no longer than 30.

mod loss;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use helm_client::Client;
use helm_client::stream::Stream;
use helm_proto::v1::{
    Outcome, Progress, RestartRequest, ServiceInfo, ServiceStatus, StartRequest, StopRequest, Wait,
};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;
use utoipa::ToSchema;

use super::input::{Payload, Segment};
use super::jobs::{self, JobLink};
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::request::Arrival;

/// How long an answer is waited for.
const WITHIN_MS: u64 = 25_000;
/// The service that is helm-web itself.
const OURSELVES: &str = "helm";

/// How to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StartBody {
    /// development or production; default: as it was started last
    mode: Option<String>,
}

/// How to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StopBody {
    /// Stop it although others stand on it: nexus, core, keycloak, databases.
    #[serde(default)]
    confirm: bool,
}

/// What became of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Operated {
    success: bool,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u32>,
    /// Where it goes on: a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobLink>,
    /// Of a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// Both parts of a restart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestartDetails)]
pub struct Details {
    stop: Part,
    start: Part,
}

/// One part of a restart.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestartPart)]
pub struct Part {
    success: bool,
    message: String,
}

/// What is asked of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Stop,
    Restart,
}

impl Verb {
    fn done(self) -> &'static str {
        match self {
            Self::Start => "Service started successfully",
            Self::Stop => "Service stopped successfully",
            Self::Restart => "Stop: Service stopped successfully. Start: Service started successfully",
        }
    }
}

/// What came of it within the time.
struct Came {
    /// None: it goes on.
    outcome: Option<Outcome>,
    operation: String,
    /// What was said of the service last, and its state then.
    message: String,
    status: Option<ServiceStatus>,
}

/// Starts a service, with what it depends on.
#[utoipa::path(post, path = "/api/services/{name}/start", tag = "services", params(("name" = String, Path, description = "The service")),
    request_body(content = StartBody, description = "May be empty"), responses(
    (status = 200, body = Operated), (status = 202, body = Operated, description = "It goes on as a job"),
    (status = 400, body = Operated, description = "It does not start; a mode that there is none, as {\"error\"}"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn start(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    Segment(name): Segment<String>,
    Payload(body): Payload<StartBody>,
) -> Result<Response> {
    let mode = mode(body.mode)?;
    operate(&app, &caller, &arrival, Verb::Start, &name, mode, true).await
}

/// Stops a service, and what depends on it.
#[utoipa::path(post, path = "/api/services/{name}/stop", tag = "services", params(("name" = String, Path, description = "The service")),
    request_body(content = StopBody, description = "May be empty"), responses(
    (status = 200, body = Operated), (status = 202, body = Operated, description = "It goes on as a job"),
    (status = 400, body = Operated), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 409, body = ProblemBody, description = "Others stand on it: `confirm`; helm itself is never stopped"),
    (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn stop(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    Segment(name): Segment<String>,
    Payload(body): Payload<StopBody>,
) -> Result<Response> {
    operate(&app, &caller, &arrival, Verb::Stop, &name, String::new(), body.confirm).await
}

/// Stops a service and starts it again.
#[utoipa::path(post, path = "/api/services/{name}/restart", tag = "services", params(("name" = String, Path, description = "The service")),
    request_body(content = StartBody, description = "May be empty"), responses(
    (status = 200, body = Operated), (status = 202, body = Operated, description = "It goes on as a job"),
    (status = 400, body = Operated, description = "It does not start; a mode that there is none, as {\"error\"}"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 409, body = ProblemBody), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn restart(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    Segment(name): Segment<String>,
    Payload(body): Payload<StartBody>,
) -> Result<Response> {
    let mode = mode(body.mode)?;
    operate(&app, &caller, &arrival, Verb::Restart, &name, mode, true).await
}

fn mode(mode: Option<String>) -> Result<String> {
    match mode.as_deref().unwrap_or_default() {
        "" | "development" | "production" => Ok(mode.unwrap_or_default()),
        _ => Err(Problem::bad_request("Invalid mode: use development or production").plain()),
    }
}

async fn operate(
    app: &App,
    caller: &Caller,
    arrival: &Arrival,
    verb: Verb,
    name: &str,
    mode: String,
    confirmed: bool,
) -> Result<Response> {
    let mut client = app.backend.client(&caller.principal).await?;
    let services = client.list().await?;
    let service = services.iter().find(|service| service.name == name);
    let service = service.ok_or_else(|| Problem::not_found("Service not found").plain())?;
    if verb == Verb::Stop {
        may_stop(service, confirmed)?;
    }
    // Who takes the way of the answer away answers first.
    let at_once = name == OURSELVES || name == "nexus" && !arrival.prefix.is_empty();
    let came = carry_out(&client, verb, name, mode, at_once).await.map_err(plain_unknown)?;
    Ok(told(verb, service, came, arrival))
}

fn plain_unknown(problem: Problem) -> Problem {
    if problem.status() == StatusCode::NOT_FOUND { problem.plain() } else { problem }
}

/// Whether a service may be stopped over HTTP.
fn may_stop(service: &ServiceInfo, confirmed: bool) -> Result<()> {
    let conflict = |words: String| Err(Problem::new(StatusCode::CONFLICT, words));
    if service.name == OURSELVES {
        return conflict(
            "helm is what answers here: it may be restarted, not stopped. On the host: helmctl stop helm"
                .to_owned(),
        );
    }
    match loss::of(&service.name, service.port) {
        Some(lost) if !confirmed => {
            conflict(format!("{lost}. `{{\"confirm\": true}}` stops it all the same"))
        }
        _ => Ok(()),
    }
}

async fn carry_out(client: &Client, verb: Verb, name: &str, mode: String, at_once: bool) -> Result<Came> {
    let names = vec![name.to_owned()];
    let wait = Some(Wait { no_wait: at_once, timeout_ms: WITHIN_MS });
    let stream = match verb {
        Verb::Start => client.start(StartRequest { names, mode, wait }).await,
        Verb::Stop => client.stop(StopRequest { names, wait }).await,
        Verb::Restart => client.restart(RestartRequest { names, mode, wait }).await,
    };
    came(stream?, name).await
}

async fn came(mut stream: Stream<Progress>, name: &str) -> Result<Came> {
    let mut came = Came { outcome: None, operation: String::new(), message: String::new(), status: None };
    while let Some(progress) = stream.next().await {
        let progress = match progress {
            Ok(progress) => progress,
            // helmd leaves on the way: the next one goes on with it.
            Err(e) if e.is_away() && !came.operation.is_empty() => return Ok(came),
            Err(e) => return Err(e.into()),
        };
        if !progress.operation.is_empty() {
            came.operation = progress.operation;
        }
        if let Some(service) = progress.services.into_iter().find(|service| service.name == name) {
            came.message = service.message;
            came.status = service.status;
        }
        if let Some(outcome) = progress.outcome {
            let over = matches!(outcome.result.as_str(), "done" | "failed");
            came.outcome = over.then_some(outcome);
        }
    }
    Ok(came)
}

fn told(verb: Verb, service: &ServiceInfo, came: Came, arrival: &Arrival) -> Response {
    let Some(outcome) = came.outcome else {
        let job = Some(JobLink::of(jobs::operation(&came.operation), &arrival.prefix));
        let message = match verb {
            Verb::Start => format!("{} is being started", service.name),
            Verb::Stop => format!("{} is being stopped", service.name),
            Verb::Restart => format!("{} is being restarted", service.name),
        };
        let going = Operated { success: true, message, job, ..Operated::default() };
        return (StatusCode::ACCEPTED, Json(going)).into_response();
    };
    let success = outcome.result == "done";
    let message = match came.message.as_str() {
        _ if !success => outcome.message,
        "already running" => "Service already running".to_owned(),
        "already stopped" | "not running" => "Service already stopped".to_owned(),
        _ => verb.done().to_owned(),
    };
    let details = (verb == Verb::Restart).then(|| Details {
        stop: Part { success: true, message: Verb::Stop.done().to_owned() },
        start: Part {
            success,
            message: if success { Verb::Start.done().to_owned() } else { message.clone() },
        },
    });
    let pid = came.status.and_then(|status| status.pid).filter(|_| verb != Verb::Stop);
    let port = service.port.filter(|_| verb != Verb::Stop && success);
    let status = if success { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    (status, Json(Operated { success, message, pid, port, details, job: None })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_modes_that_there_are_are_taken() {
        for (given, taken) in [
            (None, Some("")),
            (Some(""), Some("")),
            (Some("production"), Some("production")),
            (Some("prod"), None),
        ] {
            assert_eq!(mode(given.map(str::to_owned)).ok().as_deref(), taken, "{given:?}");
        }
    }

    #[test]
    fn what_others_stand_on_is_stopped_on_their_word_only() {
        let service = |name: &str| ServiceInfo { name: name.into(), ..Default::default() };
        assert!(may_stop(&service("codex"), false).is_ok());
        let refused = may_stop(&service("core"), false).unwrap_err();
        assert!(refused.status() == StatusCode::CONFLICT && refused.detail().contains("sign in"));
        assert!(may_stop(&service("core"), true).is_ok());
        assert!(may_stop(&service("helm"), true).is_err());
    }
}
