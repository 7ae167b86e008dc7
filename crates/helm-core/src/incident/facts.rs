//! The evidence of an incident, line by line.

use std::time::Duration;

use super::why::Fact;
use super::words::bytes;
use super::{Follows, Incident, Oom, Told, What};
use crate::exit::Exit;
use crate::status::Health;
use crate::unit::span;

/// Lines of output that are told; all of them are in the incident.
const LAST_WORDS: usize = 3;
/// Work that is less is no news.
const WORTH_TELLING: Duration = Duration::from_millis(100);
/// Changes of before, and consequences.
const TOLD: usize = 2;

/// What tells how it came to it, most telling first.
pub(super) fn of(incident: &Incident, aftermath: &[Told]) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(kernel(incident));
    facts.extend(ran(incident));
    facts.extend(probes(incident));
    facts.extend(last_words(incident));
    facts.extend(told("shortly before", incident.evidence.before.iter().rev().take(TOLD).rev()));
    facts.extend(told("because of it", aftermath.iter().take(TOLD)));
    if let Some(more) = aftermath.len().checked_sub(TOLD + 1) {
        facts.push(Fact::plain("because of it", format!("and {} more", more + 1)));
    }
    facts
}

/// Memory, and whether the kernel ended it for that.
fn kernel(incident: &Incident) -> Vec<Fact> {
    let evidence = &incident.evidence;
    let killed = incident.mishap.exit() == Some(Exit::Signal(9));
    let ended = matches!(incident.mishap.what, What::Ended { .. });
    let said = match &evidence.oom {
        Oom::Counted(processes @ 1..) => Some(format!(
            "killed {} for memory{}",
            if *processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") },
            evidence
                .memory_limit
                .map_or(String::new(), |limit| format!(": the limit of its cgroup is {}", bytes(limit))),
        )),
        Oom::Logged(line) => Some(format!("says: {line}")),
        Oom::No if killed && ended => Some("did not kill it for memory: somebody sent SIGKILL".into()),
        Oom::Unknown if killed && ended => {
            Some("whether it killed it for memory cannot be read here; else somebody sent SIGKILL".into())
        }
        Oom::Counted(_) | Oom::No | Oom::Unknown => None,
    };
    let memory = evidence.memory_words().filter(|_| ended && (killed || incident.out_of_memory()));
    let memory = memory.map(|memory| Fact::plain("memory", memory));
    memory.into_iter().chain(said.map(|said| Fact::plain("kernel", said))).collect()
}

/// How long it ran, what it used, and what follows.
fn ran(incident: &Incident) -> Option<Fact> {
    let (What::Ended { ran, .. } | What::Unwell { ran, .. }) = &incident.mishap.what else { return None };
    let mut text = span(*ran);
    if let Some(cpu) = incident.evidence.cpu.filter(|cpu| *cpu >= WORTH_TELLING) {
        text = format!("{text} (worked {})", span(cpu));
    }
    Some(Fact::plain("ran", format!("{text}; {}", incident.mishap.follows.words())))
}

impl Follows {
    /// What was done about it: `starts again at once`.
    pub fn words(self) -> String {
        match self {
            Follows::Again => "started again at once".into(),
            Follows::After { delay, number: 1 } => format!("to be started again after {}", span(delay)),
            Follows::After { delay, number } => {
                format!("to be started again after {} (failure {number} in a row)", span(delay))
            }
            Follows::GaveUp { failures: 1 } => "Helm gave up, as its backoff.limit says".into(),
            Follows::GaveUp { failures } => format!("Helm gave up after {failures} failures in a row"),
            Follows::Stays => "Helm does not start it again by itself".into(),
        }
    }
}

/// What the probes found, where that has to do with it.
fn probes(incident: &Incident) -> Vec<Fact> {
    let answers = &incident.evidence.answers;
    let unwell = matches!(incident.mishap.what, What::Unwell { .. });
    let Some(newest) = answers.last().filter(|newest| unwell || newest.health != Health::Healthy) else {
        return Vec::new();
    };
    let bad = |health: Health| !matches!(health, Health::Healthy | Health::Degraded);
    let times = answers.iter().rev().take_while(|answer| bad(answer.health) == bad(newest.health)).count();
    let times = if times > 1 { format!(" ({times} times in a row)") } else { String::new() };
    let kind = newest.probe.as_str();
    let mut facts = vec![Fact::at(
        "last probe",
        newest.at,
        format!("{kind} {}{times}: {}", newest.health.as_str(), newest.message),
    )];
    let good = answers.iter().rev().find(|answer| !bad(answer.health)).filter(|_| bad(newest.health));
    facts.extend(good.map(|good| {
        Fact::at("last good probe", good.at, format!("{} {}", good.probe.as_str(), good.health.as_str()))
    }));
    facts
}

fn last_words(incident: &Incident) -> Vec<Fact> {
    let ran = matches!(incident.mishap.what, What::Ended { .. } | What::Unwell { .. });
    let lines: Vec<_> = incident.evidence.lines.iter().filter(|line| !line.text.trim().is_empty()).collect();
    if lines.is_empty() && ran {
        return vec![Fact::plain("last words", "none: it printed nothing".into())];
    }
    let last = lines.len().saturating_sub(LAST_WORDS);
    lines[last..].iter().map(|line| Fact::at("last words", line.at, line.text.clone())).collect()
}

fn told<'a>(label: &'static str, all: impl Iterator<Item = &'a Told>) -> Vec<Fact> {
    all.map(|told| {
        let whose = told.service.as_ref().map_or(String::new(), |service| format!("{service} "));
        Fact::at(label, told.at, format!("{whose}{}", told.text))
    })
    .collect()
}
