//! Numbers for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use helm_proto::v1::{MetricPoint, MetricSeries, QueryMetricsResponse};

use super::{HEAD, QUIET, Sheet, WARN, cut, safe, spark, styled, time};

/// Lines of a chart.
const HIGH: usize = 8;
/// Columns of a line beside the name and the curve, with the gaps.
const BESIDE: usize = 4 * 10;

/// A number in its unit, in at most eight characters.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    match unit {
        "bytes" => bytes(value),
        "bytes/s" => format!("{}/s", bytes(value)),
        "percent" => format!("{}%", short(value)),
        "seconds" => seconds(value),
        "ms" => format!("{}ms", short(value)),
        _ => short(value),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a negative span is none, and no span is that long"
)]
fn seconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}s") } else { time::span(value as u64) }
}

/// `512M`, `1.2G`
pub(crate) fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "K", "M", "G"] {
        if value.abs() < 999.5 {
            return format!("{}{unit}", short(value));
        }
        value /= 1024.0;
    }
    format!("{}T", short(value))
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        n if n == 0.0 || n >= 99.95 => format!("{value:.0}"),
        n if n < 9.995 && value.fract() != 0.0 => format!("{value:.1}"),
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// `disk_used_bytes{disk=home}`
pub(crate) fn name(series: &MetricSeries) -> String {
    if series.tags.is_empty() {
        return safe(&series.metric);
    }
    let tags: BTreeMap<_, _> = series.tags.iter().collect();
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    safe(&format!("{}{{{}}}", series.metric, tags.join(",")))
}

/// A series and what was found of it.
pub(crate) struct Curve {
    pub(crate) series: MetricSeries,
    pub(crate) found: QueryMetricsResponse,
}

impl Curve {
    fn columns(&self, (from, to): (i64, i64), width: usize) -> Vec<Option<f64>> {
        let points: Vec<(i64, f64)> = self.found.points.iter().map(|p| (p.at, p.avg)).collect();
        spark::columns(&points, from, to, width)
    }

    fn summary(&self) -> [String; 4] {
        let points = &self.found.points;
        let fold =
            |of: fn(&MetricPoint) -> f64, pick: fn(f64, f64) -> f64| points.iter().map(of).reduce(pick);
        let count = u32::try_from(points.len()).map_or(1.0, f64::from);
        let avg = fold(|p| p.avg, |a, b| a + b).map(|sum| sum / count);
        let last = points.last().map(|p| p.last);
        [last, fold(|p| p.min, f64::min), avg, fold(|p| p.max, f64::max)]
            .map(|value| value.map_or_else(|| "-".to_owned(), |v| amount(v, &self.series.unit)))
    }
}

/// A line for each metric, with its curve.
pub(crate) fn lines(curves: &[Curve], range: (i64, i64), sheet: impl Into<Sheet>) -> String {
    let sheet = sheet.into();
    let width = sheet.width;
    let longest = curves.iter().map(|c| name(&c.series).chars().count()).max().unwrap_or(0);
    let name_width = sheet.column(longest.max(6), width.saturating_sub(BESIDE + 12).max(12));
    let room = width.saturating_sub(name_width + BESIDE + 2).max(4);
    let mut text = String::new();
    let head = format!("{:name_width$}  {:>8}  {:>8}  {:>8}  {:>8}", "METRIC", "NOW", "MIN", "AVG", "MAX");
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for curve in curves {
        let [last, min, avg, max] = curve.summary();
        let name = sheet.fit(&name(&curve.series), name_width);
        let spark = spark::line(&curve.columns(range, room));
        let line = format!("{name:name_width$}  {last:>8}  {min:>8}  {avg:>8}  {max:>8}  {spark}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    missing(&mut text, curves);
    text
}

/// A chart for each.
pub(crate) fn charts(curves: &[Curve], range: (i64, i64), width: usize) -> String {
    let mut text = String::new();
    for curve in curves {
        let columns = curve.columns(range, width.saturating_sub(11).max(20));
        let (low, high) = spark::bounds(&columns);
        let [last, min, avg, max] = curve.summary();
        let title = format!("{} {}", safe(&curve.series.service), name(&curve.series));
        let numbers = format!("now {last}, min {min}, avg {avg}, max {max}");
        let title = cut(&title, width.saturating_sub(numbers.chars().count() + 2));
        let _ = writeln!(text, "{}  {numbers}", styled(HEAD, &title));
        for (row, bars) in spark::chart(&columns, HIGH).iter().enumerate() {
            let scale = match row {
                0 => amount(high, &curve.series.unit),
                _ if row == HIGH - 1 => amount(low.min(0.0), &curve.series.unit),
                _ => String::new(),
            };
            let _ = writeln!(text, "{}", format!("{scale:>8} |{bars}").trim_end());
        }
        let (from, to) = (time::local_to_second(range.0), time::local_to_second(range.1));
        let gap = width.saturating_sub(10 + from.len() + to.len()).max(2);
        let _ = writeln!(text, "{}", styled(QUIET, &format!("{:10}{from}{:gap$}{to}", "", "")));
    }
    missing(&mut text, curves);
    text
}

fn missing(text: &mut String, curves: &[Curve]) {
    if let Some(curve) = curves.iter().find(|c| !c.found.missing.is_empty()) {
        let _ = writeln!(text, "{}", styled(WARN, &safe(&curve.found.missing)));
    }
}

/// What every service does now, then helmd and the host.
pub(crate) fn table(all: &[MetricSeries], source: &str, sheet: impl Into<Sheet>) -> String {
    let sheet = sheet.into();
    let width = sheet.width;
    let mut services: BTreeMap<&str, BTreeMap<&str, &MetricSeries>> = BTreeMap::new();
    for series in all.iter().filter(|s| s.tags.is_empty() && s.service != "host") {
        services.entry(&series.service).or_default().insert(&series.metric, series);
    }
    let longest = services.keys().map(|name| name.len()).max().unwrap_or(0);
    let name_width = sheet.column(longest.max(7), width.saturating_sub(66).max(7));
    let mut text = String::new();
    let head = format!(
        "{:name_width$}  {:>6}  {:>6}  {:>5}  {:>7}  {:>5}  {:>7}  {:>7}  {:>4}",
        "SERVICE", "CPU", "MEMORY", "PROCS", "THREADS", "FDS", "READ", "WRITE", "UP"
    );
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for (service, metrics) in &services {
        let get = |metric: &str| {
            let series = metrics.get(metric);
            series.and_then(|s| Some(amount(s.last?, &s.unit))).unwrap_or_else(|| "-".to_owned())
        };
        let _ = writeln!(
            text,
            "{:name_width$}  {:>6}  {:>6}  {:>5}  {:>7}  {:>5}  {:>7}  {:>7}  {:>4}",
            sheet.fit(service, name_width),
            get("cpu_percent"),
            get("memory_bytes"),
            get("processes"),
            get("threads"),
            get("fds"),
            get("io_read_bytes"),
            get("io_write_bytes"),
            get("uptime_seconds"),
        );
    }
    for line in host(all).iter().flat_map(|host| super::wrapped(host, width)) {
        let _ = writeln!(text, "{line}");
    }
    let how = match source {
        "cgroup" => "services are measured by their cgroups",
        _ => "services are measured by their processes (no cgroup tree is delegated)",
    };
    let _ = writeln!(text, "{}", styled(QUIET, how));
    text
}

/// The host in a sentence, as far as it is known.
fn host(all: &[MetricSeries]) -> Option<String> {
    let series = |metric: &str, disk: &str| {
        let tag = |s: &MetricSeries| s.tags.get("disk").map_or("", String::as_str) == disk;
        all.iter().find(|s| s.service == "host" && s.metric == metric && tag(s))
    };
    let number = |metric: &str, disk: &str| series(metric, disk)?.last;
    let get = |metric: &str| series(metric, "").and_then(|s| Some(amount(s.last?, &s.unit)));
    let of = |name: &str, used: Option<f64>, total: Option<f64>| {
        let (used, total) = (used?, total.filter(|total| *total > 0.0)?);
        Some(format!("{name} {} of {} ({:.0}%)", bytes(used), bytes(total), 100.0 * used / total))
    };
    let total = number("memory_total_bytes", "");
    let used = total.zip(number("memory_available_bytes", "")).map(|(total, left)| total - left);
    let load: Vec<String> = ["load1", "load5", "load15"].iter().filter_map(|metric| get(metric)).collect();
    let mut words = vec![
        get("cpu_percent").map(|cpu| format!("CPU {cpu}")),
        (!load.is_empty()).then(|| format!("load {}", load.join(" "))),
        of("memory", used, total),
        of("swap", number("swap_used_bytes", ""), number("swap_total_bytes", "")),
    ];
    let disks: BTreeSet<&str> = all
        .iter()
        .filter(|s| s.service == "host")
        .filter_map(|s| Some(s.tags.get("disk")?.as_str()))
        .collect();
    words.extend(disks.into_iter().map(|disk| {
        of(
            &format!("disk of {}", safe(disk)),
            number("disk_used_bytes", disk),
            number("disk_total_bytes", disk),
        )
    }));
    words.push(get("uptime_seconds").map(|up| format!("up {up}")));
    let words: Vec<String> = words.into_iter().flatten().collect();
    (!words.is_empty()).then(|| format!("host: {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(service: &str, metric: &str, unit: &str, last: f64) -> MetricSeries {
        MetricSeries {
            service: service.into(),
            metric: metric.into(),
            unit: unit.into(),
            last: Some(last),
            ..Default::default()
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn amounts_are_short() {
        let mib = 1024.0 * 1024.0;
        let cases = [
            (amount(0.0, "percent"), "0%"),
            (amount(12.34, "percent"), "12.3%"),
            (amount(1600.0, "percent"), "1600%"),
            (amount(512.0 * mib, "bytes"), "512M"),
            (amount(1.25 * 1024.0 * mib, "bytes"), "1.2G"),
            (amount(1000.0, "bytes/s"), "1.0K/s"),
            (amount(7.0, "count"), "7"),
            (amount(3600.0, "seconds"), "60m"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn everything_fits_its_width() {
        let long = "n".repeat(50);
        let mut all = vec![
            series(&long, "cpu_percent", "percent", 399.9),
            series(&long, "memory_bytes", "bytes", 123_456_789_012.0),
            series(&long, "io_write_bytes", "bytes/s", 123_456_789.0),
            series(&long, "fds", "count", 65_535.0),
        ];
        all.extend(
            ["memory_total", "memory_available", "swap_total", "swap_used"]
                .map(|of| series("host", &format!("{of}_bytes"), "bytes", 5e9)),
        );
        let points = vec![MetricPoint { at: 50, avg: 5.0, min: 1.0, max: 9.0, last: 6.0 }];
        let curve = |s: &MetricSeries| Curve {
            series: s.clone(),
            found: QueryMetricsResponse { points: points.clone(), step: 1, missing: String::new() },
        };
        let curves: Vec<Curve> = all.iter().map(curve).collect();
        for width in [80, 160] {
            let texts = [
                table(&all, "tree", width),
                lines(&curves, (0, 100), width),
                charts(&curves[1..2], (0, 100), width),
            ];
            for line in texts.iter().flat_map(|text| text.lines()) {
                assert!(plain(line).chars().count() <= width, "{width}: {line}");
            }
        }
        assert!(plain(&lines(&curves[..1], (0, 100), 80)).contains("6%"));
    }
}
