//! `logs stats`

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogFacetsRequest, LogHistogramRequest};

use super::filter;
use crate::cli::What;
use crate::failure::Failure;
use crate::render::{Printer, Sheet, log_stats, time};

/// Nanoseconds.
const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// Most bars: they fit a terminal.
const BARS: i64 = 30;
/// How long a bar may be, in minutes; beyond it is a number of weeks.
const STEPS: [i64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440];

pub(super) async fn run(home: &Home, what: What, printer: &mut Printer) -> Result<(), Failure> {
    let mut logs = Logs::of(&Client::of(home).await?).await?;
    let mut filter = filter(what)?;
    let given = filter.since.is_some() || filter.until.is_some();
    let span = span(filter.since, filter.until, time::now(), i64::from(time::local_offset()) * 1_000_000_000);
    filter.since = filter.since.or(Some(span.from));
    let facets = logs.facets(LogFacetsRequest { filter: Some(filter.clone()) }).await?;
    let log_stats::Span { from, to, step } = span;
    let histogram = logs.histogram(LogHistogramRequest { filter: Some(filter), from, to, step }).await?;
    let exact = facets.exact && histogram.exact;
    let stats =
        log_stats::Stats { services: &facets.services, buckets: &histogram.buckets, span, given, exact };
    if printer.wants_json() {
        return printer.value(&log_stats::Json::from(&stats), true);
    }
    printer.block(&log_stats::stats(&stats, Sheet::stdout()))
}

/// What is counted, in whole steps of local time: what was asked for, else the last 24 hours (up to `until`).
fn span(since: Option<i64>, until: Option<i64>, now: i64, zone: i64) -> log_stats::Span {
    let end = until.unwrap_or(now);
    let begin = since.unwrap_or(end.saturating_sub(DAY));
    let length = end.saturating_sub(begin).max(1);
    let weeks = |n: i64| n * 7 * DAY;
    let step = STEPS.into_iter().map(|minutes| minutes * MINUTE).find(|step| length / step < BARS);
    let step = step.unwrap_or_else(|| weeks((length / BARS) / weeks(1) + 1));
    let down = |at: i64| (at.saturating_add(zone)).div_euclid(step).saturating_mul(step).saturating_sub(zone);
    let from = down(begin);
    // Without a begin whole steps only: the day before is not begun with a part of an hour.
    let from = if since.is_none() { from.saturating_add(step) } else { from };
    log_stats::Span { from, to: down(end.saturating_sub(1)).saturating_add(step), step }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 60 * MINUTE;

    #[test]
    fn steps_are_whole_and_few() {
        let now = 1_000 * DAY + 20 * HOUR + 47 * MINUTE;
        let day = span(None, None, now, 0);
        assert_eq!((day.step, (day.to - day.from) / day.step), (HOUR, 24));
        assert_eq!(day.to, 1_000 * DAY + 21 * HOUR);
        for length in [1, MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, 3 * DAY, 20 * DAY, 90 * DAY, 4_000 * DAY] {
            for zone in [0, 5 * HOUR + 30 * MINUTE, -3 * HOUR] {
                let span = span(Some(now - length), None, now, zone);
                assert!((span.to - span.from) / span.step <= BARS + 1, "{length} {span:?}");
                assert!(
                    span.from <= now - length && span.to >= now && span.step % MINUTE == 0,
                    "{length} {span:?}"
                );
                assert_eq!((span.from + zone) % span.step, 0, "{length} {zone} {span:?}");
            }
        }
    }
}
