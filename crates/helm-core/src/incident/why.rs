//! Why a service is as it is: one sentence, what tells it, and what to do next. Of values alone.

use super::next::{self, Steps};
use super::{Incident, ProbeAnswer, Told, What, facts};
use crate::name::ServiceName;
use crate::status::{Health, ServiceStatus, State};
use crate::time::Wall;

/// An incident that is older is no answer to why it is as it is now: one line is enough.
const RECENT_NANOS: i64 = 3_600_000_000_000;
/// Answers of probes that are told.
const ANSWERS: usize = 2;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The service.
    pub status: &'a ServiceStatus,
    /// The time.
    pub now: Wall,
    /// Its newest incident.
    pub incident: Option<&'a Incident>,
    /// What its probes found lately, oldest first.
    pub answers: &'a [ProbeAnswer],
    /// What became of others because of the incident.
    pub aftermath: &'a [Told],
    /// What happened to its keeper, and is over.
    pub keeper: Option<&'a Told>,
    /// When it was last started, and why.
    pub started: Option<&'a Told>,
    /// It is not in the configuration that is in force.
    pub removed: bool,
    /// A configuration that was taken back and has to do with it.
    pub taken_back: Option<&'a Told>,
    /// Those for whom it waits, and whoever keeps them waiting in the end.
    pub needs: &'a [(&'a ServiceStatus, Option<&'a Incident>)],
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Whose.
    pub service: ServiceName,
    /// Nothing is to be done.
    pub well: bool,
    /// What is with it: `failed`, `runs`, `is not started`.
    pub verdict: String,
    /// Since when, or when it happened.
    pub at: Option<Wall>,
    /// Why, in a sentence without its name.
    pub cause: String,
    /// What tells it, most telling first.
    pub facts: Vec<Fact>,
    /// What to do next; empty: nothing.
    pub next: Vec<String>,
    /// The incident that this is about.
    pub incident: Option<u64>,
}

/// One thing that tells it. Neighbours with the same label belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What kind of thing: `last words`.
    pub label: String,
    /// When.
    pub at: Option<Wall>,
    /// What.
    pub text: String,
}

impl Fact {
    pub(super) fn plain(label: &str, text: String) -> Self {
        Self { label: label.into(), at: None, text }
    }

    pub(super) fn at(label: &str, at: Wall, text: String) -> Self {
        Self { label: label.into(), at: Some(at), text }
    }
}

impl Why {
    fn of(s: &Situation<'_>, verdict: &str, cause: String) -> Self {
        Self {
            service: s.status.name.clone(),
            well: false,
            verdict: verdict.into(),
            at: Some(s.status.since),
            cause,
            facts: Vec::new(),
            next: Vec::new(),
            incident: None,
        }
    }
}

/// Why it is as it is.
pub fn why(s: Situation<'_>) -> Why {
    let mut why = match s.status.state {
        State::Failed | State::Backoff | State::NotInstalled => down(&s),
        State::Blocked => waits(&s),
        State::External => taken(&s),
        State::Running | State::Starting => up(&s),
        State::Stopped | State::Stopping => stopped(&s),
    };
    why.facts.extend(s.taken_back.map(|told| Fact::at("configuration", told.at, told.text.clone())));
    why
}

/// The incident, where it tells why it is as it is now.
fn recent<'a>(s: &Situation<'a>) -> Option<&'a Incident> {
    s.incident.filter(|incident| is_recent(s, incident.mishap.at))
}

fn is_recent(s: &Situation<'_>, at: Wall) -> bool {
    s.now.0.saturating_sub(at.0) < RECENT_NANOS
}

/// It failed, and does not run.
fn down(s: &Situation<'_>) -> Why {
    let verdict = if s.status.state == State::Backoff { "failed" } else { "has failed" };
    let Some(incident) = s.incident else {
        let next = vec![format!("helmctl events {}", s.status.name)];
        return Why { next, ..Why::of(s, verdict, s.status.reason.clone()) };
    };
    let next = next::after(incident, Steps::of(s.status));
    match &incident.mishap.what {
        What::NotStarted { reason } | What::NotInstalled { reason } => {
            let cause = reason.clone();
            Why { next, cause, ..told(s, "could not be started", incident) }
        }
        What::Ended { .. } | What::Unwell { .. } => Why { next, ..told(s, verdict, incident) },
    }
}

fn told(s: &Situation<'_>, verdict: &str, incident: &Incident) -> Why {
    Why {
        at: Some(incident.mishap.at),
        facts: facts::of(incident, s.aftermath),
        incident: Some(incident.number),
        ..Why::of(s, verdict, incident.cause())
    }
}

/// Its process runs.
fn up(s: &Situation<'_>) -> Why {
    let status = s.status;
    let sick = matches!(status.health, Health::Unhealthy | Health::Unreachable);
    if !status.ready || sick {
        return not_ready(s);
    }
    if let Some(incident) = recent(s).filter(|_| status.restarts > 0) {
        let mut why = told(s, "failed, and runs again", incident);
        why.facts.insert(0, Fact::at("now", status.since, now_words(status)));
        why.next = next::after(incident, Steps::of(status));
        return why;
    }
    let well = status.health != Health::Degraded;
    let verdict = if well { "is well" } else { "runs, and is degraded" };
    let cause = if well { now_words(status) } else { status.health_message.clone() };
    let mut why = Why { well, ..Why::of(s, verdict, cause) };
    let started = s.started.filter(|started| is_recent(s, started.at));
    why.facts.extend(started.map(|told| Fact::at("started", told.at, told.text.clone())));
    why.facts.extend(s.keeper.map(|told| Fact::at("its keeper", told.at, told.text.clone())));
    why.facts.extend(status.warnings.iter().map(|warning| Fact::plain("warning", warning.clone())));
    why.facts.extend(last_incident(s));
    if !well {
        why.facts.extend(answers(s.answers));
        why.next = vec![format!("helmctl output {}", status.name)];
    }
    why
}

fn now_words(status: &ServiceStatus) -> String {
    let health = match status.health {
        Health::Unknown => String::new(),
        Health::Healthy | Health::Degraded | Health::Unhealthy | Health::Unreachable | Health::Starting => {
            format!(", {}", status.health.as_str())
        }
    };
    let pid = status.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    let ready = if status.ready { ", ready" } else { "" };
    format!("{}{ready}{health}{pid}", status.state.as_str())
}

fn last_incident(s: &Situation<'_>) -> Option<Fact> {
    let incident = s.incident?;
    let text = format!("{} (helmctl incidents show {})", incident.cause(), incident.number);
    Some(Fact::at("last incident", incident.mishap.at, text))
}

/// It runs and does not work, or not yet.
fn not_ready(s: &Situation<'_>) -> Why {
    let status = s.status;
    let verdict = match (status.state, status.ready) {
        (State::Starting, _) => "is starting, and not ready yet",
        (_, false) => "runs, and is not ready",
        (_, true) => "runs, and is not healthy",
    };
    let message = if status.health_message.is_empty() { &status.reason } else { &status.health_message };
    let mut why = Why::of(s, verdict, message.clone());
    why.facts = answers(s.answers);
    why.facts.extend(status.notify_status.iter().map(|said| Fact::plain("it says", said.clone())));
    why.facts.extend(s.keeper.map(|told| Fact::at("its keeper", told.at, told.text.clone())));
    why.next = vec![format!("helmctl output {}: what it does meanwhile", status.name)];
    if let Some(incident) = recent(s).filter(|_| status.restarts > 0) {
        why.facts.push(Fact::at("before that", incident.mishap.at, incident.cause()));
        why.facts.extend(facts::of(incident, s.aftermath));
        why.incident = Some(incident.number);
        why.next = next::after(incident, Steps::of(status));
    }
    why
}

fn answers(all: &[ProbeAnswer]) -> Vec<Fact> {
    let last = all.len().saturating_sub(ANSWERS);
    let fact = |answer: &ProbeAnswer| {
        let message = if answer.message.is_empty() { String::new() } else { format!(": {}", answer.message) };
        let text = format!("{} {}{message}", answer.probe.as_str(), answer.health.as_str());
        Fact::at("probe", answer.at, text)
    };
    all[last..].iter().map(fact).collect()
}

/// It waits for others.
fn waits(s: &Situation<'_>) -> Why {
    let status = s.status;
    let mut why = match &status.stuck {
        Some(stuck) => Why::of(s, "is not started", stuck.why.clone()),
        None => Why::of(s, "waits", status.reason.clone()),
    };
    for (need, incident) in s.needs {
        let state = need.state.as_str();
        let (at, text) = match incident {
            Some(incident) if !need.ready => (incident.mishap.at, format!("{state}: {}", incident.cause())),
            Some(_) | None => (need.since, format!("{state}: {}", need.reason)),
        };
        why.facts.push(Fact::at(need.name.as_str(), at, text));
        if let Some(incident) = incident.filter(|_| !need.ready) {
            why.facts.extend(facts::of(incident, &[]).into_iter().filter(|fact| fact.label == "last words"));
        }
    }
    let root = status.stuck.as_ref().map(|stuck| &stuck.root);
    let blamed = s.needs.iter().find(|(need, _)| Some(&need.name) == root).or(s.needs.first());
    why.next = match blamed {
        Some((need, _)) => {
            vec![format!("helmctl why {}: when it is up, {} is started by itself", need.name, status.name)]
        }
        None => vec![format!("helmctl status {}", status.name)],
    };
    why
}

/// Somebody else holds its port.
fn taken(s: &Situation<'_>) -> Why {
    let status = s.status;
    let mut why = Why::of(s, "is not started by Helm", status.reason.clone());
    why.facts.extend(answers(s.answers).pop().map(|newest| Fact { label: "who answers".into(), ..newest }));
    let name = &status.name;
    let free = match status.holder.as_ref().and_then(|holder| holder.pid) {
        Some(pid) => format!("end that process (kill {pid})"),
        None => "end that process".into(),
    };
    why.next = vec![
        format!("{free}: {name} is started as soon as the port is free"),
        format!("or give {name} another port in services.json, then helmctl reload"),
    ];
    why
}

/// It is not to run.
fn stopped(s: &Situation<'_>) -> Why {
    let status = s.status;
    let verdict = match (status.state, status.completed) {
        (State::Stopping, _) => "is stopping",
        (_, true) => "is done",
        (_, false) => "is stopped",
    };
    let mut why = Why { well: true, ..Why::of(s, verdict, status.reason.clone()) };
    why.facts.extend(last_incident(s));
    if s.removed {
        why.next =
            vec!["helmctl plan shows whether services.json has it; helmctl reload applies that".into()];
    } else if !status.completed && status.state == State::Stopped {
        why.next = vec![format!("helmctl start {}", status.name)];
    }
    why
}
