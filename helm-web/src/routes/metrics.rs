//! Numbers over time: as HiveMatrix asks for them (contract 5.2), all of them, and those that services send.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use helm_proto::v1::{AppendMetricsRequest, MetricSeries, NewMetric, QueryMetricsRequest};
use helm_shapes::metrics::{Curve, Metrics};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::{self, Params, Segment};
use super::when;
use crate::app::App;
use crate::auth::{Caller, Person};
use crate::problem::{PlainBody, Problem, ProblemBody, Result};

/// Nanoseconds of a day, and of an hour.
const DAY: i64 = 24 * HOUR;
const HOUR: i64 = 3_600_000_000_000;
/// The seed's name for a number that Helm keeps in bytes.
const MEMORY_MB: &str = "memory_mb";
const MEMORY_BYTES: &str = "memory_bytes";
/// Longest body: 10,000 numbers with tags.
const LONGEST: usize = 4 << 20;
/// Before the names of tags in a query.
const TAG: &str = "tag.";

/// Which numbers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Of {
    /// Only this one: cpu_percent, memory_mb ...; default: all
    metric_name: Option<String>,
    /// From this time on, ISO 8601; default: a day ago
    start_time: Option<String>,
    /// Up to this time; default: now
    end_time: Option<String>,
    /// Most numbers: 1 to 1000, default 100
    limit: Option<u64>,
}

/// Numbers of a service, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Numbers {
    service_name: String,
    /// Naive UTC, ISO 8601.
    start_time: String,
    /// Naive UTC, ISO 8601.
    end_time: String,
    metrics: Vec<Number>,
}

/// One number (contract 5.3).
#[derive(Debug, Serialize, ToSchema)]
pub struct Number {
    /// Tells numbers of one answer apart.
    id: i64,
    service_name: String,
    /// Naive UTC, ISO 8601.
    timestamp: String,
    metric_name: String,
    metric_value: f64,
    tags: BTreeMap<String, String>,
}

/// Numbers of a service over time, newest first.
#[utoipa::path(get, path = "/api/metrics/{name}", tag = "metrics", params(("name" = String, Path, description = "The service; host and helmd are measured, too"), Of),
    responses((status = 200, body = Numbers), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn of_service(
    State(app): State<App>,
    caller: Caller,
    Segment(name): Segment<String>,
    Params(of): Params<Of>,
) -> Result<Json<Numbers>> {
    let (from, to) = last(of.start_time.as_deref(), of.end_time.as_deref(), DAY)?;
    let limit = match of.limit {
        Some(0) => return Err(Problem::bad_request("limit is 1 to 1000").plain()),
        limit => usize::try_from(limit.unwrap_or(100).min(1000)).unwrap_or(1000),
    };
    let wanted = of.metric_name.filter(|metric| !metric.is_empty());
    let mut client = app.backend.client(&caller.principal).await?;
    let mut found: Vec<(i64, usize, &MetricSeries, f64)> = Vec::new();
    let series = client.list_metrics(&name).await?.series;
    for (nth, series) in series.iter().enumerate() {
        if wanted.as_deref().is_some_and(|wanted| wanted != shown(&series.metric)) {
            continue;
        }
        let points = u32::try_from(limit).unwrap_or(u32::MAX);
        let curve = client.query_metrics(query(series, from, to, points)).await?;
        found.extend(curve.points.into_iter().map(|point| (point.at, nth, series, point.avg)));
    }
    found.sort_by_key(|(at, nth, ..)| (std::cmp::Reverse(*at), *nth));
    found.truncate(limit);
    let number = |(at, nth, series, value): (i64, usize, &MetricSeries, f64)| Number {
        id: (at / 1_000_000).saturating_mul(1000).saturating_add(i64::try_from(nth % 1000).unwrap_or(0)),
        service_name: name.clone(),
        timestamp: when::naive_nanos(at),
        metric_name: shown(&series.metric).to_owned(),
        metric_value: if series.metric == MEMORY_BYTES { value / 1_048_576.0 } else { value },
        tags: series.tags.clone().into_iter().collect(),
    };
    let metrics = found.into_iter().map(number).collect();
    Ok(Json(Numbers {
        metrics,
        start_time: when::naive_nanos(from),
        end_time: when::naive_nanos(to),
        service_name: name,
    }))
}

/// What it is called here.
fn shown(metric: &str) -> &str {
    if metric == MEMORY_BYTES { MEMORY_MB } else { metric }
}

/// A range; without one the time up to now.
fn last(start: Option<&str>, end: Option<&str>, length: i64) -> Result<(i64, i64)> {
    let (since, until) = when::range(start, end)?;
    let to = until.unwrap_or_else(|| when::now().saturating_add(1));
    let from = since.unwrap_or_else(|| to.saturating_sub(length));
    if from >= to {
        return Err(Problem::bad_request("start_time lies ahead").plain());
    }
    Ok((from, to))
}

fn query(series: &MetricSeries, from: i64, to: i64, points: u32) -> QueryMetricsRequest {
    let MetricSeries { service, metric, tags, .. } = series.clone();
    QueryMetricsRequest { service, metric, tags, from, to, points }
}

/// Whose series.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// Of this service; default: of all
    service: Option<String>,
}

/// Which series there are, each with its newest number.
#[utoipa::path(get, path = "/api/v1/metrics", tag = "metrics", params(Whose), responses((status = 200, body = Metrics), (status = 400, body = ProblemBody),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn list(
    State(app): State<App>,
    Person(caller): Person,
    Params(whose): Params<Whose>,
) -> Result<Json<Metrics>> {
    let service = whose.service.unwrap_or_default();
    Ok(Json(app.backend.client(&caller.principal).await?.list_metrics(&service).await?.into()))
}

/// Which points.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Range {
    /// From this time on, ISO 8601; default: an hour ago
    start_time: Option<String>,
    /// Up to this time; default: now
    end_time: Option<String>,
    /// Most points: 1 to 5000, default 500
    points: Option<u32>,
}

/// Tags of the query.
#[derive(Debug)]
pub struct Tags(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Tags {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        input::keyed(parts, TAG).map(|tags| Self(tags.into_iter().collect()))
    }
}

/// Points of one series, oldest first.
#[utoipa::path(get, path = "/api/v1/metrics/{service}/{metric}", tag = "metrics",
    params(("service" = String, Path, description = "A service, host or helmd"), ("metric" = String, Path, description = "As the list names it"), Range,
    ("tag.NAME" = Option<String>, Query, description = "The value of the tag NAME; a series is meant by all its tags")),
    responses((status = 200, body = Curve), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn points(
    State(app): State<App>,
    Person(caller): Person,
    Segment((service, metric)): Segment<(String, String)>,
    Params(range): Params<Range>,
    Tags(tags): Tags,
) -> Result<Json<Curve>> {
    let (from, to) = last(range.start_time.as_deref(), range.end_time.as_deref(), HOUR)?;
    let points = range.points.unwrap_or(500);
    if points == 0 || points > 5000 {
        return Err(Problem::bad_request("points is 1 to 5000").plain());
    }
    let mut client = app.backend.client(&caller.principal).await?;
    let known = client.list_metrics(&service).await?.series;
    let series = known.into_iter().find(|series| series.metric == metric && series.tags == tags);
    let series = series.ok_or_else(|| {
        Problem::not_found("there is no such series; /api/v1/metrics lists those that there are")
    })?;
    let found = client.query_metrics(query(&series, from, to, points)).await?;
    Ok(Json(Curve::new(series, found)))
}

/// Numbers of a service's own.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Sent {
    /// Default: the calling service.
    service_name: Option<String>,
    metrics: Vec<SentNumber>,
}

/// One of them.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SentNumber {
    metric_name: String,
    metric_value: f64,
    /// ISO 8601, UTC where it has no zone; default: now
    timestamp: Option<String>,
    #[serde(default)]
    tags: HashMap<String, String>,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Kept {
    success: bool,
    ingested: u32,
    rejected: Vec<Refused>,
}

/// One that was not kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedNumber)]
pub struct Refused {
    index: u32,
    reason: String,
}

/// Keeps numbers of a service, at most 10,000 at once.
#[utoipa::path(post, path = "/api/v1/metrics", tag = "metrics", request_body = Sent, responses((status = 200, body = Kept),
    (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 413, body = ProblemBody),
    (status = 415, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn send(State(app): State<App>, caller: Caller, request: Request) -> Result<Json<Kept>> {
    let sent: Sent = input::json(request, LONGEST).await?;
    let service = match sent.service_name.filter(|name| !name.is_empty()) {
        Some(service) => service,
        None if caller.is_service() => caller.principal.subject.clone(),
        None => return Err(Problem::bad_request("service_name is required")),
    };
    let (metrics, places, mut rejected) = taken(sent.metrics);
    let request = AppendMetricsRequest { service, metrics };
    let answer = app.backend.client(&caller.principal).await?.append_metrics(request).await?;
    rejected.extend(answer.rejected.into_iter().map(|refused| {
        let nth = usize::try_from(refused.index).unwrap_or(usize::MAX);
        Refused { index: places.get(nth).copied().unwrap_or(refused.index), reason: refused.reason }
    }));
    rejected.sort_by_key(|refused| refused.index);
    Ok(Json(Kept { success: true, ingested: answer.kept, rejected }))
}

/// Those whose times can be read, their places in the batch, and the others.
fn taken(sent: Vec<SentNumber>) -> (Vec<NewMetric>, Vec<u32>, Vec<Refused>) {
    let (mut metrics, mut places, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for (index, number) in (0..).zip(sent) {
        match when::given(number.timestamp.as_deref(), "timestamp") {
            Ok(at) => {
                let SentNumber { metric_name, metric_value, tags, .. } = number;
                metrics.push(NewMetric { metric: metric_name, value: metric_value, at, tags });
                places.push(index);
            }
            Err(problem) => refused.push(Refused { index, reason: problem.detail().to_owned() }),
        }
    }
    (metrics, places, refused)
}
