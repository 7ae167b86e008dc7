//! A raw entry and the defaults of its ecosystem into a complete [`ServiceSpec`].

use std::collections::{BTreeMap, BTreeSet};

use super::address::Address;
use super::fault::{Doc, quoted};
use super::group::Variables;
use super::registry::{Known, RawDefaults, Registry, fill};
use super::scalar::absolute;
use super::shape::At;
use super::table::RawService;
use super::{Backoff, Limits, LogRules, Probes, Program, ServiceSpec, StopPolicy};
use crate::name::{self, CLASSES, ServiceName};

/// Sockets that are handed to a service.
const MOST_LISTENED: usize = 8;

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

    /// Does it name a program, good or bad?
    pub(super) fn has_command(&self) -> bool {
        self.raw.command.is_some() || self.raw.start_command.is_some()
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

/// A field that names a file, or (with an empty name) the entry itself, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FilePlace {
    pub(super) service: ServiceName,
    pub(super) field: &'static str,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What every entry is resolved against.
pub(super) struct Resolver<'r, 't> {
    pub(super) home: &'r str,
    pub(super) registry: &'r Registry,
    /// Url and port by name, for `${core.url}`.
    pub(super) addresses: &'r BTreeMap<String, (Option<String>, Option<u16>)>,
    pub(super) doc: &'r mut Doc<'t>,
    /// Classes of retention so far.
    pub(super) classes: BTreeSet<String>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) files: Vec<FilePlace>,
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
            listen: Vec::new(),
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
        if let Some(Program::HelmWeb { port }) = spec.program {
            self.place_helm_web(&mut spec, port);
        }
        self.listen(entry, &mut spec);
        if spec.program.is_some() {
            self.note_files(entry);
        }
        spec.probes = self.probes(entry, known);
        self.compare_ports(entry);
        spec
    }

    fn listen(&mut self, entry: &Entry, spec: &mut ServiceSpec) {
        let Some(At { at, it: listed }) = &entry.raw.listen else { return };
        spec.listen = listed.iter().map(|address| address.it.0).collect();
        let place = |n: usize| format!("listen[{n}]");
        for (n, address) in listed.iter().enumerate() {
            if listed[..n].iter().any(|before| before.it == address.it) {
                let message = format!("`{}` is listed twice", address.it.0);
                self.error(entry, &place(n), address.at, message, "");
            }
        }
        if listed.len() > MOST_LISTENED {
            let message = format!("has more than {MOST_LISTENED} addresses");
            self.error(entry, "listen", *at, message, "");
        }
        if spec.program.is_none() {
            let hint = "take it away, or give `command`";
            self.error(entry, "listen", *at, "is for a service that Helm runs", hint);
        }
    }

    /// Whether the files are there is for the shell to say; it is told where they are named.
    fn note_files(&mut self, entry: &Entry) {
        let raw = &entry.raw;
        let named = [
            ("", Some(entry.at)),
            ("path", raw.path.as_ref().map(|f| f.at)),
            ("command", raw.command.as_ref().map(|f| f.at)),
            ("start_command", raw.start_command.as_ref().map(|f| f.at)),
            ("python_bin", raw.python_bin.as_ref().map(|f| f.at)),
            ("run_script", raw.run_script.as_ref().map(|f| f.at)),
            ("env_file", raw.env_file.as_ref().map(|f| f.at)),
        ];
        for (field, at) in named {
            let Some(at) = at else { continue };
            let (line, column) = self.doc.place(at);
            self.files.push(FilePlace { service: entry.name.clone(), field, line, column });
        }
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
        set(&mut log.rule, &raw.rule, |rule| rule.0);
        set(&mut log.drop_health, &raw.drop_health, |drop| *drop);
        log.pattern = raw.pattern.as_ref().map(|p| p.it.clone());
        if let Some(class) = &raw.class {
            log.class = class.it.clone();
            if name::class(&class.it).is_err() {
                let message = format!("{} cannot name a class of retention", quoted(&class.it));
                self.error(entry, "log.class", class.at, message, "use 1 to 32 of a-z, 0-9, `_` and `-`");
            }
            self.classes.insert(class.it.clone());
            if self.classes.len() > CLASSES {
                let message = format!("{} is one class of retention too many", quoted(&class.it));
                self.error(
                    entry,
                    "log.class",
                    class.at,
                    message,
                    "there are at most 64, with `default` and `audit`",
                );
            }
        }
        if let (Some(_), Some(pattern)) = (&raw.rule, &raw.pattern) {
            self.error(entry, "log.pattern", pattern.at, "stands beside a `rule`", "take one of them away");
        }
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
        which: impl Fn(&RawDefaults) -> &Option<At<Variables>>,
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

    pub(super) fn error(
        &mut self,
        entry: &Entry,
        field: &str,
        at: usize,
        message: impl Into<String>,
        hint: &str,
    ) {
        self.doc.error(at, &entry.place(field), message, hint);
    }
}

/// Puts a given value over a default.
pub(super) fn set<T, R>(target: &mut T, given: &Option<At<R>>, take: impl FnOnce(&R) -> T) {
    if let Some(given) = given {
        *target = take(&given.it);
    }
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
