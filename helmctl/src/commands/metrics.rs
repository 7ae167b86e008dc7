//! `metrics`

use std::io;

use helm_client::Client;
use helm_proto::v1::QueryMetricsRequest;
use jiff::{SignedDuration, Timestamp};

use crate::failure::Failure;
use crate::render::metrics::{Curve, charts, lines, table};
use crate::render::{Printer, json, width};

/// Points of an answer for programs.
const POINTS: u32 = 500;

/// What was typed.
pub(super) struct Asked {
    pub(super) name: Option<String>,
    pub(super) metric: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

pub(super) async fn run(client: &mut Client, asked: Asked, printer: &mut Printer) -> Result<(), Failure> {
    let columns = width(io::stdout());
    let Some(name) = asked.name else {
        let answer = client.list_metrics("").await?;
        if printer.wants_json() {
            return printer.value(&json::Metrics::from(answer), true);
        }
        return printer.block(&table(&answer.series, &answer.source, columns));
    };
    let now = Timestamp::now();
    let until = asked.until.unwrap_or(now);
    let since =
        asked.since.unwrap_or_else(|| until.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(until));
    let range = (nanos(since), nanos(until));
    if range.0 >= range.1 {
        return Err(Failure::Failed("--since must be before --until".into()));
    }
    let listed = client.list_metrics(&name).await?.series;
    // Without a range: the last hour, as far as there are numbers.
    let open = asked.since.is_none();
    let wanted = |metric: &str| asked.metric.as_deref().is_none_or(|m| m == metric);
    let known: Vec<String> = listed.iter().map(|s| s.metric.clone()).collect();
    let mut curves = Vec::new();
    for series in listed.into_iter().filter(|s| wanted(&s.metric)) {
        let request = QueryMetricsRequest {
            service: name.clone(),
            metric: series.metric.clone(),
            tags: series.tags.clone(),
            from: range.0,
            // The newest sample is of this moment.
            to: range.1.saturating_add(1),
            points: if printer.wants_json() { POINTS } else { u32::try_from(columns).unwrap_or(POINTS) },
        };
        curves.push(Curve { found: client.query_metrics(request).await?, series });
    }
    if curves.is_empty() {
        return Err(Failure::Failed(none(&name, asked.metric.as_deref(), &known)));
    }
    if printer.wants_json() {
        let all: Vec<json::Curve> = curves.into_iter().map(json::Curve::from).collect();
        return printer.value(&all, true);
    }
    let first = curves.iter().filter_map(|c| c.found.points.first()).map(|p| p.at).min();
    let range = (first.filter(|_| open).map_or(range.0, |at| at.max(range.0)), range.1);
    let text = match asked.metric {
        Some(_) => charts(&curves, range, columns),
        None => lines(&curves, range, columns),
    };
    printer.block(&text)
}

fn none(name: &str, metric: Option<&str>, known: &[String]) -> String {
    match metric {
        Some(metric) if !known.is_empty() => {
            let mut known = known.to_vec();
            known.dedup();
            format!("{name} has no metric `{metric}`; it has {}", known.join(", "))
        }
        _ => format!(
            "there are no numbers of {name} yet; a running service has some after a few seconds. `helmctl metrics` lists all"
        ),
    }
}

fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}
