//! Services, what happens to them, and helmd itself.

use helm_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::optional as time;

/// `status --json`
#[derive(Debug, Serialize, ToSchema)]
pub struct Statuses {
    services: Vec<Status>,
    hold: bool,
    warnings: Vec<String>,
}

/// One service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceStatus)]
pub struct Status {
    name: String,
    state: String,
    status: String,
    reason: String,
    wanted: bool,
    mode: String,
    run: Option<String>,
    pid: Option<u32>,
    port: Option<u32>,
    url: Option<String>,
    health: String,
    health_message: String,
    health_latency_ms: Option<f64>,
    ready: bool,
    completed: bool,
    started_at: Option<String>,
    since: Option<String>,
    restarts: u32,
    last_exit: Option<String>,
    next_start_ms: Option<u64>,
    kill_in_ms: Option<u64>,
    waits_for: Vec<String>,
    holder: Option<Holder>,
    notify_status: Option<String>,
    warnings: Vec<String>,
    cpu_percent: Option<f64>,
    memory_mb: Option<f64>,
    uptime: Option<u64>,
    limits: Vec<Limit>,
}

/// A limit of services.json, and what keeps it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceLimit)]
struct Limit {
    name: String,
    value: String,
    means: String,
    words: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PortHolder)]
struct Holder {
    pid: Option<u32>,
    command: Option<String>,
    uid: Option<u32>,
}

impl Statuses {
    /// As helmd told them, and what is to be seen with every command.
    #[must_use]
    pub fn new(services: Vec<v1::ServiceStatus>, hold: bool, warnings: Vec<String>) -> Self {
        Self { services: services.into_iter().map(Status::from).collect(), hold, warnings }
    }
}

impl From<v1::ServiceStatus> for Status {
    fn from(s: v1::ServiceStatus) -> Self {
        Self {
            name: s.name,
            state: s.state,
            status: s.status,
            reason: s.reason,
            wanted: s.wanted,
            mode: s.mode,
            run: Some(s.run).filter(|run| !run.is_empty()),
            pid: s.pid,
            port: s.port,
            url: s.url,
            health: s.health,
            health_message: s.health_message,
            health_latency_ms: s
                .health_latency_us
                .and_then(|us| u32::try_from(us).ok())
                .map(|us| f64::from(us) / 1000.0),
            ready: s.ready,
            completed: s.completed,
            started_at: time(s.started_at),
            since: time(s.since),
            restarts: s.restarts,
            last_exit: s.last_exit,
            next_start_ms: s.next_start_ms,
            kill_in_ms: s.kill_in_ms,
            waits_for: s.waits_for,
            holder: s.holder.map(|h| Holder { pid: h.pid, command: h.command, uid: h.uid }),
            notify_status: s.notify_status,
            warnings: s.warnings,
            cpu_percent: s.cpu_percent.map(rounded),
            memory_mb: s.memory_bytes.map(mebibytes),
            uptime: s.uptime_seconds,
            limits: s.limits.into_iter().map(Limit::from).collect(),
        }
    }
}

impl From<v1::Limit> for Limit {
    fn from(v1::Limit { name, value, means, words }: v1::Limit) -> Self {
        Self { name, value, means, words }
    }
}

/// To two digits: more would be noise.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
fn mebibytes(bytes: u64) -> f64 {
    rounded(bytes as f64 / f64::from(1 << 20))
}

/// `events --json`, one a line.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    id: u64,
    at: Option<String>,
    service: String,
    kind: String,
    from: String,
    to: String,
    cause: String,
    run: Option<String>,
    pid: Option<u32>,
    exit: Option<String>,
    missed: u64,
}

impl From<v1::EventRecord> for Event {
    fn from(e: v1::EventRecord) -> Self {
        Self {
            id: e.id,
            at: time(e.at),
            service: e.service,
            kind: e.kind,
            from: e.from,
            to: e.to,
            cause: e.cause,
            run: Some(e.run).filter(|run| !run.is_empty()),
            pid: e.pid,
            exit: e.exit,
            missed: e.missed,
        }
    }
}

/// `output --json`, one a line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OutputLine)]
pub struct Line {
    at: Option<String>,
    stream: String,
    text: String,
    partial: bool,
}

impl From<v1::OutputLine> for Line {
    fn from(l: v1::OutputLine) -> Self {
        Self {
            at: time(l.at),
            stream: l.stream,
            text: String::from_utf8_lossy(&l.text).into_owned(),
            partial: l.partial,
        }
    }
}

/// `list --json`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceDefinition)]
pub struct Service {
    name: String,
    kind: String,
    path: String,
    url: Option<String>,
    port: Option<u32>,
    visible: bool,
    admin_only: bool,
    billing_or_admin_only: bool,
    depends_on: Vec<Dependency>,
    restart: String,
    probes: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Dependency {
    service: String,
    condition: String,
}

impl From<v1::ServiceInfo> for Service {
    fn from(s: v1::ServiceInfo) -> Self {
        let dependency = |d: v1::DependencyInfo| Dependency { service: d.service, condition: d.condition };
        Self {
            name: s.name,
            kind: s.kind,
            path: s.path,
            url: s.url,
            port: s.port,
            visible: s.visible,
            admin_only: s.admin_only,
            billing_or_admin_only: s.billing_or_admin_only,
            depends_on: s.depends_on.into_iter().map(dependency).collect(),
            restart: s.restart,
            probes: s.probes,
        }
    }
}

/// `config check --json`
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    /// Nothing keeps it from being used.
    pub ok: bool,
    /// What is wrong, or odd.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Serialize, ToSchema)]
pub struct Fault {
    /// Which file.
    pub file: String,
    /// From 1; 0: no place.
    pub line: u32,
    /// From 1; 0: no place.
    pub column: u32,
    /// Which field.
    pub field: String,
    /// error or warning
    pub severity: String,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: String,
}

impl From<v1::Fault> for Fault {
    fn from(f: v1::Fault) -> Self {
        Self {
            file: f.file,
            line: f.line,
            column: f.column,
            field: f.field,
            severity: f.severity,
            message: f.message,
            hint: f.hint,
        }
    }
}

/// `daemon status --json`
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Info)]
pub struct Daemon {
    /// There is a helmd.
    pub running: bool,
    /// Its home.
    pub home: String,
    /// Its pid.
    pub pid: Option<u32>,
    /// Its version.
    pub version: Option<String>,
    /// Where it listens.
    pub socket: Option<String>,
    /// When it was started.
    pub started_at: Option<String>,
    /// `cgroup` or `subreaper`
    pub containment: Option<String>,
    /// Which cgroup tree, or why there is none.
    pub containment_detail: Option<String>,
    /// Of services that are started without a mode.
    pub default_mode: Option<String>,
    /// The fleet is held down.
    pub hold: bool,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl From<v1::InfoResponse> for Daemon {
    fn from(i: v1::InfoResponse) -> Self {
        // What the caller may not see is empty.
        let told = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            running: true,
            home: i.home,
            pid: Some(i.pid).filter(|pid| *pid > 0),
            version: told(i.version),
            socket: told(i.socket),
            started_at: time(i.started_at),
            containment: told(i.containment),
            containment_detail: told(i.containment_detail),
            default_mode: Some(i.default_mode),
            hold: i.hold,
            warnings: i.warnings,
        }
    }
}

/// What `up`, `start`, `stop`, `restart`, `down` came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Outcome {
    /// done, failed, timeout, accepted
    pub result: String,
    /// One sentence.
    pub message: String,
    /// How each of them did.
    pub services: Vec<Step>,
}

/// One service of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Step {
    /// The service.
    pub name: String,
    /// pending, done, failed, skipped
    pub step: String,
    /// In words.
    pub message: String,
    /// Its state.
    pub state: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
}
