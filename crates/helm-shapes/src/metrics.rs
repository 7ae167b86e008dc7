//! Numbers over time.

use std::collections::BTreeMap;
use std::time::Duration;

use helm_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::moment;

/// `metrics --json`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricList)]
pub struct Metrics {
    source: String,
    series: Vec<Series>,
}

/// One series, with the newest sample.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricSeries)]
pub struct Series {
    service: String,
    metric: String,
    tags: BTreeMap<String, String>,
    unit: String,
    last: Option<f64>,
    at: Option<String>,
}

impl From<v1::MetricSeries> for Series {
    fn from(s: v1::MetricSeries) -> Self {
        Self {
            service: s.service,
            metric: s.metric,
            tags: s.tags.into_iter().collect(),
            unit: s.unit,
            last: s.last,
            at: s.at.map(moment),
        }
    }
}

impl From<v1::ListMetricsResponse> for Metrics {
    fn from(m: v1::ListMetricsResponse) -> Self {
        Self { source: m.source, series: m.series.into_iter().map(Series::from).collect() }
    }
}

/// `metrics NAME --json`: one of these for each series.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricCurve)]
pub struct Curve {
    #[serde(flatten)]
    series: Series,
    step_seconds: f64,
    missing: Option<String>,
    points: Vec<Point>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricPoint)]
struct Point {
    at: String,
    avg: f64,
    min: f64,
    max: f64,
    last: f64,
}

impl Curve {
    /// A series, and what was found of it.
    #[must_use]
    pub fn new(series: v1::MetricSeries, found: v1::QueryMetricsResponse) -> Self {
        let point =
            |p: v1::MetricPoint| Point { at: moment(p.at), avg: p.avg, min: p.min, max: p.max, last: p.last };
        Self {
            series: series.into(),
            step_seconds: Duration::from_nanos(u64::try_from(found.step).unwrap_or(0)).as_secs_f64(),
            missing: Some(found.missing).filter(|why| !why.is_empty()),
            points: found.points.into_iter().map(point).collect(),
        }
    }
}
