//! Numbers for Prometheus: services, log, store, and Helm itself, as they are now.

pub mod text;

use std::collections::BTreeMap;

use helm_proto::v1::{InfoResponse, LogFacetsResponse, ServiceStatus, StoreStatusResponse};

use text::{Format, Kind, Text};

const STATES: [&str; 9] = [
    "stopped",
    "blocked",
    "starting",
    "running",
    "stopping",
    "backoff",
    "failed",
    "external",
    "not_installed",
];
const HEALTHS: [&str; 6] = ["healthy", "degraded", "unhealthy", "unreachable", "starting", "unknown"];

/// What is told; what could not be asked for is left out.
#[derive(Debug, Default)]
pub struct Facts {
    /// Of helmd.
    pub info: Option<InfoResponse>,
    /// Of services.
    pub services: Vec<ServiceStatus>,
    /// Entries since the store began, by service and level.
    pub counts: Option<LogFacetsResponse>,
    /// Of the store.
    pub store: Option<StoreStatusResponse>,
    /// Of helm-web.
    pub web: Web,
}

/// Of helm-web itself.
#[derive(Debug, Default, Clone, Copy)]
pub struct Web {
    /// Connections that are open.
    pub connections: usize,
    /// Streams that are open.
    pub streams: usize,
    /// Batches of entries on their way to helmd.
    pub batches: usize,
    /// Entries that were refused and are not written down yet.
    pub refused: u64,
}

/// The text.
#[must_use]
pub fn written(facts: &Facts, format: Format) -> String {
    let mut text = Text::new(format);
    text.family("helm_up", Kind::Gauge, "helmd answers.").sample(&[], flag(facts.info.is_some()));
    if let Some(info) = &facts.info {
        text.family("helm_info", Kind::Gauge, "Which helmd this is.")
            .sample(&[("version", &info.version), ("containment", &info.containment)], 1.0);
        text.family("helm_alerts", Kind::Gauge, "Things that an operator should see at once.")
            .sample(&[], amount(info.alerts.len()));
    }
    services(&mut text, &facts.services);
    if let Some(counts) = &facts.counts {
        log(&mut text, counts);
    }
    if let Some(status) = &facts.store {
        store(&mut text, status);
    }
    web(&mut text, facts.web);
    text.finish()
}

fn services(text: &mut Text, services: &[ServiceStatus]) {
    let mut states = text.family(
        "helm_service_state",
        Kind::Gauge,
        "The state of a service: 1 for the one that it is in.",
    );
    for service in services {
        for state in STATES {
            states.sample(&[("service", &service.name), ("state", state)], flag(service.state == state));
        }
    }
    let mut healths =
        text.family("helm_service_health", Kind::Gauge, "What probes say of a service: 1 for what holds.");
    for service in services {
        for health in HEALTHS {
            healths.sample(&[("service", &service.name), ("health", health)], flag(service.health == health));
        }
    }
    let mut each = |name, kind, help, value: &dyn Fn(&ServiceStatus) -> Option<f64>| {
        let mut family = text.family(name, kind, help);
        for service in services {
            if let Some(value) = value(service) {
                family.sample(&[("service", &service.name)], value);
            }
        }
    };
    each("helm_service_up", Kind::Gauge, "A service runs.", &|s| Some(flag(s.status == "running")));
    each("helm_service_wanted", Kind::Gauge, "A service should run.", &|s| Some(flag(s.wanted)));
    each(
        "helm_service_restarts",
        Kind::Counter,
        "Restarts that nobody asked for, since helmd knows the service.",
        &|s| Some(f64::from(s.restarts)),
    );
    each(
        "helm_service_cpu_percent",
        Kind::Gauge,
        "Of all processes of a service together, in per cent of one core.",
        &|s| s.cpu_percent,
    );
    each("helm_service_memory_bytes", Kind::Gauge, "Of all processes of a service together.", &|s| {
        s.memory_bytes.map(count)
    });
    each("helm_service_uptime_seconds", Kind::Gauge, "Since the start of the current run.", &|s| {
        s.uptime_seconds.map(count)
    });
    each(
        "helm_probe_latency_seconds",
        Kind::Gauge,
        "How long the last answer of a service's probe took.",
        &|s| s.health_latency_us.map(|us| count(us) / 1e6),
    );
}

fn log(text: &mut Text, counts: &LogFacetsResponse) {
    let mut family =
        text.family("helm_log_entries", Kind::Gauge, "Entries that are kept, by service and level.");
    for facet in &counts.services {
        let levels = [
            ("DEBUG", facet.debug),
            ("INFO", facet.info),
            ("WARNING", facet.warning),
            ("ERROR", facet.error),
            ("CRITICAL", facet.critical),
        ];
        for (level, entries) in levels.into_iter().filter(|(_, entries)| *entries > 0) {
            family.sample(&[("service", &facet.service), ("level", level)], count(entries));
        }
    }
}

fn store(text: &mut Text, status: &StoreStatusResponse) {
    let engine = [("engine", status.engine.as_str())];
    text.family("helm_store_available", Kind::Gauge, "The database answers.")
        .sample(&engine, flag(status.available));
    text.family("helm_store_entries", Kind::Gauge, "Entries that are kept.")
        .sample(&[], count(status.entries));
    text.family("helm_store_bytes", Kind::Gauge, "What the store takes.").sample(&[], count(status.bytes));
    text.family("helm_queue_appends", Kind::Gauge, "Batches that wait for the database in the local queue.")
        .sample(&[], count(status.queued_appends));
    text.family("helm_queue_bytes", Kind::Gauge, "The same in bytes.")
        .sample(&[], count(status.queued_bytes));
    let mut behind: BTreeMap<&str, u64> = BTreeMap::new();
    for lag in &status.capture {
        *behind.entry(&lag.service).or_default() += lag.bytes;
    }
    let mut family =
        text.family("helm_capture_lag_bytes", Kind::Gauge, "Captured output that is not in the store yet.");
    for (service, bytes) in behind {
        family.sample(&[("service", service)], count(bytes));
    }
}

fn web(text: &mut Text, web: Web) {
    text.family("helm_web_connections", Kind::Gauge, "Connections to helm-web.")
        .sample(&[], amount(web.connections));
    text.family("helm_web_streams", Kind::Gauge, "Streams that are open.").sample(&[], amount(web.streams));
    text.family("helm_web_ingest_batches", Kind::Gauge, "Batches of log entries on their way to helmd.")
        .sample(&[], amount(web.batches));
    text.family(
        "helm_web_refused_entries",
        Kind::Gauge,
        "Entries that were refused, and are not written down yet.",
    )
    .sample(&[], count(web.refused));
}

fn flag(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

fn amount(number: usize) -> f64 {
    count(number as u64)
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn count(number: u64) -> f64 {
    number as f64
}
