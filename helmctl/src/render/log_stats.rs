//! `logs stats`: a table by service and level, and a bar for each hour.

use std::fmt::Write;

use helm_proto::v1::{LogBucket, LogFacet};
use serde::Serialize;

use super::{BAD, GOOD, HEAD, WARN, cut, styled, time};

/// Steps of a bar.
const STEPS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Lines that the bars are high.
const HIGH: usize = 4;

/// `logs stats --json`
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    services: Vec<Counts>,
    hours: Vec<Counts>,
    exact: bool,
}

#[derive(Debug, Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    debug: u64,
    info: u64,
    warning: u64,
    error: u64,
    critical: u64,
}

impl Stats {
    pub(crate) fn new(services: &[LogFacet], hours: &[LogBucket], exact: bool) -> Self {
        let service = |f: &LogFacet| Counts {
            service: Some(f.service.clone()),
            from: None,
            debug: f.debug,
            info: f.info,
            warning: f.warning,
            error: f.error,
            critical: f.critical,
        };
        let hour = |b: &LogBucket| Counts {
            service: None,
            from: Some(time::utc_nanos(b.from)),
            debug: b.debug,
            info: b.info,
            warning: b.warning,
            error: b.error,
            critical: b.critical,
        };
        Self {
            services: services.iter().map(service).collect(),
            hours: hours.iter().map(hour).collect(),
            exact,
        }
    }
}

/// Both; `hours` are the buckets of the 24 hours that begin at `from`, one an hour.
pub(crate) fn stats(services: &[LogFacet], hours: &[LogBucket], from: i64, step: i64, exact: bool) -> String {
    let mut text = table(services);
    if !exact {
        text.push_str("Not all could be counted in time: these are the newest.\n");
    }
    text.push('\n');
    text.push_str(&bars(hours, from, step));
    text
}

fn table(services: &[LogFacet]) -> String {
    let width = services.iter().map(|f| f.service.len()).max().unwrap_or(0).clamp(7, 24);
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
            cut(&f.service, width),
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

/// Two columns an hour; red where something failed, yellow where something is to be looked at.
fn bars(hours: &[LogBucket], from: i64, step: i64) -> String {
    let mut all = vec![LogBucket::default(); 24];
    for bucket in hours {
        let slot = usize::try_from((bucket.from - from).div_euclid(step)).ok().and_then(|n| all.get_mut(n));
        if let Some(slot) = slot {
            slot.clone_from(bucket);
        }
    }
    let sum = |b: &LogBucket| b.debug + b.info + b.warning + b.error + b.critical;
    let most = all.iter().map(sum).max().unwrap_or(0);
    let mut text = format!("Entries per hour, last 24 hours (the highest is {most})\n");
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
    for hour in (0..24).step_by(3) {
        let _ = write!(text, "{:<6}", time::hour(from + hour * step));
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
        let text = stats(&[service], &buckets, 0, hour, true);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{plain}");
        assert!(plain.contains("the highest is 100"), "{plain}");
        assert_eq!(plain.matches('█').count(), 2 * HIGH, "{plain}");
        assert!(plain.contains("▁▁"), "few entries are seen too: {plain}");
    }
}
