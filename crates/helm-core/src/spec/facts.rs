//! A definition as a list of fields with values in the words of the files, to be compared and shown.
//!
//! Every field of the types is taken apart by name: one that is new does not compile until it is listed here.

use std::collections::BTreeMap;

use super::scalar::{show_duration, show_size};
use super::{
    Backoff, Check, Limits, LogRules, MetricSettings, Probe, Probes, Program, ServiceSpec, Settings,
    StopPolicy, WebSettings, argv,
};
use crate::access::{Rights, Roles};
use crate::exit::signal_name;
use crate::secret;
use crate::wish::Mode;

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fact {
    /// `env.PORT`
    pub(super) field: String,
    /// Never shown as it is: it may be a secret.
    pub(super) value: String,
    /// The same without what may be a secret.
    pub(super) shown: String,
    /// A start uses it (as the fingerprint of a [`super::Definition`] has it): what runs does not notice.
    pub(super) starts: bool,
}

/// Collects facts.
#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn add(&mut self, field: impl Into<String>, starts: bool, value: Option<String>) {
        let Some(value) = value else { return };
        let shown = secret::without_passwords(&value).into_owned();
        self.0.push(Fact { field: field.into(), value, shown, starts });
    }

    /// In force at once.
    fn live(&mut self, field: &str, value: impl ToString) {
        self.add(field, false, Some(value.to_string()));
    }

    /// The same, where it is given.
    fn given(&mut self, field: &str, value: Option<impl ToString>) {
        self.add(field, false, value.map(|value| value.to_string()));
    }

    /// Used by a start.
    fn start(&mut self, field: &str, value: Option<impl ToString>) {
        self.add(field, true, value.map(|value| value.to_string()));
    }

    /// `starts`: not those of another mode than the service's own.
    fn variables(&mut self, place: &str, starts: bool, variables: &BTreeMap<String, String>) {
        for (name, value) in variables {
            let shown = secret::shown(name, value).into_owned();
            let field = format!("{place}.{name}");
            self.0.push(Fact { field, value: value.clone(), shown, starts });
        }
    }
}

/// Of a service that runs, or would, in `mode`.
pub(super) fn of_service(spec: &ServiceSpec, mode: Mode) -> Vec<Fact> {
    let ServiceSpec {
        name: _,
        program,
        path,
        url,
        port,
        listen,
        visible,
        admin_only,
        billing_or_admin_only,
        depends_on,
        outside,
        restart,
        backoff,
        stop,
        start_timeout,
        env_defaults,
        env_production,
        env_development,
        env_file,
        mode_flags,
        env,
        probes,
        limits,
        log,
    } = spec;
    let mut facts = Facts::default();
    let Some(program) = program else {
        // An entry of the directory has nothing else.
        facts.given("url", url.as_ref());
        facts.given("port", port.as_ref());
        flags(&mut facts, [*visible, *admin_only, *billing_or_admin_only]);
        return facts.0;
    };
    let words = argv(spec).map(|words| words.join(" "));
    facts.start(program_field(program), words);
    facts.start("path", Some(path));
    facts.given("url", url.as_ref());
    facts.given("port", port.as_ref());
    facts.start("listen", list(listen.iter().map(ToString::to_string)));
    flags(&mut facts, [*visible, *admin_only, *billing_or_admin_only]);
    let edge = |on: &super::Dependency| format!("{} ({})", on.service, on.condition.as_str());
    facts.given("depends_on", list(depends_on.iter().map(edge)));
    facts.given("outside", list(outside.iter().map(|on| format!("{}:{}", on.name, on.port))));
    facts.live("restart", restart.as_str());
    facts.of_backoff(backoff);
    let StopPolicy { signal, grace } = stop;
    facts.live("stop.signal", signal_name(*signal).map_or_else(|| signal.to_string(), str::to_owned));
    facts.live("stop.grace", show_duration(*grace));
    facts.given("start_timeout", start_timeout.map(show_duration));
    facts.variables("env", true, env);
    facts.start("env_file", env_file.as_ref());
    facts.variables("registry.env", true, env_defaults);
    facts.variables("registry.env_production", mode == Mode::Production, env_production);
    facts.variables("registry.env_development", mode == Mode::Development, env_development);
    facts.start("registry.mode_flags", list(mode_flags.iter().cloned()));
    facts.of_probes(probes);
    facts.of_limits(limits);
    facts.of_log(log);
    facts.0
}

impl Facts {
    fn of_backoff(&mut self, backoff: &Backoff) {
        let Backoff { initial, factor, max, jitter, reset_after, limit } = backoff;
        self.live("backoff.initial", show_duration(*initial));
        self.live("backoff.factor", factor);
        self.live("backoff.max", show_duration(*max));
        self.live("backoff.jitter", jitter);
        self.live("backoff.reset_after", show_duration(*reset_after));
        self.given("backoff.limit", limit.as_ref());
    }

    fn of_probes(&mut self, probes: &Probes) {
        let Probes { startup, readiness, liveness } = probes;
        let all = [("startup", startup), ("readiness", readiness), ("liveness", liveness)];
        for (kind, probe) in all {
            let Some(Probe { check, interval, timeout, failures, successes, initial_delay }) = probe else {
                continue;
            };
            let field = |name: &str| format!("probes.{kind}{name}");
            self.live(&field(""), check_words(check));
            self.live(&field(".interval"), show_duration(*interval));
            self.live(&field(".timeout"), show_duration(*timeout));
            self.live(&field(".failures"), failures);
            self.live(&field(".successes"), successes);
            self.live(&field(".initial_delay"), show_duration(*initial_delay));
        }
        // Only a start gives a service the socket to notify by.
        let notifies = all.iter().any(|(_, p)| p.as_ref().is_some_and(|p| p.check == Check::Notify));
        self.start("sd_notify", notifies.then_some("yes"));
    }

    fn of_limits(&mut self, limits: &Limits) {
        let Limits { memory, cpu_weight, cpu_quota, pids, nofile, core } = limits;
        // Those of a cgroup can be written while it runs, those of a process only before it begins.
        self.given("limits.memory", memory.map(show_size));
        self.given("limits.cpu_weight", cpu_weight.as_ref());
        self.given("limits.cpu_quota", cpu_quota.map(|quota| format!("{quota}%")));
        self.given("limits.pids", pids.as_ref());
        self.start("limits.nofile", nofile.as_ref());
        self.start("limits.core", core.map(show_size));
    }

    fn of_log(&mut self, log: &LogRules) {
        let LogRules { segment_bytes, total_bytes, compress, rule, pattern, class, drop_health } = log;
        self.live("log.segment_size", show_size(*segment_bytes));
        self.live("log.total_size", show_size(*total_bytes));
        self.live("log.compress", compress);
        self.live("log.rule", format!("{rule:?}").to_lowercase());
        self.given("log.pattern", pattern.as_ref());
        self.live("log.class", class);
        self.live("log.drop_health", drop_health);
    }
}

fn flags(facts: &mut Facts, [visible, admin_only, billing_or_admin_only]: [bool; 3]) {
    facts.live("visible", visible);
    facts.live("admin_only", admin_only);
    facts.live("billing_or_admin_only", billing_or_admin_only);
}

fn list(words: impl Iterator<Item = String>) -> Option<String> {
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn program_field(program: &Program) -> &'static str {
    match program {
        Program::Python { .. } => "run_script",
        Program::StartCommand(_) => "start_command",
        Program::Command(_) | Program::Shell(_) | Program::HelmWeb { .. } | Program::Removed => "command",
    }
}

fn check_words(check: &Check) -> String {
    match check {
        Check::Http { url, fallback } if fallback.is_empty() => format!("http {url}"),
        Check::Http { url, fallback } => format!("http {url} (else {})", fallback.join(", ")),
        Check::Tcp { host, port } => format!("tcp {host}:{port}"),
        Check::Exec { command } => format!("exec {}", command.join(" ")),
        Check::Log { pattern } => format!("log {pattern}"),
        Check::Notify => "notify".to_owned(),
    }
}

/// Of Helm's own settings.
pub(super) fn of_settings(settings: &Settings) -> Vec<Fact> {
    let Settings {
        peer_group,
        start_cap,
        probe_cap,
        default_mode,
        cgroup_tree,
        events_kept,
        retention,
        free_floor,
        partition_rows,
        trigrams,
        metrics,
        roles,
        web,
    } = settings;
    let mut facts = Facts::default();
    facts.given("helm.peer_group", peer_group.as_ref());
    facts.live("helm.start_cap", start_cap);
    facts.live("helm.probe_cap", probe_cap);
    facts.given("helm.default_mode", default_mode.map(Mode::as_str));
    facts.given("helm.cgroup_tree", cgroup_tree.as_ref());
    facts.live("helm.events_kept", events_kept);
    facts.live("helm.free_floor", show_size(*free_floor));
    facts.live("helm.partition_rows", partition_rows);
    facts.live("helm.trigrams", trigrams);
    for (class, keep) in retention {
        facts.live(&format!("retention.{class}"), keep);
    }
    let MetricSettings { interval, raw, minutes, hours } = metrics;
    for (name, time) in [("interval", interval), ("raw", raw), ("minutes", minutes), ("hours", hours)] {
        facts.live(&format!("metrics.{name}"), show_duration(*time));
    }
    of_roles(roles, &mut facts);
    of_web(web, &mut facts);
    facts.0
}

fn of_roles(roles: &Roles, facts: &mut Facts) {
    let Roles { technician, billing, client } = roles;
    for (role, Rights { sees, operates }) in
        [("technician", technician), ("billing", billing), ("client", client)]
    {
        facts.live(&format!("roles.{role}"), sees);
        facts.live(&format!("roles.{role}.operate"), operates);
    }
}

fn of_web(web: &WebSettings, facts: &mut Facts) {
    let WebSettings { allowed_hosts, public_url, trusted_uids, open_ingest, prefixes } = web;
    let uids: Vec<String> = trusted_uids.iter().map(ToString::to_string).collect();
    facts.live("web.allowed_hosts", allowed_hosts.join(", "));
    facts.given("web.public_url", public_url.as_ref());
    facts.live("web.trusted_uids", uids.join(", "));
    facts.live("web.open_ingest", open_ingest);
    facts.live("web.prefixes", prefixes.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{http, name, probe, secs, svc};
    use crate::spec::{Condition, Definition, Dependency, OutsideCheck, RestartPolicy};

    type Edit = fn(&mut ServiceSpec);

    fn one(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    fn variable() -> BTreeMap<String, String> {
        one("A", "1")
    }

    /// Every field of a service, each with an edit of it.
    const EDITS: [Edit; 36] = [
        |s| s.program = Some(Program::Command(vec!["x".into(), "-v".into()])),
        |s| s.program = Some(Program::Shell("x".into())),
        |s| s.program = Some(Program::HelmWeb { port: 5004 }),
        |s| s.path = "/srv/y".into(),
        |s| s.url = Some("http://a".into()),
        |s| s.port = None,
        |s| s.listen = vec!["127.0.0.1:5004".parse().unwrap()],
        |s| s.visible = false,
        |s| s.admin_only = true,
        |s| s.billing_or_admin_only = true,
        |s| s.depends_on = vec![Dependency { service: name("b"), condition: Condition::Ready }],
        |s| s.outside = vec![OutsideCheck { name: "redis".into(), port: 6379 }],
        |s| s.restart = RestartPolicy::Never,
        |s| s.backoff.initial = secs(7),
        |s| s.backoff.factor = 3.0,
        |s| s.backoff.max = secs(7),
        |s| s.backoff.jitter = 0.5,
        |s| s.backoff.reset_after = secs(7),
        |s| s.backoff.limit = Some(3),
        |s| s.stop.signal = 2,
        |s| s.stop.grace = secs(7),
        |s| s.start_timeout = Some(secs(7)),
        |s| s.env_defaults = variable(),
        |s| s.env_production = variable(),
        |s| s.env_development = variable(),
        |s| s.env_file = Some(".env".into()),
        |s| s.mode_flags = vec!["DEV_MODE".into()],
        |s| s.env = variable(),
        |s| s.probes.readiness = Some(probe(http("/health"), 1, 1)),
        |s| s.probes.startup = Some(probe(Check::Notify, 1, 1)),
        |s| s.limits.memory = Some(1 << 20),
        |s| s.limits.nofile = Some(1024),
        |s| s.limits.core = Some(0),
        |s| s.log.compress = false,
        |s| s.log.drop_health = false,
        |s| s.log.pattern = Some("(?<message>.*)".into()),
    ];

    #[test]
    fn no_edit_is_without_a_fact_and_what_a_start_uses_is_what_a_run_s_record_compares() {
        for mode in [Mode::Development, Mode::Production] {
            for (n, edit) in EDITS.iter().enumerate() {
                let old = svc("a");
                let mut new = svc("a");
                edit(&mut new);
                let (before, after) = (of_service(&old, mode), of_service(&new, mode));
                let differs = |facts: &[Fact], other: &[Fact]| {
                    let mut own = facts.iter().filter(|fact| !other.contains(fact));
                    (own.clone().count() > 0, own.any(|fact| fact.starts))
                };
                let (one, two) = (differs(&before, &after), differs(&after, &before));
                assert!(one.0 || two.0, "edit {n} is not seen");
                let record = |spec: &ServiceSpec| Definition::of(spec, mode).fingerprint;
                assert_eq!(one.1 || two.1, record(&old) != record(&new), "edit {n} in {mode:?}");
            }
        }
    }

    #[test]
    fn a_secret_is_compared_and_not_shown_wherever_it_stands() {
        let masked = "postgres://me:********@db/x";
        let edits: [(&str, Edit, String); 9] = [
            (
                "command",
                |s| s.program = Some(Program::Command(vec!["x".into(), "postgres://me:geheim@db/x".into()])),
                format!("x {masked}"),
            ),
            (
                "command",
                |s| s.program = Some(Program::Shell("x --db-password=geheim -v".into())),
                "/bin/sh -c x --db-password=******** -v".into(),
            ),
            ("url", |s| s.url = Some("http://me:geheim@web/".into()), "http://me:********@web/".into()),
            (
                "probes.readiness",
                |s| {
                    let url = "http://me:geheim@a/".to_owned();
                    let fallback = vec!["http://me:geheim@b/".to_owned()];
                    s.probes.readiness = Some(probe(Check::Http { url, fallback }, 1, 1));
                },
                "http http://me:********@a/ (else http://me:********@b/)".into(),
            ),
            (
                "probes.liveness",
                |s| {
                    let command = vec!["psql".into(), "postgres://me:geheim@db/x".into()];
                    s.probes.liveness = Some(probe(Check::Exec { command }, 1, 1));
                },
                format!("exec psql {masked}"),
            ),
            ("env.DB_PASSWORD", |s| s.env = one("DB_PASSWORD", "geheim"), "********".into()),
            ("env.api_key", |s| s.env = one("api_key", "geheim"), "********".into()),
            ("env.DB", |s| s.env = one("DB", "postgres://me:geheim@db/x"), masked.into()),
            ("env.CORE", |s| s.env = one("CORE", "http://core:5000/a@b"), "http://core:5000/a@b".into()),
        ];
        for (field, edit, shown) in edits {
            let mut spec = svc("a");
            edit(&mut spec);
            let facts = of_service(&spec, Mode::Development);
            let fact = facts.iter().find(|fact| fact.field == field).unwrap();
            assert_eq!(fact.shown, shown, "{field}");
            assert!(
                field == "env.CORE" || fact.value.contains("geheim"),
                "{field} is compared: {}",
                fact.value
            );
        }
    }
}
