//! What is asked of a service, and how often: what its entry says, else what a url allows.

use std::time::Duration;

use super::address::Address;
use super::fault::quoted;
use super::group::OrOff;
use super::registry::Known;
use super::resolve::{Entry, Pattern, Resolver, set};
use super::shape::At;
use super::table::RawProbe;
use super::{Check, Probe, Probes};

const STARTUP_INTERVAL: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(10);
const FAILURES: u32 = 3;
const USUAL_HEALTH: &str = "/health";

impl Resolver<'_, '_> {
    pub(super) fn probes(&mut self, entry: &Entry, known: Option<&Known>) -> Probes {
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
    if let Some(port) = entry.helm_web() {
        // Its url may be the one behind a proxy.
        let url = format!("http://localhost:{port}{USUAL_HEALTH}");
        return Some(Check::Http { url, fallback: Vec::new() });
    }
    let url = entry.url()?;
    let paths = known.and_then(|k| k.defaults.health.as_ref()).map(|h| h.it.0.as_slice()).unwrap_or_default();
    let mut paths = paths.iter().map(|p| p.it.clone());
    let first = paths.next().unwrap_or_else(|| USUAL_HEALTH.to_owned());
    Some(Check::Http { url: format!("{}{first}", url.text), fallback: paths.collect() })
}
