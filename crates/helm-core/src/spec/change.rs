//! What is different between two configurations: in the words of the files, and what each difference needs to be in force.
//!
//! Both are compared as they are meant: spaces, the order of keys and a default that is written out are no difference.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::{self, Fact};
use super::{Config, ServiceSpec};
use crate::name::ServiceName;
use crate::wish::Mode;

/// What a difference needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Nothing: it is in force at once.
    Live,
    /// What runs must be started again: only a start uses it.
    Restart,
    /// It is new, and is to be started.
    Start,
    /// It is configured no more, and is to be stopped.
    Stop,
}

impl Need {
    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Need::Live => "live",
            Need::Restart => "restart",
            Need::Start => "start",
            Need::Stop => "stop",
        }
    }
}

/// What became of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was not configured before.
    Added,
    /// It is configured no more.
    Removed,
    /// It is another one.
    Changed,
}

impl Kind {
    /// The name on every wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Added => "added",
            Kind::Removed => "removed",
            Kind::Changed => "changed",
        }
    }
}

/// One field that is different. A value that may be a secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// `env.PORT`, `probes.readiness`
    pub field: String,
    /// `None`: it was not given.
    pub old: Option<String>,
    /// `None`: it is given no more.
    pub new: Option<String>,
    /// What this field alone needs.
    pub need: Need,
}

/// One service that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceChange {
    /// Its name.
    pub name: ServiceName,
    /// What became of it.
    pub kind: Kind,
    /// What it needs: the most that one of its fields does.
    pub need: Need,
    /// What is different, in the order of docs/services.md.
    pub fields: Vec<FieldChange>,
}

/// All that is different.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Services: what each depends on stands before it, so that this is the order of starts and restarts.
    pub services: Vec<ServiceChange>,
    /// Helm's own settings.
    pub settings: Vec<FieldChange>,
    /// What services are told about each other is different.
    pub directory: bool,
}

impl Changes {
    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.settings.is_empty() && !self.directory
    }

    /// The services that need this, in order.
    pub fn that_need(&self, need: Need) -> impl Iterator<Item = &ServiceChange> {
        self.services.iter().filter(move |change| change.need == need)
    }
}

/// Compares `old`, which is in force, with `new`. `mode`: in which mode a service runs, or would.
pub fn changes(old: &Config, new: &Config, mode: impl Fn(&ServiceName) -> Mode) -> Changes {
    let removed = old.services.iter().filter(|spec| new.service(spec.name.as_str()).is_none());
    let services = removed
        .map(|spec| (Some(spec), None))
        .chain(in_order(&new.services).into_iter().map(|spec| (old.service(spec.name.as_str()), Some(spec))));
    Changes {
        services: services.filter_map(|(old, new)| service(old, new, &mode)).collect(),
        settings: different(&facts::of_settings(&old.settings), &facts::of_settings(&new.settings)),
        directory: old.directory != new.directory,
    }
}

/// What each depends on comes before it; else the order of the file. (A cycle is refused by the reader; here it must only
/// not hang.)
fn in_order(specs: &[ServiceSpec]) -> Vec<&ServiceSpec> {
    let by_name: BTreeMap<&ServiceName, &ServiceSpec> = specs.iter().map(|s| (&s.name, s)).collect();
    let (mut seen, mut order) = (BTreeSet::new(), Vec::with_capacity(specs.len()));
    for spec in specs {
        // Each with whether what it needs has been put before it already.
        let mut todo = vec![(spec, false)];
        while let Some((spec, ready)) = todo.pop() {
            if ready {
                order.push(spec);
            } else if seen.insert(&spec.name) {
                todo.push((spec, true));
                let needed = spec.depends_on.iter().rev().filter_map(|d| by_name.get(&d.service));
                todo.extend(needed.map(|needed| (*needed, false)));
            }
        }
    }
    order
}

/// What is told of a service that is new; the rest stands in the file, or is as usual.
const SAID_OF_NEW: [&str; 7] =
    ["command", "run_script", "start_command", "path", "url", "port", "depends_on"];

fn service(
    old: Option<&ServiceSpec>,
    new: Option<&ServiceSpec>,
    mode: impl Fn(&ServiceName) -> Mode,
) -> Option<ServiceChange> {
    let some = new.or(old)?;
    let mode = mode(&some.name);
    let of = |spec: Option<&ServiceSpec>| spec.map(|spec| facts::of_service(spec, mode)).unwrap_or_default();
    let mut fields = different(&of(old), &of(new));
    let runs = |spec: Option<&ServiceSpec>| spec.is_some_and(|spec| spec.program.is_some());
    let need = match (runs(old), runs(new)) {
        (false, true) => Need::Start,
        (true, false) => Need::Stop,
        (true, true) => fields.iter().map(|field| field.need).max()?,
        // An entry of the directory: nothing runs of it.
        (false, false) => Need::Live,
    };
    let kind = match (old, new) {
        (None, _) => Kind::Added,
        (_, None) => Kind::Removed,
        (Some(_), Some(_)) if fields.is_empty() => return None,
        (Some(_), Some(_)) => Kind::Changed,
    };
    match kind {
        Kind::Added => fields.retain(|field| SAID_OF_NEW.contains(&field.field.as_str())),
        Kind::Removed => fields.clear(),
        Kind::Changed => {}
    }
    Some(ServiceChange { name: some.name.clone(), kind, need, fields })
}

/// In the order of the new ones; what is gone comes last.
fn different(old: &[Fact], new: &[Fact]) -> Vec<FieldChange> {
    let find = |facts: &'_ [Fact], field: &str| facts.iter().position(|fact| fact.field == field);
    let change = |old: Option<&Fact>, new: Option<&Fact>| {
        let fact = new.or(old)?;
        (old.map(|f| &f.value) != new.map(|f| &f.value)).then(|| FieldChange {
            field: fact.field.clone(),
            old: old.map(|fact| fact.shown.clone()),
            new: new.map(|fact| fact.shown.clone()),
            need: if fact.starts { Need::Restart } else { Need::Live },
        })
    };
    let there = new.iter().filter_map(|fact| change(find(old, &fact.field).map(|i| &old[i]), Some(fact)));
    let gone = old.iter().filter(|fact| find(new, &fact.field).is_none());
    there.chain(gone.filter_map(|fact| change(Some(fact), None))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Source, Sources, read};

    fn config(services: &str, conf: &str) -> Config {
        let services = Source { path: "services.json", text: services };
        let conf = Some(Source { path: "instance/helm.conf", text: conf });
        let sources = Sources { services, helm_services: None, master: None, registry: None, conf };
        let reading = read("/home", &sources);
        reading.config.unwrap_or_else(|| panic!("{:?}", reading.faults))
    }

    fn between(old: &str, new: &str) -> Changes {
        changes(&config(old, ""), &config(new, ""), |_| Mode::Development)
    }

    /// `web changed restart: command x -> y [restart]`
    fn words(changes: &Changes) -> Vec<String> {
        let field = |f: &FieldChange| {
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".into());
            format!("{} {} > {} [{}]", f.field, side(&f.old), side(&f.new), f.need.as_str())
        };
        let line = |c: &ServiceChange| {
            let fields: Vec<String> = c.fields.iter().map(field).collect();
            format!("{} {} {}: {}", c.name, c.kind.as_str(), c.need.as_str(), fields.join("; "))
        };
        changes.services.iter().map(line).chain(changes.settings.iter().map(field)).collect()
    }

    /// From one service `a` to another.
    fn edit(old: &str, new: &str) -> String {
        let of = |fields: &str| format!("{{\"a\": {{\"command\": [\"x\"]{fields}}}}}");
        words(&between(&of(old), &of(new))).join("\n")
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        let old = r#"{"a": {"command": ["x"], "port": 5000, "env": {"A": "1", "B": "2"}}, "b": {"url": "http://b"}}"#;
        let new = r#"{
            "a": {"env": {"B": "2", "A": "1"}, "restart": "always", "stop": {"signal": "SIGTERM"},
                  "port": 5000, "command": ["x"], "log": {"segment_size": "16384K"}},
            "b": {"url": "http://b"}
        }"#;
        assert_eq!(between(old, new), Changes::default());
    }

    #[test]
    fn each_field_is_told_with_what_it_needs() {
        for (old, new, told) in [
            ("", r#", "restart": "never""#, "a changed live: restart always > never [live]"),
            (
                r#", "stop": {"grace": "10s"}"#,
                r#", "stop": {"grace": "90s"}"#,
                "a changed live: stop.grace 10s > 90s [live]",
            ),
            ("", r#", "log": {"class": "audit"}"#, "a changed live: log.class default > audit [live]"),
            ("", r#", "limits": {"memory": "64M"}"#, "a changed live: limits.memory - > 64M [live]"),
            ("", r#", "limits": {"nofile": 99}"#, "a changed restart: limits.nofile - > 99 [restart]"),
            (
                r#", "env": {"A": "1", "B": "2"}"#,
                r#", "env": {"A": "3", "C": "4"}"#,
                "a changed restart: env.A 1 > 3 [restart]; env.C - > 4 [restart]; env.B 2 > - [restart]",
            ),
            (
                r#", "probes": {"liveness": {"tcp": 80}}"#,
                r#", "probes": {"liveness": {"tcp": 81, "interval": "1s"}}"#,
                "a changed live: probes.liveness tcp 127.0.0.1:80 > tcp 127.0.0.1:81 [live]; probes.liveness.interval 15s > 1s [live]",
            ),
        ] {
            assert_eq!(edit(old, new), told);
        }
    }

    #[test]
    fn secrets_are_compared_and_not_told() {
        let said = edit(
            r#", "env": {"DB_PASSWORD": "geheim1", "URL": "pg://me:geheim3@db/x"}"#,
            r#", "env": {"DB_PASSWORD": "geheim2", "URL": "pg://me:geheim4@db/x"}"#,
        );
        assert!(said.contains("env.DB_PASSWORD ******** > ********"), "{said}");
        assert!(said.contains("env.URL pg://me:********@db/x > pg://me:********@db/x"), "{said}");
        assert!(!said.contains("geheim"), "{said}");
    }

    #[test]
    fn services_come_go_and_turn_into_addresses() {
        let changed = between(
            r#"{"gone": {"command": ["x"]}, "turns": {"command": ["x"], "url": "http://t"}, "old": {"url": "http://o"}}"#,
            r#"{"turns": {"url": "http://t"}, "new": {"command": ["y", "z"]}, "at": {"url": "http://at"}}"#,
        );
        let firsts: Vec<String> =
            words(&changed).iter().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
        let all = [
            "gone removed stop",
            "old removed live",
            "turns changed stop",
            "new added start",
            "at added live",
        ];
        assert_eq!(firsts, all);
        assert!(changed.directory);
        assert!(words(&changed)[3].contains("command - > y z"), "{:?}", words(&changed)[3]);
    }

    #[test]
    fn what_is_needed_comes_before_who_needs_it() {
        let with = |value: u32| {
            format!(
                r#"{{"web": {{"command": ["x"], "env": {{"V": "{value}"}}, "depends_on": ["api", "db"]}},
                    "api": {{"command": ["x"], "env": {{"V": "{value}"}}, "depends_on": ["db"]}},
                    "db": {{"command": ["x"], "env": {{"V": "{value}"}}}}}}"#
            )
        };
        let changed = between(&with(1), &with(2));
        let order: Vec<&str> = changed.that_need(Need::Restart).map(|c| c.name.as_str()).collect();
        assert_eq!(order, ["db", "api", "web"]);
    }

    #[test]
    fn settings_are_in_force_with_the_reload() {
        let services = r#"{"a": {"command": ["x"]}}"#;
        let old = config(services, "[helm]\nstart_cap = 4\n[retention]\naudit = 30d\nold = 1d\n");
        let new = config(services, "[helm]\nstart_cap = 8\n[metrics]\nraw = 2d\n");
        assert_eq!(
            words(&changes(&old, &new, |_| Mode::Development)),
            [
                "helm.start_cap 4 > 8 [live]",
                "retention.audit 30d > 400d [live]",
                "metrics.raw 1d > 2d [live]",
                "retention.old 1d > - [live]"
            ]
        );
    }
}
