//! The fields of `services.json`: this table is the reader, the list of known names, and the schema.
//! docs/services.md explains them at length.

use super::address::Address;
use super::group::{Argv, Command, Edges, OrOff, Texts, Variables};
use super::plain::{Bytes, Choice, Decimal, Inside, Knock, Local, One, Signal, Time, Whole};
use super::shape::{At, fields};
use super::{LineRule, RestartPolicy};

/// A TCP port.
pub(super) type Port = Whole<1, 65535>;
/// Up to a day, in milliseconds.
const DAY: u64 = 86_400_000;

/// What starts a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Python,
    Keycloak,
    Command,
}

impl Type {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Type::Python => "python",
            Type::Keycloak => "keycloak",
            Type::Command => "command",
        }
    }
}

impl Choice for Type {
    const WORDS: &[(&'static str, Self)] =
        &[("python", Type::Python), ("keycloak", Type::Keycloak), ("command", Type::Command)];
}

fields! {
    /// A service. With `path`, `start_command` or `command` Helm runs it; with a `url` alone it is a directory entry,
    /// which other services can look up.
    RawService {
        /// Address for people, probes and other services.
        url: Address,
        /// Directory of the service, relative to the home of Helm, or absolute. Default: the home, where a program is given.
        path: String,
        /// The TCP port that it listens on. Default: the port of `url`, where that is on this host.
        port: Port,
        /// Addresses of this host's loopback that Helm listens at for it, and keeps open while it restarts: connections wait meanwhile. The service takes them over as LISTEN_FDS (sd_listen_fds(3)). Default for helm-web: both loopback addresses with its port.
        listen: Vec<At<Local>>,
        /// What starts it: `python` (python_bin and run_script), `keycloak` (start_command) or `command`. Default: what the other fields say.
        kind: One<Type> = "type",
        /// Python interpreter, inside `path`. Default: `pyenv/bin/python`.
        python_bin: Inside,
        /// Python script, inside `path`. Default: `run.py`.
        run_script: Inside,
        /// Program inside `path` with its arguments, for a service that is not Python. Split at blanks, quotes respected, nothing expanded.
        start_command: String,
        /// Any program: a list of words (looked up in PATH, or relative to `path` where it has a `/`), or with `"shell": true` one text for /bin/sh.
        command: Command,
        /// `command` is a text for /bin/sh.
        shell: bool,
        /// Shown in the side panel of Nexus. Default: true.
        visible: bool,
        /// Shown to admins only. Default: false.
        admin_only: bool,
        /// Shown to billing and admins only. Default: false.
        billing_or_admin_only: bool,
        /// What must be there before it starts: `["core"]`, or with conditions `{"core": "healthy"}`. Replaces the edges of apps_registry.json.
        depends_on: Edges,
        /// When to start it again: `always`, `on-failure` or `never`. Default: `always`.
        restart: One<RestartPolicy>,
        /// How long to wait before it is started again.
        backoff: RawBackoff,
        /// How to stop it.
        stop: RawStop,
        /// Longest time from its start until it is ready; then it is ended and started again. Default: for ever.
        start_timeout: Time<100, DAY>,
        /// Variables, above those of `.flaskenv` and `env_file`.
        env: Variables,
        /// File with variables, inside `path`, in the form of `.flaskenv` and above it.
        env_file: Inside,
        /// How to see whether it works. Default with a `url`: HTTP `/health` as startup and readiness.
        probes: RawProbes,
        /// Limits of its resources.
        limits: RawLimits,
        /// How its output is kept.
        log: RawLog,
    }
}

fields! {
    /// Delay before a restart: min(max, initial * factor^n), with jitter. The first restart after a healthy time is immediate.
    RawBackoff {
        /// First delay. Default: 1 s.
        initial: Time<0, DAY>,
        /// Growth. Default: 2.
        factor: Decimal<1_000, 100_000>,
        /// Longest delay; restarts go on for ever at it. Default: 60 s.
        max: Time<0, DAY>,
        /// Share of the delay that is random, 0 to 1. Default: 0.2.
        jitter: Decimal<0, 1_000>,
        /// A run that was ready for this long forgets earlier failures. Default: 10 s.
        reset_after: Time<0, DAY>,
        /// Give up after this many failures in a row. Default: never.
        limit: Whole<1, 1_000_000>,
    }
}

fields! {
    /// How a service is stopped: the signal, the grace time, then SIGKILL for all of its processes.
    RawStop {
        /// Default: SIGTERM.
        signal: Signal,
        /// Default: 10 s.
        grace: Time<0, DAY>,
    }
}

fields! {
    /// The three probes; `false` switches a default off.
    RawProbes {
        /// Has it come up? The others wait until this has succeeded once. Default: as readiness, every 500 ms.
        startup: OrOff<RawProbe>,
        /// May others use it, and is it healthy?
        readiness: OrOff<RawProbe>,
        /// Is it stuck? Then it is restarted. Default: none; what only reports a failing dependency is no reason to restart.
        liveness: OrOff<RawProbe>,
    }
}

fields! {
    /// One probe: one of `http`, `tcp`, `exec`, `log`, `notify`.
    RawProbe {
        /// A path (`/health`) beneath `url`, or a whole url. More paths of a list are tried while the answer is 404, 405, 401, 403 or a redirect.
        http: Texts,
        /// Something listens: a port of this host, or `host:port`.
        tcp: Knock,
        /// A program in the service's directory and environment: exit 0 is healthy, its last line is the message.
        exec: Argv,
        /// A line of output matches this regular expression.
        log: String,
        /// The service says READY=1 by sd_notify.
        notify: bool,
        /// From the end of one to the start of the next. Default: 15 s, for startup 500 ms.
        interval: Time<10, DAY>,
        /// For one answer. Default: 10 s.
        timeout: Time<10, 3_600_000>,
        /// Failures in a row before it counts. Default: 3.
        failures: Whole<1, 1_000_000>,
        /// Successes in a row before it counts again. Default: 1.
        successes: Whole<1, 1_000_000>,
        /// Before the first one. Default: 0.
        initial_delay: Time<0, DAY>,
    }
}

fields! {
    /// Limits of resources: by cgroup where Helm has one with the controller, else as rlimits where such exist.
    RawLimits {
        /// Memory of all its processes.
        memory: Bytes<1_048_576>,
        /// Share of the processor against others, 1 to 10000. Default of the kernel: 100.
        cpu_weight: Whole<1, 10_000>,
        /// Most processor time, in per cent of one core.
        cpu_quota: Whole<1, 1_000_000>,
        /// Processes and threads.
        pids: Whole<1, 4_194_304>,
        /// Open files of each process.
        nofile: Whole<3, 1_073_741_824>,
        /// Size of a core dump.
        core: Bytes<0>,
    }
}

fields! {
    /// How output is kept in logs/NAME/.
    RawLog {
        /// A file is closed at the first line end beyond this size. Default: 16M.
        segment_size: Bytes<4096>,
        /// The oldest files go when all of them exceed this. Default: 512M.
        total_size: Bytes<65_536>,
        /// Closed files are compressed. Default: true.
        compress: bool,
        /// How lines are read: `auto`, `json`, `logfmt`, `python`, `java`, `syslog`, `plain` or `none`. Default: `auto`.
        rule: One<LineRule>,
        /// Instead of `rule`: a regular expression with the groups `level`, `time`, `message`, `trace`, `user`.
        pattern: String,
        /// Class of retention, a name in `[retention]` of instance/helm.conf. Default: `default`.
        class: String,
        /// Access lines of `GET /health` from this host are counted, not stored. Default: true.
        drop_health: bool,
    }
}

fields! {
    /// An entry of `master_services.json`: where the other services find it.
    RawMaster {
        /// Address for other services.
        url: Address,
        /// Its TCP port.
        port: Port,
    }
}
