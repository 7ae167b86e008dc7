//! `metrics`

use helm_client::Client;
use helm_core::spec::nearest;
use helm_proto::v1::{MetricSeries, QueryMetricsRequest};
use helm_shapes::metrics as json;
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;
use crate::render::metrics::{Curve, charts, lines, table};
use crate::render::{Printer, Sheet};

/// Points of an answer: what falls into a column is averaged here.
const POINTS: u32 = 500;

/// What was typed.
pub(super) struct Asked {
    pub(super) name: Option<String>,
    pub(super) metric: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

pub(super) async fn run(client: &mut Client, asked: Asked, printer: &mut Printer) -> Result<(), Failure> {
    let sheet = Sheet::stdout();
    let Some(name) = asked.name else {
        let answer = client.list_metrics("").await?;
        if printer.wants_json() {
            return printer.value(&json::Metrics::from(answer), true);
        }
        return printer.block(&table(&answer.series, &answer.source, sheet));
    };
    let now = Timestamp::now();
    let until = asked.until.unwrap_or(now);
    let since =
        asked.since.unwrap_or_else(|| until.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(until));
    let range = (nanos(since), nanos(until));
    let listed = client.list_metrics(&name).await?.series;
    if listed.is_empty() {
        return Err(nothing_of(&name, client).await?);
    }
    if let Some(metric) = &asked.metric
        && listed.iter().all(|series| series.metric != *metric)
    {
        return Err(no_metric(&name, metric, &listed));
    }
    // Without a range: the last hour, as far as there are numbers.
    let open = asked.since.is_none();
    let wanted = |metric: &str| asked.metric.as_deref().is_none_or(|m| m == metric);
    let mut curves = Vec::new();
    for series in listed.into_iter().filter(|s| wanted(&s.metric)) {
        let request = QueryMetricsRequest {
            service: name.clone(),
            metric: series.metric.clone(),
            tags: series.tags.clone(),
            from: range.0,
            // The newest sample is of this moment.
            to: range.1.saturating_add(1),
            points: POINTS,
        };
        curves.push(Curve { found: client.query_metrics(request).await?, series });
    }
    if printer.wants_json() {
        let all: Vec<json::Curve> =
            curves.into_iter().map(|curve| json::Curve::new(curve.series, curve.found)).collect();
        return printer.value(&all, true);
    }
    let first = curves.iter().filter_map(|c| c.found.points.first()).map(|p| p.at).min();
    let range = (first.filter(|_| open).map_or(range.0, |at| at.max(range.0)), range.1);
    let text = match asked.metric {
        Some(_) => charts(&curves, range, sheet.width),
        None => lines(&curves, range, sheet),
    };
    printer.block(&text)
}

/// Why there is nothing of this name.
async fn nothing_of(name: &str, client: &mut Client) -> Result<Failure, Failure> {
    let mut known: Vec<String> = client.list().await?.into_iter().map(|service| service.name).collect();
    if known.iter().any(|service| service == name) {
        return Ok(Failure::Failed(format!(
            "there are no numbers of {name} yet; a running service has some after a few seconds"
        )));
    }
    known.extend(client.list_metrics("").await?.series.into_iter().map(|series| series.service));
    let meant = meant(name, known.iter().map(String::as_str));
    Ok(Failure::Unknown(format!(
        "there is no service `{name}`{meant}; `helmctl metrics` lists all that have numbers"
    )))
}

fn no_metric(name: &str, metric: &str, listed: &[MetricSeries]) -> Failure {
    let mut known: Vec<&str> = listed.iter().map(|series| series.metric.as_str()).collect();
    known.dedup();
    let meant = meant(metric, known.iter().copied());
    Failure::Unknown(format!("{name} has no metric `{metric}`{meant}; it has {}", known.join(", ")))
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |nearest| format!(": did you mean `{nearest}`?"))
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}
