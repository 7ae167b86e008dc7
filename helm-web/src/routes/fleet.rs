//! `/api/v1`: services as helmd knows them, what they print, what happens to them, and helmd itself.

use axum::Json;
use axum::extract::State;
use helm_proto::v1::{EventsRequest, OutputRequest};
use helm_shapes::fleet::{Daemon, Event, Line, Service, Status, Statuses};
use serde::{Deserialize, Serialize};
use tokio_stream::StreamExt;
use utoipa::{IntoParams, ToSchema};

use super::input::{self, Params, Segment};
use super::when;
use crate::app::App;
use crate::auth::{Caller, Person};
use crate::problem::{PlainBody, Problem, ProblemBody, Result};

/// Most lines of output, and as many as where nobody says.
const LINES: (u32, u32) = (100, 10_000);
/// Most events likewise.
const EVENTS: (u32, u32) = (100, 1000);

/// Of helmd: its version, its home, and what an operator should know.
#[utoipa::path(get, path = "/api/v1/info", tag = "helm", responses(
    (status = 200, body = Daemon), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 503, body = ProblemBody)))]
pub async fn info(State(app): State<App>, Person(caller): Person) -> Result<Json<Daemon>> {
    Ok(Json(app.backend.client(&caller.principal).await?.info().await?.into()))
}

/// How all services are, with everything that is known of them.
#[utoipa::path(get, path = "/api/v1/services", tag = "services", responses(
    (status = 200, body = Statuses), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 503, body = ProblemBody)))]
pub async fn services(State(app): State<App>, Person(caller): Person) -> Result<Json<Statuses>> {
    let status = app.backend.client(&caller.principal).await?.status(Vec::new()).await?;
    Ok(Json(Statuses::new(status.services, status.hold, Vec::new())))
}

/// One service: how it is, and how it is defined.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OneService)]
pub struct One {
    status: Status,
    definition: Option<Service>,
}

/// One service: how it is, and how it is defined.
#[utoipa::path(get, path = "/api/v1/services/{name}", tag = "services", params(("name" = String, Path, description = "The service")), responses(
    (status = 200, body = One), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn service(
    State(app): State<App>,
    Person(caller): Person,
    Segment(name): Segment<String>,
) -> Result<Json<One>> {
    let mut client = app.backend.client(&caller.principal).await?;
    let status = client.status(vec![name.clone()]).await?.services.into_iter().next();
    let status = status.ok_or_else(|| Problem::not_found("there is no such service"))?;
    let definition = client.list().await?.into_iter().find(|service| service.name == name);
    Ok(Json(One { status: status.into(), definition: definition.map(Service::from) }))
}

/// Which lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Last {
    /// Lines from the end: 1 to 10,000, default 100
    lines: Option<u32>,
    /// stdout or stderr; default: both
    stream: Option<String>,
}

/// What a service printed last.
#[derive(Debug, Serialize, ToSchema)]
pub struct Output {
    service: String,
    /// Oldest first.
    lines: Vec<Line>,
}

/// What a service printed last, oldest first.
#[utoipa::path(get, path = "/api/v1/services/{name}/output", tag = "services", params(("name" = String, Path, description = "The service"), Last), responses(
    (status = 200, body = Output), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn output(
    State(app): State<App>,
    caller: Caller,
    Segment(name): Segment<String>,
    Params(last): Params<Last>,
) -> Result<Json<Output>> {
    let count = last.lines.unwrap_or(LINES.0);
    if count == 0 || count > LINES.1 {
        return Err(Problem::bad_request(format!("lines is 1 to {}", LINES.1)));
    }
    let stream = last.stream.unwrap_or_default();
    if !["", "stdout", "stderr"].contains(&stream.as_str()) {
        return Err(Problem::bad_request("stream is stdout or stderr"));
    }
    let request = OutputRequest { name: name.clone(), lines: Some(count), stream, ..Default::default() };
    let mut chunks = app.backend.client(&caller.principal).await?.output(request).await?;
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.next().await {
        lines.extend(chunk?.lines.into_iter().map(Line::from));
    }
    Ok(Json(Output { service: name, lines }))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Of these services, separated by commas
    service: Option<String>,
    /// The newest so many: 1 to 1000, default 100
    limit: Option<u32>,
    /// Only above this number: for those who ask again and again
    after: Option<u64>,
    /// Only below this number: the page before
    before: Option<u64>,
    /// From this time on, ISO 8601
    start_time: Option<String>,
    /// Up to this time
    end_time: Option<String>,
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// Oldest first.
    events: Vec<Event>,
    /// Why older ones may be missing.
    incomplete: Option<String>,
}

/// What happened to services, oldest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "services", params(Which), responses(
    (status = 200, body = Events), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn events(
    State(app): State<App>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<Events>> {
    let limit = which.limit.unwrap_or(EVENTS.0);
    if limit == 0 || limit > EVENTS.1 {
        return Err(Problem::bad_request(format!("limit is 1 to {}", EVENTS.1)).plain());
    }
    let (since, until) = when::range(which.start_time.as_deref(), which.end_time.as_deref())?;
    if which.after.is_some() && (which.before.is_some() || since.is_some() || until.is_some()) {
        return Err(Problem::bad_request("after goes with neither before nor times").plain());
    }
    let request = EventsRequest {
        names: input::names(which.service.as_deref()),
        last: Some(limit),
        after: which.after,
        before: which.before,
        since: since.map(when::timestamp),
        until: until.map(when::timestamp),
        ..Default::default()
    };
    let stream = app.backend.client(&caller.principal).await?.events(request).await?;
    // Of those above a number the oldest come first, and there is no bound but this one.
    let mut stream = stream.take(usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1));
    let mut told = Events { events: Vec::new(), incomplete: None };
    while let Some(event) = stream.next().await {
        let event = event?;
        if !event.incomplete.is_empty() {
            told.incomplete = Some(event.incomplete);
        } else if told.events.len() < limit as usize {
            told.events.push(event.into());
        }
    }
    Ok(Json(told))
}

/// Who needs whom.
#[derive(Debug, Serialize, ToSchema)]
pub struct Graph {
    /// All services, in the order of services.json.
    services: Vec<String>,
    needs: Vec<Need>,
}

/// One service needs another.
#[derive(Debug, Serialize, ToSchema)]
pub struct Need {
    service: String,
    needs: String,
    /// started, ready, healthy or completed
    condition: String,
}

/// Which services there are, and who needs whom.
#[utoipa::path(get, path = "/api/v1/graph", tag = "services", responses(
    (status = 200, body = Graph), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 503, body = ProblemBody)))]
pub async fn graph(State(app): State<App>, Person(caller): Person) -> Result<Json<Graph>> {
    let services = app.backend.client(&caller.principal).await?.list().await?;
    let mut graph = Graph { services: Vec::new(), needs: Vec::new() };
    for service in services {
        graph.needs.extend(service.depends_on.into_iter().map(|on| Need {
            service: service.name.clone(),
            needs: on.service,
            condition: on.condition,
        }));
        graph.services.push(service.name);
    }
    Ok(Json(graph))
}
