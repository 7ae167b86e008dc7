//! Start, stop, restart (contract 5.2): each is a job that helmd keeps. Done within 25 s, or answered with where it goes on: Nexus waits
//! no longer than 30.

mod loss;
mod way;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use helm_proto::v1::{Job, ServiceInfo, StartJobRequest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::input::{Payload, Segment};
use super::jobs::{self, JobLink};
use crate::app::App;
use crate::auth::Caller;
use crate::auth::credential::rights;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::request::Arrival;
use crate::situation::ourselves;

/// How long an answer is waited for.
const WITHIN: Duration = Duration::from_secs(25);
/// The service that is helm-web itself.
const OURSELVES: &str = "helm";
/// Without it no session of Nexus lives.
const CORE: &str = "core";

/// How to start.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StartBody {
    /// development or production; default: as it was started last
    mode: Option<String>,
}

/// How to stop.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct StopBody {
    /// Stop it although others stand on it: nexus, core, keycloak, databases, and what these need.
    #[serde(default)]
    confirm: bool,
}

/// How to restart.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RestartBody {
    /// development or production; default: as it was started last
    mode: Option<String>,
    /// Restart it although this request came through it.
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
    fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Start => "Service started successfully",
            Self::Stop => "Service stopped successfully",
            Self::Restart => "Stop: Service stopped successfully. Start: Service started successfully",
        }
    }
}

/// What was asked, by whom, and how it came.
struct Asking<'a> {
    app: &'a App,
    caller: &'a Caller,
    arrival: &'a Arrival,
    headers: &'a HeaderMap,
    verb: Verb,
    name: &'a str,
    mode: String,
    confirmed: bool,
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
    headers: HeaderMap,
    Segment(name): Segment<String>,
    Payload(body): Payload<StartBody>,
) -> Result<Response> {
    let mode = mode(body.mode)?;
    let asking = Asking {
        app: &app,
        caller: &caller,
        arrival: &arrival,
        headers: &headers,
        verb: Verb::Start,
        name: &name,
        mode,
        confirmed: true,
    };
    operate(asking).await
}

/// Stops a service. What depends on it is left running, without it.
#[utoipa::path(post, path = "/api/services/{name}/stop", tag = "services", params(("name" = String, Path, description = "The service")),
    request_body(content = StopBody, description = "May be empty"), responses(
    (status = 200, body = Operated), (status = 202, body = Operated, description = "It goes on as a job"),
    (status = 400, body = Operated), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 409, body = ProblemBody, description = "Others stand on it: `confirm`, and the detail says what is lost; helm itself is never stopped"),
    (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn stop(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    headers: HeaderMap,
    Segment(name): Segment<String>,
    Payload(body): Payload<StopBody>,
) -> Result<Response> {
    let mode = String::new();
    let asking = Asking {
        app: &app,
        caller: &caller,
        arrival: &arrival,
        headers: &headers,
        verb: Verb::Stop,
        name: &name,
        mode,
        confirmed: body.confirm,
    };
    operate(asking).await
}

/// Stops a service and starts it again.
#[utoipa::path(post, path = "/api/services/{name}/restart", tag = "services", params(("name" = String, Path, description = "The service")),
    request_body(content = RestartBody, description = "May be empty"), responses(
    (status = 200, body = Operated), (status = 202, body = Operated, description = "It goes on as a job"),
    (status = 400, body = Operated, description = "It does not start; a mode that there is none, as {\"error\"}"), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody),
    (status = 404, body = PlainBody), (status = 409, body = ProblemBody, description = "This request came through it: `confirm`"), (status = 413, body = ProblemBody), (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn restart(
    State(app): State<App>,
    caller: Caller,
    arrival: Arrival,
    headers: HeaderMap,
    Segment(name): Segment<String>,
    Payload(body): Payload<RestartBody>,
) -> Result<Response> {
    let mode = mode(body.mode)?;
    let asking = Asking {
        app: &app,
        caller: &caller,
        arrival: &arrival,
        headers: &headers,
        verb: Verb::Restart,
        name: &name,
        mode,
        confirmed: body.confirm,
    };
    operate(asking).await
}

fn mode(mode: Option<String>) -> Result<String> {
    match mode.as_deref().unwrap_or_default() {
        "" | "development" | "production" => Ok(mode.unwrap_or_default()),
        _ => Err(Problem::bad_request("Invalid mode: use development or production").plain()),
    }
}

async fn operate(asking: Asking<'_>) -> Result<Response> {
    let Asking { app, caller, arrival, verb, name, .. } = asking;
    let services = app.backend.client(&caller.principal).await?.list().await?;
    let service = services.iter().find(|service| service.name == name);
    let service = service.ok_or_else(|| Problem::not_found("Service not found").plain())?;
    // Who may not is told so by helmd, which writes it down.
    let may = rights(app, &caller.principal).await?.may("operate", name);
    let at_once = may && verb != Verb::Start && look_before(&asking).await?;
    let mut jobs = app.backend.jobs(&caller.principal).await?;
    let request = StartJobRequest {
        kind: verb.word().to_owned(),
        names: vec![name.to_owned()],
        mode: asking.mode,
        ..StartJobRequest::default()
    };
    let mut job = jobs.start(request).await.map_err(|e| plain_unknown(e.into()))?;
    if !at_once {
        job = jobs::ended(&jobs, job, WITHIN).await;
    }
    if job.ended_at.is_none() {
        return Ok(goes_on(verb, name, &job, arrival));
    }
    let pid = if verb == Verb::Stop { None } else { pid(app, caller, name).await };
    Ok(told(verb, service, job, pid))
}

fn plain_unknown(problem: Problem) -> Problem {
    if problem.status() == StatusCode::NOT_FOUND { problem.plain() } else { problem }
}

/// Whether it takes the way of the answer away, which is then given before it is done; refused is what takes more than was confirmed.
async fn look_before(asking: &Asking<'_>) -> Result<bool> {
    // The whole fleet, whatever of it the caller sees: what is lost is lost.
    let mut client = asking.app.backend.client(&ourselves()).await?;
    let (services, status) = (client.list().await?, client.status(Vec::new()).await?);
    let runs = status.services.into_iter().filter(|one| one.status == "running");
    let running = runs.map(|one| one.name).collect();
    let through = way::through(asking.headers, &asking.arrival.prefix, &services);
    let through = through.map(|service| service.name.as_str());
    let (name, confirmed) = (asking.name, asking.confirmed);
    if asking.verb == Verb::Stop {
        may_stop(name, &services, &running, confirmed)?;
    } else {
        may_restart(name, through, asking.caller.is_of_core(), confirmed)?;
    }
    Ok(name == OURSELVES || through == Some(name))
}

fn conflict(words: String) -> Result<()> {
    Err(Problem::new(StatusCode::CONFLICT, words))
}

/// Whether a service may be stopped over HTTP.
fn may_stop(name: &str, services: &[ServiceInfo], running: &BTreeSet<String>, confirmed: bool) -> Result<()> {
    if name == OURSELVES {
        return conflict(
            "helm is what answers here: it may be restarted, not stopped. On the host: helmctl stop helm"
                .to_owned(),
        );
    }
    let lost = loss::of_closure(name, services, running);
    if confirmed || lost.is_empty() {
        return Ok(());
    }
    conflict(format!("{}. `{{\"confirm\": true}}` stops it all the same", lost.join(". ")))
}

/// Whether a service may be restarted by somebody whose request came by this way.
fn may_restart(name: &str, through: Option<&str>, with_cores_token: bool, confirmed: bool) -> Result<()> {
    let words = match through {
        _ if confirmed => return Ok(()),
        Some(way) if way == name => {
            format!("this request came through {name}: until it is back nothing more comes this way")
        }
        Some(way) if name == CORE && with_cores_token => format!(
            "{way} asks core for your session: while core is away you are signed out, unless you signed in within the last five minutes"
        ),
        Some(_) | None => return Ok(()),
    };
    conflict(format!("{words}. `{{\"confirm\": true}}` restarts it all the same"))
}

/// Of the process that runs now; what is not told in time is left out.
async fn pid(app: &App, caller: &Caller, name: &str) -> Option<u32> {
    let mut client = app.backend.client(&caller.principal).await.ok()?;
    let status = client.status(vec![name.to_owned()]).await.ok()?;
    status.services.into_iter().next()?.pid
}

fn goes_on(verb: Verb, name: &str, job: &Job, arrival: &Arrival) -> Response {
    let message = match verb {
        Verb::Start => format!("{name} is being started"),
        Verb::Stop => format!("{name} is being stopped"),
        Verb::Restart => format!("{name} is being restarted"),
    };
    let job = Some(JobLink::of(&job.id, &arrival.prefix));
    (StatusCode::ACCEPTED, Json(Operated { success: true, message, job, ..Operated::default() }))
        .into_response()
}

fn told(verb: Verb, service: &ServiceInfo, job: Job, pid: Option<u32>) -> Response {
    let success = job.state == "done";
    let step = job.services.into_iter().find(|step| step.name == service.name);
    let message = match step.as_ref().map_or("", |step| step.message.as_str()) {
        _ if !success => job.message,
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
        let services =
            ["codex", "core", "helm"].map(|name| ServiceInfo { name: name.into(), ..ServiceInfo::default() });
        let running = services.iter().map(|service| service.name.clone()).collect();
        assert!(may_stop("codex", &services, &running, false).is_ok());
        let refused = may_stop("core", &services, &running, false).unwrap_err();
        assert!(refused.status() == StatusCode::CONFLICT && refused.detail().contains("sign in"));
        assert!(may_stop("core", &services, &running, true).is_ok());
        assert!(may_stop("helm", &services, &running, true).is_err());
    }

    #[test]
    fn who_would_cut_themselves_off_is_asked_first() {
        for (name, through, of_core, refused) in [
            ("nexus", None, true, false),
            ("nexus", Some("nexus"), false, true),
            ("core", Some("nexus"), true, true),
            ("core", Some("nexus"), false, false),
            ("core", None, true, false),
            ("codex", Some("nexus"), true, false),
        ] {
            assert_eq!(may_restart(name, through, of_core, false).is_err(), refused, "{name} {through:?}");
            assert!(may_restart(name, through, of_core, true).is_ok());
        }
    }
}
