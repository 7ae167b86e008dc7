//! How many entries there are: by time, by service, by level.

use axum::Json;
use axum::extract::State;
use helm_proto::v1::{LogFacetsRequest, LogHistogramRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asked::{Wanted, What};
use crate::app::App;
use crate::auth::Person;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::routes::input::Params;
use crate::routes::when;

/// Nanoseconds of a minute, the shortest step, and of an hour.
const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;
/// Steps where nobody says how long one is, at most.
const STEPS: i64 = 60;

/// How long a step is.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Step {
    /// Seconds of a step, a multiple of 60; default: so that there are at most 60 of them
    step: Option<u32>,
}

/// Entries per step of time.
#[derive(Debug, Serialize, ToSchema)]
pub struct Histogram {
    /// Begin of the range; naive UTC.
    start_time: String,
    /// Its end; naive UTC.
    end_time: String,
    /// Seconds.
    step: i64,
    /// false: there may be more than these.
    exact: bool,
    /// Those that hold entries.
    buckets: Vec<Bucket>,
}

/// Entries of one step, by level.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bucket {
    /// Begin of the step; naive UTC.
    start_time: String,
    #[serde(flatten)]
    counts: Counts,
}

/// Entries by level.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub struct Counts {
    debug: u64,
    info: u64,
    warning: u64,
    error: u64,
    critical: u64,
}

/// How many entries there are per step of time, by level. Without a range: of the last hour.
#[utoipa::path(get, path = "/api/v1/logs/histogram", tag = "logs", params(What, Step),
    responses((status = 200, body = Histogram), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody, description = "There is no such service"), (status = 503, body = ProblemBody)))]
pub async fn histogram(
    State(app): State<App>,
    Person(caller): Person,
    Wanted(mut filter): Wanted,
    Params(step): Params<Step>,
) -> Result<Json<Histogram>> {
    let to = filter.until.take().unwrap_or_else(when::now);
    let from = filter.since.take().unwrap_or_else(|| to.saturating_sub(HOUR));
    let step = step_of(step.step, from, to)?;
    let request = LogHistogramRequest { filter: Some(filter), from, to, step };
    let found = app.backend.logs(&caller.principal).await?.histogram(request).await?;
    let bucket = |b: helm_proto::v1::LogBucket| Bucket {
        start_time: when::naive_nanos(b.from),
        counts: Counts {
            debug: b.debug,
            info: b.info,
            warning: b.warning,
            error: b.error,
            critical: b.critical,
        },
    };
    Ok(Json(Histogram {
        start_time: when::naive_nanos(from),
        end_time: when::naive_nanos(to),
        step: step / 1_000_000_000,
        exact: found.exact,
        buckets: found.buckets.into_iter().map(bucket).collect(),
    }))
}

/// Nanoseconds of a step.
fn step_of(seconds: Option<u32>, from: i64, to: i64) -> Result<i64> {
    if to <= from {
        return Err(Problem::bad_request("start_time lies ahead").plain());
    }
    match seconds {
        None => Ok((to.saturating_sub(from) / STEPS / MINUTE + 1) * MINUTE),
        Some(seconds) if seconds > 0 && seconds % 60 == 0 => Ok(i64::from(seconds) * 1_000_000_000),
        Some(_) => Err(Problem::bad_request("step is a multiple of 60 seconds").plain()),
    }
}

/// Entries by service and level.
#[derive(Debug, Serialize, ToSchema)]
pub struct Facets {
    /// false: there may be more than these.
    exact: bool,
    services: Vec<Facet>,
}

/// Entries of one service, by level.
#[derive(Debug, Serialize, ToSchema)]
pub struct Facet {
    service_name: String,
    #[serde(flatten)]
    counts: Counts,
}

/// How many entries there are by service and level. Without a range: of all times.
#[utoipa::path(get, path = "/api/v1/logs/facets", tag = "logs", params(What),
    responses((status = 200, body = Facets), (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody, description = "There is no such service"), (status = 503, body = ProblemBody)))]
pub async fn facets(
    State(app): State<App>,
    Person(caller): Person,
    Wanted(filter): Wanted,
) -> Result<Json<Facets>> {
    let request = LogFacetsRequest { filter: Some(filter) };
    let found = app.backend.logs(&caller.principal).await?.facets(request).await?;
    let facet = |f: helm_proto::v1::LogFacet| Facet {
        service_name: f.service,
        counts: Counts {
            debug: f.debug,
            info: f.info,
            warning: f.warning,
            error: f.error,
            critical: f.critical,
        },
    };
    Ok(Json(Facets { exact: found.exact, services: found.services.into_iter().map(facet).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_minutes_and_not_too_many() {
        assert_eq!(step_of(None, 0, HOUR - 1).unwrap(), MINUTE);
        for range in [1, MINUTE, HOUR, 24 * HOUR + 1, 1000 * HOUR] {
            let step = step_of(None, 0, range).unwrap();
            assert!(step % MINUTE == 0 && range / step <= STEPS, "{range}: {step}");
        }
        assert_eq!(step_of(Some(300), 0, HOUR).unwrap(), 5 * MINUTE);
        for (seconds, from) in [(0, 0), (90, 0), (60, HOUR)] {
            assert!(step_of(Some(seconds), from, HOUR).is_err(), "{seconds} {from}");
        }
    }
}
