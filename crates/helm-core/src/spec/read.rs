//! The files of a home into one configuration, with every fault of all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::conf::{self, Settings};
use super::fault::{Doc, Fault, Severity, quoted};
use super::registry::Registry;
use super::resolve::{Entry, FilePlace, Pattern, Resolver};
use super::shape::{At, Reader, Shape};
use super::table::{RawMaster, RawService};
use super::tree::{self, Kind, Member};
use super::{LogRules, ServiceSpec, graph};
use crate::name::{AUDIT, ServiceName};

/// The text of one file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its path as faults are to show it.
    pub path: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// The files that make a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// `services.json`
    pub services: Source<'a>,
    /// `helm_services.json`: where it is, the services come from it, and `services.json` is the directory (contract 7.6).
    pub helm_services: Option<Source<'a>>,
    /// `master_services.json`
    pub master: Option<Source<'a>>,
    /// `apps_registry.json`
    pub registry: Option<Source<'a>>,
    /// `instance/helm.conf`
    pub conf: Option<Source<'a>>,
}

/// What reading gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The configuration; `None` when one of the faults is an error.
    pub config: Option<Config>,
    /// Where there is none: what can be looked at further nevertheless, so that one fault hides no others. Without the
    /// services that have a bad or unknown field: nothing may be concluded from what is missing there.
    pub draft: Option<Config>,
    /// All faults, in the order of the files.
    pub faults: Vec<Fault>,
}

/// A configuration that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The services in the order of the file, directory entries among them.
    pub services: Vec<ServiceSpec>,
    /// Helm's own settings.
    pub settings: Settings,
    /// What services are told about each other.
    pub directory: Vec<DirectoryEntry>,
    patterns: Vec<Pattern>,
    files: Vec<FilePlace>,
    /// The file that the services stand in.
    services_file: String,
}

/// One line of the directory that services receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its name.
    pub name: ServiceName,
    /// Where others find it: `master_services.json` first.
    pub url: Option<String>,
    /// Its port: `master_services.json` first.
    pub port: Option<u16>,
    /// Shown in Nexus's side panel.
    pub visible: bool,
    /// Shown to admins only.
    pub admin_only: bool,
    /// Shown to billing and admins only.
    pub billing_or_admin_only: bool,
}

/// A regular expression of a log probe and its place; the engine that will run it says whether it is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPattern<'a> {
    /// File.
    pub file: &'a str,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// Field.
    pub field: &'a str,
    /// The expression.
    pub pattern: &'a str,
}

/// Where a field stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// `services.core.path`
    pub field: String,
}

impl Config {
    /// Says the same, whatever the texts look like.
    pub fn means_the_same(&self, other: &Self) -> bool {
        let Self { services, settings, directory, patterns: _, files: _, services_file: _ } = self;
        *services == other.services && *settings == other.settings && *directory == other.directory
    }

    /// Where a field of a service that names a file stands: `path`, `command`, `start_command`, `python_bin`,
    /// `run_script`, `env_file`. Where it was left to its default: the entry.
    pub fn place_of(&self, service: &ServiceName, field: &str) -> Place {
        let own = self.files.iter().filter(|p| p.service == *service);
        let named =
            own.clone().find(|p| p.field == field).or_else(|| own.clone().find(|p| p.field.is_empty()));
        Place {
            file: self.services_file.clone(),
            line: named.map_or(0, |p| p.line),
            column: named.map_or(0, |p| p.column),
            // No field: the entry as a whole.
            field: if field.is_empty() {
                format!("services.{service}")
            } else {
                format!("services.{service}.{field}")
            },
        }
    }

    /// A service by name.
    pub fn service(&self, name: &str) -> Option<&ServiceSpec> {
        self.services.iter().find(|s| s.name.as_str() == name)
    }

    /// The patterns of all log probes.
    pub fn log_patterns(&self) -> impl Iterator<Item = LogPattern<'_>> {
        self.patterns.iter().map(|p| LogPattern {
            file: &self.services_file,
            line: p.line,
            column: p.column,
            field: &p.field,
            pattern: &p.pattern,
        })
    }
}

/// Reads a configuration. Pure: the texts are given, and `home` (absolute) is what relative paths start from.
pub fn read(home: &str, sources: &Sources<'_>) -> Reading {
    let mut services = doc(sources.services);
    let mut helm_services = sources.helm_services.map(doc);
    let mut master_doc = sources.master.map(doc);
    let mut registry_doc = sources.registry.map(doc);
    let mut conf_doc = sources.conf.map(doc);

    let registry = registry_doc.as_mut().map(Registry::read).unwrap_or_default();
    let master = master_doc.as_mut().map(master_entries).unwrap_or_default();
    let nexus = sources.registry.is_some();
    let listed = entries(&mut services, &registry, nexus);
    let (entries, flags) = match &mut helm_services {
        Some(doc) => (entries(doc, &registry, nexus), listed),
        None => (listed, Vec::new()),
    };
    let main = helm_services.as_mut().unwrap_or(&mut services);

    let addresses = addresses(&entries, &flags, &master);
    let mut resolver = Resolver {
        home,
        registry: &registry,
        addresses: &addresses,
        doc: main,
        classes: BTreeSet::from([LogRules::default().class, AUDIT.to_owned()]),
        patterns: Vec::new(),
        files: Vec::new(),
    };
    let mut specs: Vec<ServiceSpec> = entries.iter().map(|e| resolver.resolve(e)).collect();
    let (patterns, files) = (resolver.patterns, resolver.files);
    graph::connect(&mut specs, &entries, &registry, main);
    let sound: BTreeSet<ServiceName> =
        entries.iter().filter(|e| !e.raw.faulty).map(|e| e.name.clone()).collect();
    let services_file = main.path.to_owned();
    let main_is_broken = is_broken(main);
    overlay_flags(&mut specs, &flags);
    // A file that could not be read says nothing about the other one.
    let unread = entries.is_empty() && main_is_broken;
    let configured: Vec<&ServiceName> = specs.iter().map(|spec| &spec.name).collect();
    let configured = (!unread).then_some(&configured[..]);
    let settings = conf_doc.as_mut().map(|doc| conf::read(doc, configured)).unwrap_or_default();
    if let Some(doc) = master_doc.as_mut().filter(|doc| !(unread || master.is_empty() && is_broken(doc))) {
        compare(&specs, &master, doc);
    }
    let directory = directory(&specs, &flags, &master);

    let docs = [Some(services), helm_services, master_doc, registry_doc, conf_doc];
    let faults = docs.into_iter().flatten().flat_map(in_order).collect::<Vec<_>>();
    let broken = faults.iter().any(|f| f.severity == Severity::Error);
    let mut config = Config { services: specs, settings, directory, patterns, files, services_file };
    if !broken {
        return Reading { config: Some(config), draft: None, faults };
    }
    config.services.retain(|spec| sound.contains(&spec.name));
    Reading { config: None, draft: Some(config), faults }
}

fn doc(source: Source<'_>) -> Doc<'_> {
    Doc::new(source.path, source.text)
}

fn is_broken(doc: &Doc<'_>) -> bool {
    doc.faults.iter().any(|f| f.severity == Severity::Error)
}

fn in_order(doc: Doc<'_>) -> Vec<Fault> {
    let mut faults = doc.faults;
    faults.sort_by_key(|f| (f.line, f.column));
    faults
}

/// The members of the file's one object, `$schema` left out. `None`: one that is no object; it is named nevertheless.
fn top_level<T: Shape>(doc: &mut Doc<'_>, place: &str) -> Vec<(Member, Option<T>)> {
    let Some(node) = tree::parse(doc) else { return Vec::new() };
    let mut reader = Reader::new(doc, place, Severity::Error);
    let members = reader.members(&node).unwrap_or_default();
    let mut read = Vec::with_capacity(members.len());
    for member in members {
        match (&*member.name, &member.value.kind) {
            ("$schema", Kind::Text(_)) => {}
            _ => read.push((member.clone(), reader.field::<T>(member).map(|f| f.it))),
        }
    }
    read
}

/// `nexus`: the home is one of the ecosystem that Nexus serves, also where no service of that name says so.
fn entries(doc: &mut Doc<'_>, registry: &Registry, nexus: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (member, raw) in top_level::<RawService>(doc, "services") {
        let Some(name) = checked_name(doc, "services", &member) else { continue };
        let raw = raw.unwrap_or_else(|| RawService { faulty: true, ..RawService::default() });
        entries.push(Entry { name, at: member.at, raw });
    }
    if nexus || entries.iter().any(|entry| entry.name.as_str() == "nexus") {
        entries.iter().for_each(|entry| warn_reserved(doc, entry, registry));
    }
    entries
}

fn checked_name(doc: &mut Doc<'_>, place: &str, member: &Member) -> Option<ServiceName> {
    match ServiceName::new(&member.name) {
        Ok(name) if name.as_str() == AUDIT => {
            let message = format!("{} is the name of Helm's own audit trail", quoted(AUDIT));
            doc.error(member.at, place, message, "call the service otherwise");
            None
        }
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!("{} cannot name a service", quoted(&member.name));
            doc.error(member.at, place, message, "use 1 to 50 of a-z, 0-9, `_` and `-`");
            None
        }
    }
}

/// Names that Nexus serves itself: a service of that name cannot be reached through it (contract 2.1).
const RESERVED: [&str; 12] = [
    "api",
    "docs",
    "flasgger_static",
    "health",
    "helpdesk",
    "keycloak",
    "keycloak-callback",
    "login",
    "logout",
    "professional-services",
    "realms",
    "static",
];

fn warn_reserved(doc: &mut Doc<'_>, entry: &Entry, registry: &Registry) {
    // What the registry knows under such a name (Keycloak) is what Nexus serves there.
    let meant =
        registry.get(entry.name.as_str(), None).is_some() || entry.kind() == Some(entry.name.as_str());
    if RESERVED.contains(&entry.name.as_str()) && !meant {
        let message = "is a name that Nexus serves itself: the service cannot be reached through Nexus";
        doc.warn(entry.at, &format!("services.{}", entry.name), message, "give it another name");
    }
}

/// An entry of `master_services.json`.
struct Master {
    name: ServiceName,
    at: usize,
    raw: RawMaster,
}

impl Master {
    fn url(&self) -> Option<&str> {
        self.raw.url.as_ref().map(|u| u.it.text.as_str())
    }

    fn port(&self) -> Option<u16> {
        self.raw.port.as_ref().and_then(|p| u16::try_from(p.it.0).ok())
    }
}

fn master_entries(doc: &mut Doc<'_>) -> Vec<Master> {
    let mut read = Vec::new();
    for (member, raw) in top_level::<RawMaster>(doc, "master_services") {
        let name = checked_name(doc, "master_services", &member);
        read.extend(name.zip(raw).map(|(name, raw)| Master { name, at: member.at, raw }));
    }
    read
}

/// Url and port of everything that has a name: the master file first.
fn addresses(
    entries: &[Entry],
    flags: &[Entry],
    master: &[Master],
) -> BTreeMap<String, (Option<String>, Option<u16>)> {
    let mut all: BTreeMap<String, (Option<String>, Option<u16>)> = BTreeMap::new();
    for entry in flags.iter().chain(entries) {
        let known = all.entry(entry.name.to_string()).or_default();
        known.0 = entry.url().map(|u| u.text.clone()).or(known.0.take());
        known.1 = entry.port().or(known.1);
    }
    for entry in master {
        let known = all.entry(entry.name.to_string()).or_default();
        known.0 = known.0.take().or_else(|| entry.url().map(str::to_owned));
        known.1 = known.1.or(entry.port());
    }
    all
}

/// Who sees a service stands in `services.json` (contract 7.6), also where `helm_services.json` says what it runs.
fn overlay_flags(specs: &mut [ServiceSpec], flags: &[Entry]) {
    let flags: BTreeMap<&ServiceName, &Entry> = flags.iter().map(|e| (&e.name, e)).collect();
    let given = |flag: &Option<At<bool>>, own: &mut bool| *own = flag.as_ref().map_or(*own, |f| f.it);
    for spec in specs {
        if let Some(entry) = flags.get(&spec.name) {
            given(&entry.raw.visible, &mut spec.visible);
            given(&entry.raw.admin_only, &mut spec.admin_only);
            given(&entry.raw.billing_or_admin_only, &mut spec.billing_or_admin_only);
        }
    }
}

/// Warns where `master_services.json` tells the services something else than `services.json` tells Helm.
fn compare(specs: &[ServiceSpec], master: &[Master], doc: &mut Doc<'_>) {
    let by_name: BTreeMap<&ServiceName, &ServiceSpec> = specs.iter().map(|s| (&s.name, s)).collect();
    for entry in master {
        let place = |field: &str| format!("master_services.{}{field}", entry.name);
        let Some(spec) = by_name.get(&entry.name) else {
            let message = "is not in services.json; the services are told about it nevertheless";
            doc.warn(entry.at, &place(""), message, "");
            continue;
        };
        if let (Some(url), Some(own)) = (&entry.raw.url, &spec.url)
            && url.it.text != *own
        {
            let message = format!("services.json says {}; the services are told this one", quoted(own));
            doc.warn(url.at, &place(".url"), message, "make both files agree");
        }
        if let (Some(port), Some(own)) = (&entry.raw.port, spec.port)
            && port.it.0 != u64::from(own)
        {
            let message = format!("services.json says {own}; the services are told this one");
            doc.warn(port.at, &place(".port"), message, "make both files agree");
        }
    }
    let listed: BTreeSet<&ServiceName> = master.iter().map(|m| &m.name).collect();
    for spec in specs.iter().filter(|s| s.url.is_some() && !listed.contains(&s.name)) {
        let message = format!("has no `{}`; the services are told the url of services.json", spec.name);
        doc.warn(0, "master_services", message, "add it");
    }
}

fn directory(specs: &[ServiceSpec], flags: &[Entry], master: &[Master]) -> Vec<DirectoryEntry> {
    let masters: BTreeMap<&ServiceName, &Master> = master.iter().map(|m| (&m.name, m)).collect();
    let mut directory: Vec<DirectoryEntry> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut add = |name: &ServiceName,
                   url: Option<&str>,
                   port: Option<u16>,
                   [visible, admin_only, billing]: [bool; 3]| {
        if seen.insert(name.clone()) {
            let master = masters.get(name);
            directory.push(DirectoryEntry {
                name: name.clone(),
                url: master.and_then(|m| m.url()).or(url).map(str::to_owned),
                port: master.and_then(|m| m.port()).or(port),
                visible,
                admin_only,
                billing_or_admin_only: billing,
            });
        }
    };
    for spec in specs {
        add(
            &spec.name,
            spec.url.as_deref(),
            spec.port,
            [spec.visible, spec.admin_only, spec.billing_or_admin_only],
        );
    }
    for entry in flags {
        let flag = |f: &Option<At<bool>>, usual: bool| f.as_ref().map_or(usual, |f| f.it);
        let raw = &entry.raw;
        let shown =
            [flag(&raw.visible, true), flag(&raw.admin_only, false), flag(&raw.billing_or_admin_only, false)];
        add(&entry.name, entry.url().map(|u| u.text.as_str()), entry.port(), shown);
    }
    for entry in master {
        add(&entry.name, None, None, [true, false, false]);
    }
    directory
}
