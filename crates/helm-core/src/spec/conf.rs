//! `instance/helm.conf`: the seed's INI file, and Helm's own section in it.

use super::fault::{Doc, Severity, meant, quoted};
use super::plain::{One, Whole};
use super::shape::{Reader, Shape, fields};
use super::tree::{Kind, Member, Node, fits};
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
    }
}

/// Sections that belong to others (contract 3.6): their keys are not looked at.
const FOREIGN: [&str; 2] = ["database", "database_credentials"];
const OURS: &str = "helm";

/// Reads the settings; what is missing or bad has its default.
pub(super) fn read(doc: &mut Doc<'_>) -> Settings {
    let mut settings = Settings::default();
    let section = Node { at: 0, kind: Kind::Map(own_section(doc)) };
    let mut reader = Reader::new(doc, OURS, Severity::Error);
    let Some(raw) = RawSettings::read(&section, &mut reader) else { return settings };
    settings.peer_group = raw.peer_group.map(|g| g.it);
    settings.default_mode = raw.default_mode.map(|m| m.it.0);
    if let Some(n) = raw.start_cap {
        settings.start_cap = n.it.into_u32();
    }
    if let Some(n) = raw.probe_cap {
        settings.probe_cap = n.it.into_u32();
    }
    if let Some(n) = raw.events_kept {
        settings.events_kept = n.it.into_u32();
    }
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
    settings
}

/// The members of `[helm]`; faults of form elsewhere are reported on the way.
fn own_section(doc: &mut Doc<'_>) -> Vec<Member> {
    let mut members = Vec::new();
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
        match section.as_deref() {
            Some(OURS) => members.extend(member(doc, at, line)),
            Some(_) => {}
            None => doc.error(at, "", "stands before the first section", "begin with a line [helm]"),
        }
    }
    members
}

fn check_section(doc: &mut Doc<'_>, at: usize, line: &str, name: &str) {
    if name.is_empty() {
        doc.error(at, "", format!("{} is not a section", quoted(line)), "like [helm]");
    } else if name != OURS && !FOREIGN.contains(&name) {
        let hint = meant(name, [OURS].into_iter().chain(FOREIGN));
        doc.warn(at, name, "is not a section that Helm knows; it is not read", hint);
    }
}

fn member(doc: &mut Doc<'_>, at: usize, line: &str) -> Option<Member> {
    let Some(split) = line.find(['=', ':']) else {
        doc.error(at, OURS, format!("{} is not a setting", quoted(line)), "like start_cap = 32");
        return None;
    };
    let (name, value) = (line[..split].trim(), line[split + 1..].trim());
    let value_at = at + line.len() - line[split + 1..].trim_start().len();
    let value = Node { at: value_at, kind: Kind::Bare(value.to_owned()) };
    Some(Member { at, name: name.to_owned(), value })
}
