//! `logs stats`: a table by service and level, and a bar for each step of time.

use helm_shapes::time::utc_nanos;
use std::fmt::Write;

use helm_proto::v1::{LogBucket, LogFacet};
use serde::Serialize;

use super::{BAD, GOOD, HEAD, Sheet, WARN, styled, time};

/// Steps of a bar.
const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;
/// Lines that the bars are high.
const HIGH: usize = 4;

/// What is counted, nanoseconds since 1970, and how long a bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Begin of the first bar.
    pub(crate) from: i64,
    /// End of the last one.
    pub(crate) to: i64,
    /// Length of each.
    pub(crate) step: i64,
}

/// What was counted.
pub(crate) struct Stats<'a> {
    pub(crate) services: &'a [LogFacet],
    pub(crate) buckets: &'a [LogBucket],
    pub(crate) span: Span,
    /// The range was asked for.
    pub(crate) given: bool,
    pub(crate) exact: bool,
}

/// `logs stats --json`
#[derive(Debug, Serialize)]
pub(crate) struct Json<'a> {
    from: String,
    to: String,
    step_seconds: i64,
    services: Vec<Counts<'a>>,
    buckets: Vec<Counts<'a>>,
    exact: bool,
}

#[derive(Debug, Serialize)]
struct Counts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    debug: u64,
    info: u64,
    warning: u64,
    error: u64,
    critical: u64,
}

impl<'a> From<&Stats<'a>> for Json<'a> {
    fn from(stats: &Stats<'a>) -> Self {
        let service = |f: &'a LogFacet| {
            let LogFacet { service, debug, info, warning, error, critical } = f;
            let (debug, info, warning, error, critical) = (*debug, *info, *warning, *error, *critical);
            Counts { service: Some(service), from: None, debug, info, warning, error, critical }
        };
        let bucket = |b: &LogBucket| {
            let LogBucket { from, debug, info, warning, error, critical } = *b;
            Counts { service: None, from: Some(utc_nanos(from)), debug, info, warning, error, critical }
        };
        Self {
            from: utc_nanos(stats.span.from),
            to: utc_nanos(stats.span.to),
            step_seconds: stats.span.step / 1_000_000_000,
            services: stats.services.iter().map(service).collect(),
            buckets: stats.buckets.iter().map(bucket).collect(),
            exact: stats.exact,
        }
    }
}

/// What was counted and when, a table, and a bar for each step.
pub(crate) fn stats(stats: &Stats<'_>, sheet: impl Into<Sheet>) -> String {
    let total: u64 = stats.services.iter().map(|f| f.debug + f.info + f.warning + f.error + f.critical).sum();
    let Span { from, to, step } = stats.span;
    let when = match stats.given {
        true => format!("from {} to {}", time::local_to_second(from), time::local_to_second(to)),
        false => format!("of the last 24 hours, from {}", time::local_to_second(from)),
    };
    let mut text =
        styled(HEAD, &format!("{total} entries {when}")) + "\n\n" + &table(stats.services, sheet.into());
    if !stats.exact {
        text.push_str(
            "Not all is counted: time ran out, or the store is away and output waits (helmctl db status).\n",
        );
    }
    text.push('\n');
    text.push_str(&bars(stats.buckets, from, to, step));
    text
}

/// `hour`, `5 minutes`
fn length(step: i64) -> String {
    let minutes = step / 60_000_000_000;
    let units = [(10_080, "week"), (1_440, "day"), (60, "hour"), (1, "minute")];
    let (size, unit) = units.into_iter().find(|(size, _)| minutes % size == 0).unwrap_or((1, "minute"));
    if minutes == size { unit.to_owned() } else { format!("{} {unit}s", minutes / size) }
}

fn table(services: &[LogFacet], sheet: Sheet) -> String {
    let width = sheet.column(services.iter().map(|f| f.service.len()).max().unwrap_or(0).max(7), 24);
    let head = format!(
        "{:width$}  {:>10}  {:>10}  {:>9}  {:>9}  {:>9}",
        "SERVICE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"
    );
    let mut text = styled(HEAD, &head) + "\n";
    for f in services {
        let grave = |style, count: u64| {
            let number = format!("{count:>9}");
            if count > 0 { styled(style, &number) } else { number }
        };
        let _ = writeln!(
            text,
            "{:width$}  {:>10}  {:>10}  {}  {}  {}",
            sheet.fit(&f.service, width),
            f.debug,
            f.info,
            grave(WARN, f.warning),
            grave(BAD, f.error),
            grave(BAD, f.critical)
        );
    }
    if services.is_empty() {
        text.push_str("No entries.\n");
    }
    text
}

/// Two columns a step; red where something failed, yellow where something is to be looked at.
fn bars(buckets: &[LogBucket], from: i64, to: i64, step: i64) -> String {
    let count = usize::try_from((to - from) / step.max(1)).unwrap_or(0);
    let mut all = vec![LogBucket::default(); count];
    for bucket in buckets {
        let slot = usize::try_from((bucket.from - from).div_euclid(step)).ok().and_then(|n| all.get_mut(n));
        if let Some(slot) = slot {
            slot.clone_from(bucket);
        }
    }
    let sum = |b: &LogBucket| b.debug + b.info + b.warning + b.error + b.critical;
    let most = all.iter().map(sum).max().unwrap_or(0);
    let mut text = format!("Entries per {} (the highest is {most})\n", length(step));
    let full = HIGH * 8;
    let height = |count: u64| {
        let scaled = u128::from(count) * (full as u128) / u128::from(most.max(1));
        // Whatever is there is seen.
        usize::try_from(scaled).unwrap_or(full).max(usize::from(count > 0))
    };
    for line in (0..HIGH).rev() {
        for bucket in &all {
            let step = STEPS[height(sum(bucket)).saturating_sub(line * 8).min(8)];
            let style = match bucket {
                b if b.error + b.critical > 0 => BAD,
                b if b.warning > 0 => WARN,
                _ => GOOD,
            };
            text.push_str(&styled(style, &format!("{step}{step}")));
        }
        text.push('\n');
    }
    for at in (from..to).step_by(usize::try_from(step.saturating_mul(3)).unwrap_or(usize::MAX)) {
        let label = if to - from <= 2 * DAY { time::hour(at) } else { time::day(at) };
        let _ = write!(text, "{label:<6}");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_and_bars_that_fit_eighty_columns() {
        let service = LogFacet { service: "core".into(), info: 120, error: 3, ..Default::default() };
        let hour = 3_600_000_000_000;
        let buckets = [
            LogBucket { from: 0, info: 100, ..Default::default() },
            LogBucket { from: 23 * hour, info: 1, error: 1, ..Default::default() },
        ];
        let span = Span { from: 0, to: 24 * hour, step: hour };
        let counted = Stats { services: &[service], buckets: &buckets, span, given: false, exact: true };
        let text = stats(&counted, 80);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(plain.starts_with("123 entries of the last 24 hours, from 1970-01-01"), "{plain}");
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
        assert!(plain.contains("per hour (the highest is 100)"), "{plain}");
        assert_eq!(plain.matches('█').count(), 2 * HIGH, "{plain}");
        assert!(plain.contains("▁▁"), "few entries are seen too: {plain}");
    }

    #[test]
    fn lengths_are_named() {
        let minute = 60_000_000_000;
        for (minutes, words) in [
            (1, "minute"),
            (15, "15 minutes"),
            (60, "hour"),
            (180, "3 hours"),
            (1_440, "day"),
            (20_160, "2 weeks"),
        ] {
            assert_eq!(length(minutes * minute), words);
        }
    }
}
