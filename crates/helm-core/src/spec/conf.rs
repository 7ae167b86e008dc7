//! `instance/helm.conf`: the seed's INI file, and Helm's own section in it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::{Doc, Severity, meant, quoted};
use super::group::Named;
use super::keep::Keep;
use super::plain::{Bytes, One, Time, Whole};
use super::resolve::set;
use super::roles;
use super::shape::{Reader, Shape, fields};
use super::tree::{Kind, Member, Node, fits};
use super::web::{self, WebSettings};
use crate::access::{Roles, Rules};
use crate::name::{AUDIT, ServiceName};
use crate::wish::Mode;

/// Helm's own settings, complete. docs/configuration.md explains them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Members of this group may use helmd's socket, beside its own user and root.
    pub peer_group: Option<String>,
    /// How many services start at the same time.
    pub start_cap: u32,
    /// How many probes are asked at the same time.
    pub probe_cap: u32,
    /// Mode of a service that was never started in another one; `None`: as helmd was started.
    pub default_mode: Option<Mode>,
    /// The delegated cgroup v2 directory for keepers and services; `None`: found by helmd itself.
    pub cgroup_tree: Option<String>,
    /// How many events are kept in memory for `helmctl events`.
    pub events_kept: u32,
    /// What is kept how long, by class of retention; a class that is not named is kept as `default`.
    pub retention: BTreeMap<String, Keep>,
    /// The store gives way, oldest first, while less than this is free on its disk, in bytes.
    pub free_floor: u64,
    /// A partition of the log is closed at so many entries (or 512 MiB, or a day): retention takes whole ones.
    pub partition_rows: u32,
    /// Closed partitions in PostgreSQL get an index of three letters each for texts.
    pub trigrams: bool,
    /// Numbers over time.
    pub metrics: MetricSettings,
    /// What people may, by role.
    pub roles: Roles,
    /// What helm-web asks for.
    pub web: WebSettings,
}

impl Settings {
    /// What decides who may do what.
    pub fn rules(&self) -> Rules {
        Rules { roles: self.roles.clone(), open_ingest: self.web.open_ingest }
    }
}

/// How numbers are sampled, and what of them is kept how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSettings {
    /// From one sample to the next.
    pub interval: Duration,
    /// Samples.
    pub raw: Duration,
    /// Minutes.
    pub minutes: Duration,
    /// Hours.
    pub hours: Duration,
}

impl Default for MetricSettings {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 86_400);
        Self { interval: Duration::from_secs(5), raw: days(1), minutes: days(14), hours: days(400) }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            peer_group: None,
            start_cap: 32,
            probe_cap: 64,
            default_mode: None,
            cgroup_tree: None,
            events_kept: 10_000,
            retention: BTreeMap::from([
                (DEFAULT_CLASS.to_owned(), Keep::default()),
                (AUDIT.to_owned(), AUDIT_KEPT),
            ]),
            free_floor: 1 << 30,
            partition_rows: 1 << 20,
            trigrams: false,
            metrics: MetricSettings::default(),
            roles: Roles::default(),
            web: WebSettings::default(),
        }
    }
}

fields! {
    /// Section `[helm]`.
    RawSettings {
        /// Members of this group may use helmd's socket. Default: only its own user and root.
        peer_group: String,
        /// How many services start at the same time. Default: 32.
        start_cap: Whole<1, 1000>,
        /// How many probes are asked at the same time. Default: 64.
        probe_cap: Whole<1, 1000>,
        /// `development` or `production`. Default: development, under systemd production.
        default_mode: One<Mode>,
        /// The delegated cgroup v2 directory for keepers and services. Default: found in mountinfo.
        cgroup_tree: String,
        /// How many events are kept for `helmctl events`. Default: 10000.
        events_kept: Whole<10, 1_000_000>,
        /// The store gives way, oldest first, while less than this is free on its disk. Default: 1G.
        free_floor: Bytes<0>,
        /// A partition of the log is closed at so many entries: retention takes whole ones. Default: 1048576.
        partition_rows: Whole<1000, 1_048_576>,
        /// Closed partitions in PostgreSQL get a trigram index for texts. Default: no.
        trigrams: bool,
    }
}

/// The longest time that anything is kept by age: a hundred years.
pub(super) const LONGEST: u64 = 36_525 * 86_400_000;

fields! {
    /// Section `[metrics]`.
    RawMetrics {
        /// From one sample to the next. Default: 5 s.
        interval: Time<1_000, 3_600_000>,
        /// How long samples are kept. Default: 1d.
        raw: Time<3_600_000, LONGEST>,
        /// How long minutes are kept. Default: 14d.
        minutes: Time<3_600_000, LONGEST>,
        /// How long hours are kept. Default: 400d.
        hours: Time<3_600_000, LONGEST>,
    }
}

/// The class of services that name none.
const DEFAULT_CLASS: &str = "default";
/// Who changed what is asked for longer than anything else.
const AUDIT_KEPT: Keep = Keep { age: Some(Duration::from_secs(400 * 86_400)), bytes: None };

/// Sections that belong to others (contract 3.6): their keys are not looked at.
const FOREIGN: [&str; 2] = ["database", "database_credentials"];
/// Sections that are read here.
const OURS: [&str; 5] = ["helm", "retention", "metrics", "roles", "web"];

/// Reads the settings; what is missing or bad has its default. `services`: those that are configured, where that could be read.
pub(super) fn read(doc: &mut Doc<'_>, services: Option<&[&ServiceName]>) -> Settings {
    let mut settings = Settings::default();
    let sections = own_sections(doc).map(|members| Node { at: 0, kind: Kind::Map(members) });
    let [own, retention, metrics, roles, web] = sections;
    helm(doc, &own, &mut settings);
    settings.roles = roles::read(doc, OURS[3], &roles, services);
    settings.web = web::read(doc, OURS[4], &web);
    if let Some(Named(classes)) =
        Named::<Keep>::read(&retention, &mut Reader::new(doc, OURS[1], Severity::Error))
    {
        for (class, keep) in classes {
            if crate::name::class(&class.it).is_err() {
                let message = format!("{} cannot name a class of retention", quoted(&class.it));
                doc.error(class.at, OURS[1], message, "use 1 to 32 of a-z, 0-9, `_` and `-`");
                continue;
            }
            settings.retention.insert(class.it, keep.it);
        }
    }
    if let Some(raw) = RawMetrics::read(&metrics, &mut Reader::new(doc, OURS[2], Severity::Error)) {
        set(&mut settings.metrics.interval, &raw.interval, |t| t.0);
        set(&mut settings.metrics.raw, &raw.raw, |t| t.0);
        set(&mut settings.metrics.minutes, &raw.minutes, |t| t.0);
        set(&mut settings.metrics.hours, &raw.hours, |t| t.0);
    }
    settings
}

fn helm(doc: &mut Doc<'_>, section: &Node, settings: &mut Settings) {
    let Some(raw) = RawSettings::read(section, &mut Reader::new(doc, OURS[0], Severity::Error)) else {
        return;
    };
    settings.peer_group = raw.peer_group.map(|g| g.it);
    settings.default_mode = raw.default_mode.map(|m| m.it.0);
    set(&mut settings.start_cap, &raw.start_cap, |n| n.into_u32());
    set(&mut settings.probe_cap, &raw.probe_cap, |n| n.into_u32());
    set(&mut settings.events_kept, &raw.events_kept, |n| n.into_u32());
    set(&mut settings.partition_rows, &raw.partition_rows, |n| n.into_u32());
    set(&mut settings.trigrams, &raw.trigrams, |yes| *yes);
    set(&mut settings.free_floor, &raw.free_floor, |n| n.0);
    match raw.cgroup_tree {
        Some(path) if !path.it.starts_with('/') => {
            let message = format!("{} is not an absolute path", quoted(&path.it));
            doc.error(
                path.at,
                "helm.cgroup_tree",
                message,
                "like /sys/fs/cgroup/user.slice/…/helm-tree.service",
            );
        }
        path => settings.cgroup_tree = path.map(|p| p.it),
    }
}

/// The members of each of our sections; faults of form elsewhere are reported on the way.
fn own_sections(doc: &mut Doc<'_>) -> [Vec<Member>; OURS.len()] {
    let mut members = [const { Vec::new() }; OURS.len()];
    if !fits(doc) {
        return members;
    }
    let text = doc.text;
    let mut section: Option<String> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = start + (line.len() - line.trim_start().len());
        start += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || line == "\u{feff}" {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            section = Some(name.strip_suffix(']').map_or_else(String::new, |n| n.trim().to_owned()));
            check_section(doc, at, line, section.as_deref().unwrap_or_default());
            continue;
        }
        let Some(section) = section.as_deref() else {
            doc.error(at, "", "stands before the first section", "begin with a line [helm]");
            continue;
        };
        if let Some(ours) = OURS.iter().position(|name| *name == section) {
            members[ours].extend(member(doc, OURS[ours], at, line));
        }
    }
    members
}

fn check_section(doc: &mut Doc<'_>, at: usize, line: &str, name: &str) {
    if name.is_empty() {
        doc.error(at, "", format!("{} is not a section", quoted(line)), "like [helm]");
    } else if !OURS.contains(&name) && !FOREIGN.contains(&name) {
        let hint = meant(name, OURS.into_iter().chain(FOREIGN));
        doc.warn(at, name, "is not a section that Helm knows; it is not read", hint);
    }
}

fn member(doc: &mut Doc<'_>, section: &str, at: usize, line: &str) -> Option<Member> {
    let Some(split) = line.find(['=', ':']) else {
        doc.error(at, section, format!("{} is not a setting", quoted(line)), "like start_cap = 32");
        return None;
    };
    let (name, value) = (line[..split].trim(), line[split + 1..].trim());
    let value_at = at + line.len() - line[split + 1..].trim_start().len();
    let value = Node { at: value_at, kind: Kind::Bare(value.to_owned()) };
    Some(Member { at, name: name.to_owned(), value })
}
