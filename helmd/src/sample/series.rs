//! Names and units of what helmd measures.

use std::collections::BTreeMap;

use helm_store::metrics::engine::SeriesKey;

use super::look::Found;

/// Numbers of the host stand under this name.
pub const HOST: &str = "host";
/// Numbers of helmd.
pub const HELMD: &str = "helmd";

/// What helmd measures of a service, with the unit.
pub const MEASURED: [(&str, &str); 10] = [
    ("cpu_percent", "percent"),
    ("memory_bytes", "bytes"),
    ("processes", "count"),
    ("threads", "count"),
    ("fds", "count"),
    ("io_read_bytes", "bytes/s"),
    ("io_write_bytes", "bytes/s"),
    ("uptime_seconds", "seconds"),
    ("restarts", "count"),
    ("probe_latency_ms", "ms"),
];

/// The unit of a metric; of others than helmd's own by the end of the name.
pub fn unit(metric: &str) -> &'static str {
    if let Some((_, unit)) = MEASURED.iter().find(|(name, _)| *name == metric) {
        return unit;
    }
    let ends: [(&str, &str); 5] = [
        ("_percent", "percent"),
        ("_bytes_per_second", "bytes/s"),
        ("_bytes", "bytes"),
        ("_seconds", "seconds"),
        ("_ms", "ms"),
    ];
    ends.iter().find(|(end, _)| metric.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// A series without tags.
pub fn key(service: &str, metric: &str) -> SeriesKey {
    SeriesKey { service: service.to_owned(), metric: metric.to_owned(), tags: BTreeMap::new() }
}

/// What the fleet knows of a service beside what was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Service.
    pub service: String,
    /// Restarts after unexpected ends.
    pub restarts: u32,
    /// Seconds since the start, while it runs.
    pub uptime: Option<f64>,
    /// Milliseconds of the newest probe.
    pub latency: Option<f64>,
}

/// The samples of one look.
pub fn samples(found: &Found, known: &[Known]) -> Vec<(SeriesKey, f64)> {
    let mut samples = Vec::new();
    let usages = found.services.iter().map(|(name, _, usage)| (name.as_str(), usage));
    for (name, usage) in usages.chain(found.helmd.iter().map(|usage| (HELMD, usage))) {
        let values = [
            ("cpu_percent", usage.cpu_percent),
            ("memory_bytes", Some(real(usage.memory_bytes))),
            ("processes", Some(real(usage.processes)).filter(|_| name != HELMD)),
            ("threads", Some(real(usage.threads))),
            ("fds", usage.fds.map(real)),
            ("io_read_bytes", usage.io.map(|io| io.0)),
            ("io_write_bytes", usage.io.map(|io| io.1)),
        ];
        samples.extend(values.into_iter().filter_map(|(metric, value)| Some((key(name, metric), value?))));
    }
    for Known { service, restarts, uptime, latency } in known {
        let values = [
            ("restarts", Some(f64::from(*restarts))),
            ("uptime_seconds", *uptime),
            ("probe_latency_ms", *latency),
        ];
        samples.extend(values.into_iter().filter_map(|(metric, value)| Some((key(service, metric), value?))));
    }
    samples.push((key(HELMD, "sample_ms"), found.took.as_secs_f64() * 1000.0));
    for (metric, disk, value) in &found.host {
        let mut key = key(HOST, metric);
        key.tags.extend(disk.map(|disk| ("disk".to_owned(), disk.to_owned())));
        samples.push((key, *value));
    }
    samples
}

#[allow(clippy::cast_precision_loss, reason = "bytes and counts stay far below 2^53")]
fn real(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use helm_core::name::ServiceName;
    use helm_core::status::RunId;

    use super::super::reckon::Usage;
    use super::*;

    #[test]
    fn what_is_not_known_is_no_sample() {
        let usage = Usage { memory_bytes: 5, processes: 1, threads: 2, ..Usage::default() };
        let found = Found {
            services: vec![(ServiceName::new("core").unwrap(), RunId(1), usage)],
            host: vec![("disk_used_bytes", Some("home"), 7.0)],
            ..Found::default()
        };
        let known = Known { service: "core".into(), restarts: 3, uptime: None, latency: Some(1.5) };
        let samples = samples(&found, &[known]);
        let names: Vec<String> =
            samples.iter().map(|(k, v)| format!("{}.{}{:?}={v}", k.service, k.metric, k.tags)).collect();
        assert_eq!(
            names,
            [
                "core.memory_bytes{}=5",
                "core.processes{}=1",
                "core.threads{}=2",
                "core.restarts{}=3",
                "core.probe_latency_ms{}=1.5",
                "helmd.sample_ms{}=0",
                "host.disk_used_bytes{\"disk\": \"home\"}=7",
            ]
        );
    }

    #[test]
    fn units_of_own_and_of_foreign_metrics() {
        assert_eq!(["io_read_bytes", "queue_bytes", "jobs"].map(unit), ["bytes/s", "bytes", ""]);
    }
}
