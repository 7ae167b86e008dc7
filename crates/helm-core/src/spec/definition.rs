//! What a run's record keeps of the definition that the run was started by, for a later helmd: whether it is still the
//! same, and how the run is ended and its output kept once the service is configured no more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Check, Limits, LogRules, Program, ServiceSpec, StopPolicy, argv};
use crate::name::ServiceName;
use crate::wish::Mode;

/// See the module. Of values that every version can read, each with a default: a field that one version does not know
/// must not make the record of a live run unreadable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// Of all that a start uses (see [`fingerprint`]); empty: not known.
    pub fingerprint: String,
    /// Stop signal.
    pub signal: i32,
    /// From the signal to SIGKILL.
    pub grace: Duration,
    /// Size at which a log file is closed, bytes.
    pub segment_bytes: u64,
    /// Size of all its log files together, bytes.
    pub total_bytes: u64,
    /// Whether closed log files are compressed.
    pub compress: bool,
    /// Class of retention.
    pub class: String,
}

impl Default for Definition {
    fn default() -> Self {
        let (stop, log) = (StopPolicy::default(), LogRules::default());
        Self {
            fingerprint: String::new(),
            signal: stop.signal,
            grace: stop.grace,
            segment_bytes: log.segment_bytes,
            total_bytes: log.total_bytes,
            compress: log.compress,
            class: log.class,
        }
    }
}

impl Definition {
    /// Of a run that is started in `mode`.
    pub fn of(spec: &ServiceSpec, mode: Mode) -> Self {
        Self {
            fingerprint: fingerprint(spec, mode),
            signal: spec.stop.signal,
            grace: spec.stop.grace,
            segment_bytes: spec.log.segment_bytes,
            total_bytes: spec.log.total_bytes,
            compress: spec.log.compress,
            class: spec.log.class.clone(),
        }
    }
}

impl ServiceSpec {
    /// A service that runs and is configured no more: `definition` is what its run's record tells of it.
    pub fn removed(name: ServiceName, definition: Definition) -> Self {
        let Definition { fingerprint: _, signal, grace, segment_bytes, total_bytes, compress, class } =
            definition;
        Self {
            name,
            program: Some(Program::Removed),
            path: String::new(),
            url: None,
            port: None,
            listen: Vec::new(),
            visible: false,
            admin_only: false,
            billing_or_admin_only: false,
            depends_on: Vec::new(),
            outside: Vec::new(),
            restart: Default::default(),
            backoff: Default::default(),
            stop: StopPolicy { signal, grace },
            start_timeout: None,
            env_defaults: Default::default(),
            env_production: Default::default(),
            env_development: Default::default(),
            env_file: None,
            mode_flags: Vec::new(),
            env: Default::default(),
            probes: Default::default(),
            limits: Default::default(),
            log: LogRules { segment_bytes, total_bytes, compress, class, ..LogRules::default() },
        }
    }

    /// It is configured no more: what runs of it is looked after until it ends, and never started again.
    pub fn is_removed(&self) -> bool {
        matches!(self.program, Some(Program::Removed))
    }

    /// Its run, started by the definition with this fingerprint, would be another one if it were started now. What
    /// this version cannot compare is taken for the same.
    pub(crate) fn differs_from(&self, started_by: &str, mode: Mode) -> bool {
        started_by.starts_with(FORM) && !self.is_removed() && started_by != fingerprint(self, mode)
    }
}

/// Of another form, a fingerprint says nothing.
const FORM: &str = "2:";

/// One text for all definitions that start the same program in the same way; what only helmd itself uses (probes,
/// policies, dependencies) is not in it. What is not given counts for nothing, so that a field that is new in a later
/// version changes no fingerprint until somebody uses it.
fn fingerprint(spec: &ServiceSpec, mode: Mode) -> String {
    let mut sum = Sum::default();
    sum.add("cwd", &spec.path);
    argv(spec).iter().flatten().for_each(|word| sum.add("argv", word));
    let of_mode = match mode {
        Mode::Development => &spec.env_development,
        Mode::Production => &spec.env_production,
    };
    for (kind, variables) in [("default", &spec.env_defaults), ("mode", of_mode), ("env", &spec.env)] {
        for (name, value) in variables {
            sum.add(kind, name);
            sum.add("=", value);
        }
    }
    spec.env_file.iter().for_each(|file| sum.add("env_file", file));
    spec.mode_flags.iter().for_each(|flag| sum.add("mode_flag", flag));
    spec.listen.iter().for_each(|address| sum.add("listen", &address.to_string()));
    // Those of its cgroup are written while it runs.
    let Limits { memory: _, cpu_weight: _, cpu_quota: _, pids: _, nofile, core } = spec.limits;
    for (name, value) in [("nofile", nofile), ("core", core)] {
        value.iter().for_each(|value| sum.add(name, &value.to_string()));
    }
    // Only a start gives it the socket to notify by.
    let probes = [&spec.probes.startup, &spec.probes.readiness, &spec.probes.liveness];
    if probes.into_iter().flatten().any(|probe| probe.check == Check::Notify) {
        sum.add("notify", "");
    }
    format!("{FORM}{:016x}", sum.0)
}

/// FNV-1a. It tells an edit from none; nobody is kept out by it.
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, field: &str, value: &str) {
        for text in [field, value] {
            let length = (text.len() as u64).to_le_bytes();
            for byte in length.iter().chain(text.as_bytes()) {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::{http, name, probe, secs, svc};
    use crate::spec::{Probes, RestartPolicy};

    fn differs(edit: impl FnOnce(&mut ServiceSpec)) -> bool {
        let first = Definition::of(&svc("a"), Mode::Development);
        let mut edited = svc("a");
        edit(&mut edited);
        edited.differs_from(&first.fingerprint, Mode::Development)
    }

    fn variable(name: &str, value: &str) -> std::collections::BTreeMap<String, String> {
        [(name.to_owned(), value.to_owned())].into()
    }

    #[test]
    fn what_a_start_uses_counts() {
        assert!(!differs(|_| {}));
        assert!(differs(|s| s.program = Some(Program::Command(vec!["x".into(), "-v".into()]))));
        assert!(differs(|s| s.path = "/srv/y".into()));
        assert!(differs(|s| s.env = variable("A", "1")));
        assert!(differs(|s| s.env_defaults = variable("A", "1")));
        assert!(differs(|s| s.env_development = variable("A", "1")));
        assert!(differs(|s| s.env_file = Some(".env".into())));
        assert!(differs(|s| s.mode_flags = vec!["DEV_MODE".into()]));
        assert!(differs(|s| s.limits.nofile = Some(1024)));
        assert!(differs(|s| s.probes.readiness = Some(probe(Check::Notify, 1, 1))));
    }

    #[test]
    fn what_only_helmd_uses_and_the_other_mode_do_not() {
        assert!(!differs(|s| {
            s.probes = Probes { readiness: Some(probe(http("/health"), 1, 1)), ..Probes::default() };
            s.restart = RestartPolicy::Never;
            s.stop.grace = secs(60);
            s.start_timeout = Some(secs(1));
            s.log.compress = false;
            s.limits.memory = Some(1 << 20);
            s.visible = false;
            s.env_production = variable("A", "1");
        }));
    }

    #[test]
    fn words_do_not_run_into_each_other() {
        let of = |words: &[&str]| {
            let program = Some(Program::Command(words.iter().map(ToString::to_string).collect()));
            fingerprint(&ServiceSpec { program, ..svc("a") }, Mode::Development)
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }

    /// A change of this number tells every running service's operator after an upgrade that its definition is a former
    /// one: then change `FORM`, too.
    #[test]
    fn the_form_is_fixed() {
        assert_eq!(fingerprint(&svc("a"), Mode::Development), "2:ae3a10bbcf70cb68");
        assert!(!svc("a").differs_from("1:0000000000000000", Mode::Development));
        assert!(!svc("a").differs_from("", Mode::Development));
    }

    #[test]
    fn a_removed_service_is_ended_as_it_was_to_be() {
        let mut spec = svc("a");
        (spec.stop.signal, spec.stop.grace, spec.log.total_bytes) = (2, secs(60), 1 << 40);
        let record = serde_json::to_string(&Definition::of(&spec, Mode::Production)).unwrap();
        let removed = ServiceSpec::removed(name("a"), serde_json::from_str(&record).unwrap());
        assert!(removed.is_removed() && argv(&removed).is_none());
        assert_eq!((removed.stop, removed.log), (spec.stop, spec.log));
        // Of a version that knows less, or more.
        let other: Definition = serde_json::from_str(r#"{"signal": 3, "colour": "red"}"#).unwrap();
        assert_eq!(other, Definition { signal: 3, ..Definition::default() });
    }
}
