//! A raw entry and the defaults of its ecosystem into a complete [`ServiceSpec`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::Address;
use super::fault::{Doc, quoted};
use super::registry::{Known, RawDefaults, Registry, fill};
use super::scalar::{absolute, stays_inside, words};
use super::shape::{At, Command, OrOff};
use super::table::{RawProbe, RawService, Type};
use super::{Backoff, Check, Limits, LogRules, Probe, Probes, Program, ServiceSpec, StopPolicy};
use crate::name::ServiceName;

const STARTUP_INTERVAL: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(10);
const FAILURES: u32 = 3;
const USUAL_HEALTH: &str = "/health";
const PYTHON_BIN: &str = "pyenv/bin/python";
const RUN_SCRIPT: &str = "run.py";

/// An entry as it was read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: ServiceName,
    pub(super) at: usize,
    pub(super) raw: RawService,
}

impl Entry {
    /// `services.core.FIELD`
    pub(super) fn place(&self, field: &str) -> String {
        format!("services.{}.{field}", self.name)
    }

    pub(super) fn kind(&self) -> Option<&'static str> {
        self.raw.kind.as_ref().map(|k| k.it.0.as_str())
    }

    pub(super) fn url(&self) -> Option<&Address> {
        self.raw.url.as_ref().map(|u| &u.it)
    }

    /// Its port; where none is given, that of a url on this host.
    pub(super) fn port(&self) -> Option<u16> {
        let given = self.raw.port.as_ref().and_then(|p| u16::try_from(p.it.0).ok());
        given.or_else(|| self.url().filter(|u| u.is_loopback()).map(|u| u.port))
    }
}

/// A pattern of a log probe and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) field: String,
    pub(super) pattern: String,
}

/// What every entry is resolved against.
pub(super) struct Resolver<'r, 't> {
    pub(super) home: &'r str,
    pub(super) registry: &'r Registry,
    /// Url and port by name, for `${core.url}`.
    pub(super) addresses: &'r BTreeMap<String, (Option<String>, Option<u16>)>,
    pub(super) doc: &'r mut Doc<'t>,
    pub(super) patterns: Vec<Pattern>,
}

impl Resolver<'_, '_> {
    /// The complete service, without its dependencies; every fault is reported, and there is a result nevertheless, so
    /// that a bad entry hides nothing in others.
    pub(super) fn resolve(&mut self, entry: &Entry) -> ServiceSpec {
        let known = self.registry.get(entry.name.as_str(), entry.kind());
        let path = entry.raw.path.as_ref().map_or(".", |p| p.it.as_str());
        let mut spec = ServiceSpec {
            name: entry.name.clone(),
            program: None,
            path: absolute(self.home, path),
            url: entry.url().map(|u| u.text.clone()),
            port: entry.port(),
            visible: entry.raw.visible.as_ref().is_none_or(|v| v.it),
            admin_only: entry.raw.admin_only.as_ref().is_some_and(|v| v.it),
            billing_or_admin_only: match &entry.raw.billing_or_admin_only {
                Some(given) => given.it,
                None => known.and_then(|k| k.billing_or_admin_only).unwrap_or(false),
            },
            depends_on: Vec::new(),
            outside: Vec::new(),
            restart: entry.raw.restart.as_ref().map(|r| r.it.0).unwrap_or_default(),
            backoff: self.backoff(entry),
            stop: stop(entry),
            start_timeout: entry.raw.start_timeout.as_ref().map(|t| t.it.0),
            env_defaults: self.variables(entry, known, |d| &d.env),
            env_production: self.variables(entry, known, |d| &d.env_production),
            env_development: self.variables(entry, known, |d| &d.env_development),
            env_file: entry.raw.env_file.as_ref().map(|f| f.it.0.clone()),
            mode_flags: self.mode_flags(known),
            env: own_variables(entry),
            probes: Probes::default(),
            limits: limits(entry),
            log: self.log(entry),
        };
        spec.program = self.program(entry, &spec.path);
        spec.probes = self.probes(entry, known);
        self.compare_ports(entry);
        spec
    }

    fn program(&mut self, entry: &Entry, path: &str) -> Option<Program> {
        self.check_type(entry);
        let raw = &entry.raw;
        let program = match (&raw.command, &raw.start_command) {
            (Some(command), Some(other)) => {
                self.too_many(entry, "start_command", other.at);
                self.command(entry, command)
            }
            (Some(command), None) => self.command(entry, command),
            (None, Some(line)) => self.start_command(entry, line),
            (None, None) => self.python(entry),
        };
        if (raw.command.is_some() || raw.start_command.is_some())
            && let Some((field, at)) = python_field(raw)
        {
            self.too_many(entry, field, at);
        }
        if let (Some(shell), None) = (&raw.shell, &raw.command)
            && !raw.faulty
        {
            self.error(entry, "shell", shell.at, "needs a `command`", "");
        }
        if program.is_none() && raw.url.is_none() && !raw.faulty && !self.is_refused(entry) {
            let hint = "give `path` for a Python service, `start_command`, or `command`; a `url` alone makes a directory entry";
            self.doc.error(
                entry.at,
                &format!("services.{}", entry.name),
                "has nothing to run and no url",
                hint,
            );
        }
        match program {
            // The Helm of the Python era described itself so. It is what runs here, and never a child of itself.
            Some(Program::Python { run_script, .. })
                if run_script == RUN_SCRIPT && path == absolute(self.home, ".") =>
            {
                let message =
                    "is Helm itself as it was in Python; it is not started, and stands as a directory entry";
                self.doc.warn(
                    entry.at,
                    &format!("services.{}", entry.name),
                    message,
                    "take `path`, `python_bin` and `run_script` away",
                );
                None
            }
            other => other,
        }
    }

    /// Has a fault about what it runs been reported already?
    fn is_refused(&self, entry: &Entry) -> bool {
        entry.raw.command.is_some() || entry.raw.start_command.is_some() || entry.raw.kind.is_some()
    }

    fn check_type(&mut self, entry: &Entry) {
        let raw = &entry.raw;
        let Some(kind) = &raw.kind else { return };
        let program = raw.command.is_some() || raw.start_command.is_some();
        if raw.faulty {
            return;
        }
        match kind.it.0 {
            Type::Python if program => {
                let hint = "take `type` away, or the command";
                self.error(
                    entry,
                    "type",
                    kind.at,
                    "is `python`, but the entry has a command of its own",
                    hint,
                );
            }
            Type::Keycloak if !program => {
                self.error(
                    entry,
                    "type",
                    kind.at,
                    "is `keycloak`, but there is no `start_command`",
                    "like \"bin/kc.sh start-dev\"",
                );
            }
            Type::Command if !program => {
                self.error(entry, "type", kind.at, "is `command`, but there is no `command`", "");
            }
            Type::Python | Type::Keycloak | Type::Command => {}
        }
    }

    fn too_many(&mut self, entry: &Entry, field: &str, at: usize) {
        let hint = "a service is started by one of command, start_command, or python_bin with run_script";
        self.error(entry, field, at, "says a second time what is to run", hint);
    }

    fn command(&mut self, entry: &Entry, command: &At<Command>) -> Option<Program> {
        let shell = entry.raw.shell.as_ref().is_some_and(|s| s.it);
        match &command.it {
            Command::Line(text) if shell => Some(Program::Shell(text.clone())),
            Command::Line(_) => {
                let hint = "give a list of words, or add \"shell\": true";
                self.error(entry, "command", command.at, "is one text, and no shell is asked for", hint);
                None
            }
            Command::Argv(_) if shell => {
                self.error(
                    entry,
                    "command",
                    command.at,
                    "is a list, but a shell takes one text",
                    "take \"shell\": true away",
                );
                None
            }
            Command::Argv(words) => {
                let first = words.first().map_or("", String::as_str);
                if first.contains('/') && !first.starts_with('/') && !stays_inside(first) {
                    let message = format!("{} leaves the service's directory", quoted(first));
                    self.error(
                        entry,
                        "command",
                        command.at,
                        message,
                        "give an absolute path, or a name that is in PATH",
                    );
                }
                Some(Program::Command(words.clone()))
            }
        }
    }

    fn start_command(&mut self, entry: &Entry, line: &At<String>) -> Option<Program> {
        let Some(words) = words(&line.it) else {
            self.error(entry, "start_command", line.at, "has a quote that is not closed", "");
            return None;
        };
        let first = words.first().map_or("", String::as_str);
        if !stays_inside(first) {
            let message = format!("{} leaves the service's directory", quoted(first));
            self.error(
                entry,
                "start_command",
                line.at,
                message,
                "its first word is a file inside `path`; use `command` for others",
            );
        }
        Some(Program::StartCommand(words))
    }

    fn python(&self, entry: &Entry) -> Option<Program> {
        let raw = &entry.raw;
        let meant = raw.path.is_some() || python_field(raw).is_some();
        let or = |given: &Option<At<super::shape::Inside>>, usual: &str| {
            given.as_ref().map_or_else(|| usual.to_owned(), |g| g.it.0.clone())
        };
        meant.then(|| Program::Python {
            python_bin: or(&raw.python_bin, PYTHON_BIN),
            run_script: or(&raw.run_script, RUN_SCRIPT),
        })
    }

    fn compare_ports(&mut self, entry: &Entry) {
        let (Some(port), Some(url)) = (&entry.raw.port, entry.url()) else { return };
        if url.is_loopback() && u64::from(url.port) != port.it.0 {
            let message = format!("is {}, but the url says {}", port.it.0, url.port);
            self.doc.warn(port.at, &entry.place("port"), message, "");
        }
    }

    fn backoff(&mut self, entry: &Entry) -> Backoff {
        let mut backoff = Backoff::default();
        let Some(At { at, it: raw }) = &entry.raw.backoff else { return backoff };
        set(&mut backoff.initial, &raw.initial, |t| t.0);
        set(&mut backoff.factor, &raw.factor, |d| d.0);
        set(&mut backoff.max, &raw.max, |t| t.0);
        set(&mut backoff.jitter, &raw.jitter, |d| d.0);
        set(&mut backoff.reset_after, &raw.reset_after, |t| t.0);
        backoff.limit = raw.limit.as_ref().map(|l| l.it.into_u32());
        if backoff.initial > backoff.max {
            self.error(
                entry,
                "backoff",
                *at,
                "begins with a delay above its longest",
                "make `initial` at most `max` (60 s by default)",
            );
        }
        backoff
    }

    fn log(&mut self, entry: &Entry) -> LogRules {
        let mut log = LogRules::default();
        let Some(At { at, it: raw }) = &entry.raw.log else { return log };
        set(&mut log.segment_bytes, &raw.segment_size, |b| b.0);
        set(&mut log.total_bytes, &raw.total_size, |b| b.0);
        set(&mut log.compress, &raw.compress, |b| *b);
        if log.segment_bytes > log.total_bytes {
            self.error(
                entry,
                "log",
                *at,
                "allows a file that is larger than all files together",
                "make `segment_size` at most `total_size`",
            );
        }
        log
    }

    fn variables(
        &self,
        entry: &Entry,
        known: Option<&Known>,
        which: impl Fn(&RawDefaults) -> &Option<At<super::shape::Variables>>,
    ) -> BTreeMap<String, String> {
        let groups = self.registry.defaults(known).filter_map(|d| which(d).as_ref());
        let variables = groups.flat_map(|g| &g.it.0);
        variables
            .filter_map(|(name, value)| {
                Some((name.clone(), fill(&value.it, |key| self.template(entry, key))?))
            })
            .collect()
    }

    fn template(&self, entry: &Entry, key: &str) -> Option<String> {
        let (name, field) = key.rsplit_once('.').unwrap_or((entry.name.as_str(), key));
        if field == "name" {
            return Some(name.to_owned());
        }
        let (url, port) = self.addresses.get(name)?;
        if field == "url" { url.clone() } else { port.map(|p| p.to_string()) }
    }

    fn mode_flags(&self, known: Option<&Known>) -> Vec<String> {
        let lists = self.registry.defaults(known).filter_map(|d| d.mode_flags.as_ref());
        lists.flat_map(|l| &l.it).map(|name| name.it.clone()).collect()
    }

    fn probes(&mut self, entry: &Entry, known: Option<&Known>) -> Probes {
        let raw = entry.raw.probes.as_ref().map(|p| &p.it);
        let mut given = |name: &str, field: Option<&At<OrOff<RawProbe>>>| match field.map(|f| (f.at, &f.it)) {
            None => None,
            Some((_, OrOff::Off)) => Some(None),
            Some((at, OrOff::On(raw))) => Some(self.probe(entry, name, at, raw)),
        };
        let readiness = given("readiness", raw.and_then(|p| p.readiness.as_ref()));
        let startup = given("startup", raw.and_then(|p| p.startup.as_ref()));
        let liveness = given("liveness", raw.and_then(|p| p.liveness.as_ref()));
        let readiness =
            readiness.unwrap_or_else(|| default_check(entry, known).map(|check| usual(check, INTERVAL)));
        // What makes it ready is also what says that it has come up, only asked more often.
        let derived = || match readiness.as_ref().map(|p| &p.check)? {
            Check::Log { .. } | Check::Notify => None,
            check @ (Check::Http { .. } | Check::Tcp { .. } | Check::Exec { .. }) => {
                Some(usual(check.clone(), STARTUP_INTERVAL))
            }
        };
        let startup = startup.unwrap_or_else(derived);
        Probes { startup, readiness, liveness: liveness.flatten() }
    }

    fn probe(&mut self, entry: &Entry, name: &str, at: usize, raw: &RawProbe) -> Option<Probe> {
        let place = format!("probes.{name}");
        let mut checks: Vec<Check> = Vec::new();
        if let Some(http) = &raw.http {
            checks.extend(self.http(entry, &format!("{place}.http"), &http.it.0));
        }
        checks.extend(raw.tcp.as_ref().map(|k| Check::Tcp { host: k.it.host.clone(), port: k.it.port }));
        checks.extend(raw.exec.as_ref().map(|a| Check::Exec { command: a.it.0.clone() }));
        checks.extend(raw.log.as_ref().map(|p| Check::Log { pattern: p.it.clone() }));
        checks.extend(raw.notify.as_ref().filter(|n| n.it).map(|_| Check::Notify));
        if let Some(pattern) = &raw.log {
            let (line, column) = self.doc.place(pattern.at);
            let field = entry.place(&format!("{place}.log"));
            self.patterns.push(Pattern { line, column, field, pattern: pattern.it.clone() });
        }
        if checks.len() > 1 {
            self.error(
                entry,
                &place,
                at,
                "asks more than one thing",
                "a probe is one of http, tcp, exec, log, notify",
            );
        }
        let Some(check) = checks.into_iter().next() else {
            if raw.http.is_none() && !raw.faulty {
                self.error(
                    entry,
                    &place,
                    at,
                    "asks nothing",
                    "a probe is one of http, tcp, exec, log, notify; false switches it off",
                );
            }
            return None;
        };
        if name == "liveness" && matches!(check, Check::Log { .. } | Check::Notify) {
            let hint = "use http, tcp or exec; a watchdog by sd_notify (WATCHDOG=1) needs no probe";
            self.error(entry, &place, at, "cannot be asked again and again", hint);
        }
        let mut probe = usual(check, if name == "startup" { STARTUP_INTERVAL } else { INTERVAL });
        set(&mut probe.interval, &raw.interval, |t| t.0);
        set(&mut probe.timeout, &raw.timeout, |t| t.0);
        set(&mut probe.failures, &raw.failures, |n| n.into_u32());
        set(&mut probe.successes, &raw.successes, |n| n.into_u32());
        set(&mut probe.initial_delay, &raw.initial_delay, |t| t.0);
        Some(probe)
    }

    fn http(&mut self, entry: &Entry, field: &str, paths: &[At<String>]) -> Option<Check> {
        let (first, more) = paths.split_first()?;
        for path in more.iter().filter(|p| !p.it.starts_with('/')) {
            self.error(
                entry,
                field,
                path.at,
                format!("{} is not a path", quoted(&path.it)),
                "like \"/health\"",
            );
        }
        let url = if first.it.starts_with('/') {
            match entry.url() {
                Some(base) => Address::parse(&format!("{}{}", base.text, first.it)),
                None if entry.raw.faulty => return None,
                None => {
                    self.error(
                        entry,
                        field,
                        first.at,
                        "is a path, but the service has no url",
                        "give the whole url",
                    );
                    return None;
                }
            }
        } else {
            Address::parse(&first.it)
        };
        match url {
            Ok(url) => {
                Some(Check::Http { url: url.text, fallback: more.iter().map(|p| p.it.clone()).collect() })
            }
            Err(why) => {
                let message = format!("{} is neither a path nor a url: it {why}", quoted(&first.it));
                self.error(
                    entry,
                    field,
                    first.at,
                    message,
                    "like \"/health\" or \"http://localhost:5000/health\"",
                );
                None
            }
        }
    }

    fn error(&mut self, entry: &Entry, field: &str, at: usize, message: impl Into<String>, hint: &str) {
        self.doc.error(at, &entry.place(field), message, hint);
    }
}

/// Puts a given value over a default.
fn set<T, R>(target: &mut T, given: &Option<At<R>>, take: impl FnOnce(&R) -> T) {
    if let Some(given) = given {
        *target = take(&given.it);
    }
}

fn python_field(raw: &RawService) -> Option<(&'static str, usize)> {
    let python_bin = raw.python_bin.as_ref().map(|f| ("python_bin", f.at));
    python_bin.or_else(|| raw.run_script.as_ref().map(|f| ("run_script", f.at)))
}

fn usual(check: Check, interval: Duration) -> Probe {
    Probe {
        check,
        interval,
        timeout: TIMEOUT,
        failures: FAILURES,
        successes: 1,
        initial_delay: Duration::ZERO,
    }
}

fn default_check(entry: &Entry, known: Option<&Known>) -> Option<Check> {
    let url = entry.url()?;
    let paths = known.and_then(|k| k.defaults.health.as_ref()).map(|h| h.it.0.as_slice()).unwrap_or_default();
    let mut paths = paths.iter().map(|p| p.it.clone());
    let first = paths.next().unwrap_or_else(|| USUAL_HEALTH.to_owned());
    Some(Check::Http { url: format!("{}{first}", url.text), fallback: paths.collect() })
}

fn stop(entry: &Entry) -> StopPolicy {
    let mut stop = StopPolicy::default();
    if let Some(raw) = &entry.raw.stop {
        set(&mut stop.signal, &raw.it.signal, |s| s.0);
        set(&mut stop.grace, &raw.it.grace, |t| t.0);
    }
    stop
}

fn limits(entry: &Entry) -> Limits {
    let Some(At { it: raw, .. }) = &entry.raw.limits else { return Limits::default() };
    Limits {
        memory: raw.memory.as_ref().map(|n| n.it.0),
        cpu_weight: raw.cpu_weight.as_ref().map(|n| n.it.into_u32()),
        cpu_quota: raw.cpu_quota.as_ref().map(|n| n.it.into_u32()),
        pids: raw.pids.as_ref().map(|n| n.it.0),
        nofile: raw.nofile.as_ref().map(|n| n.it.0),
        core: raw.core.as_ref().map(|n| n.it.0),
    }
}

fn own_variables(entry: &Entry) -> BTreeMap<String, String> {
    let given = entry.raw.env.as_ref().map(|e| e.it.0.as_slice()).unwrap_or_default();
    given.iter().map(|(name, value)| (name.clone(), value.it.clone())).collect()
}
