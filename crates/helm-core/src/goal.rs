//! Is what an operator asked for done? Judged from the read model alone, so that helmd, a client and a test agree.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::name::ServiceName;
use crate::status::{Health, RunId, ServiceStatus, State};
use crate::time::Mono;
use crate::unit::holder_words;

const SIGKILL: i32 = 9;

/// How long a new run that no probe speaks for must live before its asker is told `started`. Programs that die of a
/// wrong argument or a missing file do so within tens of milliseconds; a person hardly notices half a second.
pub const TRIAL: Duration = Duration::from_millis(500);

/// Judges for one asker over time: a new run without a probe is on trial first. Dependents do not wait for that.
#[derive(Debug, Default)]
pub struct Trials {
    /// The newest run on trial, and until when, by service.
    until: BTreeMap<ServiceName, (RunId, Mono)>,
}

impl Trials {
    /// Like [`judge`], but a run on trial is still to come.
    pub fn judge(
        &mut self,
        goal: &Goal,
        status: &ServiceStatus,
        at_begin: &ServiceStatus,
        now: Mono,
    ) -> Verdict {
        let verdict = judge(goal, status, at_begin);
        let fresh = status.run.filter(|run| at_begin.run != Some(*run));
        let silent = status.state == State::Running && status.health == Health::Unknown;
        match (&verdict, goal, fresh) {
            (Verdict::Done(_), Goal::Up { .. } | Goal::Healthy { .. }, Some(run)) if silent => {
                let trial = self.until.entry(status.name.clone()).or_insert((run, now + TRIAL));
                if trial.0 != run {
                    *trial = (run, now + TRIAL);
                }
                if now < trial.1 { Verdict::Pending("runs; no probe speaks for it".into()) } else { verdict }
            }
            _ => verdict,
        }
    }

    /// When the next trial ends: time to judge again.
    pub fn next(&self, now: Mono) -> Option<Mono> {
        self.until.values().map(|(_, until)| *until).filter(|until| *until > now).min()
    }
}

/// What the asker waits for, of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It is ready (or, a one-shot, completed).
    Up {
        /// The run must be newer than this one: a restart was asked for.
        fresh_since: Option<RunId>,
        /// As far as it is installed: it was not asked for by its name.
        if_installed: bool,
    },
    /// It is ready (or, a one-shot, completed), and its probes do not say that it is unwell.
    Healthy {
        /// The run must be newer than this one.
        fresh_since: Option<RunId>,
        /// A probe of it must have answered since helmd began: what a former one saw does not count.
        answered: bool,
    },
    /// Nothing of it lives, and nothing is planned.
    Stopped,
    /// Nothing is asked of it: Helm does not run it, and the asker is told so.
    LeftAlone,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet: why, in words.
    Pending(String),
    /// There. `already running` (also of what is external, with who it is), `started`, `running`, `completed`, `stopped`, `already stopped`.
    Done(String),
    /// It will not come by itself: why.
    Failed(String),
    /// It is not installed, or something that it needs is not; nothing has failed: what is missing.
    Skipped(String),
}

/// Judges `status` against `goal`. `at_begin` is the status just before the wish was handed to the fleet.
pub fn judge(goal: &Goal, status: &ServiceStatus, at_begin: &ServiceStatus) -> Verdict {
    match goal {
        Goal::Up { fresh_since, if_installed } => match judge_up(*fresh_since, status, at_begin) {
            Verdict::Failed(why) if *if_installed && is_absent(status) => Verdict::Skipped(why),
            verdict @ (Verdict::Pending(_) | Verdict::Done(_) | Verdict::Failed(_) | Verdict::Skipped(_)) => {
                verdict
            }
        },
        Goal::Healthy { fresh_since, answered } => match judge_up(*fresh_since, status, at_begin) {
            Verdict::Done(_) if *answered && status.run.is_some() && status.health_latency_us.is_none() => {
                Verdict::Pending("its probe has not been asked again yet".into())
            }
            Verdict::Done(_) if is_unwell(status) => {
                Verdict::Pending(format!("{}: {}", status.health.as_str(), status.health_message))
            }
            verdict @ (Verdict::Pending(_) | Verdict::Done(_) | Verdict::Failed(_) | Verdict::Skipped(_)) => {
                verdict
            }
        },
        Goal::Stopped => judge_stopped(status, at_begin),
        Goal::LeftAlone => Verdict::Done(left_alone(at_begin)),
    }
}

fn judge_up(fresh_since: Option<RunId>, status: &ServiceStatus, at_begin: &ServiceStatus) -> Verdict {
    // A status from before the wish says nothing about its outcome.
    let moved = status.revision != at_begin.revision;
    match status.state {
        State::External if fresh_since.is_some() => Verdict::Failed(not_ours(status)),
        State::External if status.ready => {
            Verdict::Done(format!("already running, external: {}", holding(status)))
        }
        State::Running | State::Starting if stale(fresh_since, status) => {
            Verdict::Pending(status.reason.clone())
        }
        State::Running if status.ready => Verdict::Done(up_words(status, at_begin)),
        State::Stopped if status.completed => Verdict::Done("completed".into()),
        State::Failed if moved => Verdict::Failed(status.reason.clone()),
        State::NotInstalled if moved => Verdict::Failed(format!("not installed: {}", status.reason)),
        State::Blocked if moved && status.stuck.is_some() => Verdict::Failed(status.reason.clone()),
        State::Stopped | State::Stopping if moved && !status.wanted => {
            Verdict::Failed(format!("is not wanted any more: {}", status.reason))
        }
        State::Stopped
        | State::Blocked
        | State::Starting
        | State::Running
        | State::Stopping
        | State::Backoff
        | State::Failed
        | State::External
        | State::NotInstalled => Verdict::Pending(status.reason.clone()),
    }
}

/// Of what runs: one without probes, and one that completed, have nothing to say.
fn is_unwell(status: &ServiceStatus) -> bool {
    match status.health {
        Health::Unhealthy | Health::Unreachable | Health::Starting => status.state == State::Running,
        Health::Healthy | Health::Degraded | Health::Unknown => false,
    }
}

fn is_absent(status: &ServiceStatus) -> bool {
    status.state == State::NotInstalled || status.stuck.as_ref().is_some_and(|stuck| stuck.absent)
}

fn stale(fresh_since: Option<RunId>, status: &ServiceStatus) -> bool {
    fresh_since.is_some_and(|old| status.run.is_none_or(|run| run <= old))
}

fn up_words(status: &ServiceStatus, at_begin: &ServiceStatus) -> String {
    let word = if status.run != at_begin.run {
        "started"
    } else if at_begin.ready {
        "already running"
    } else {
        "running"
    };
    match status.health {
        Health::Degraded | Health::Unhealthy | Health::Unreachable => {
            format!("{word}, {}: {}", status.health.as_str(), status.health_message)
        }
        Health::Healthy | Health::Starting | Health::Unknown => word.into(),
    }
}

fn judge_stopped(status: &ServiceStatus, at_begin: &ServiceStatus) -> Verdict {
    let wanted_again = status.wanted && status.revision != at_begin.revision;
    match status.state {
        State::External => Verdict::Failed(not_ours(status)),
        State::Stopped if at_begin.run.is_some() => Verdict::Done(stopped_words(status)),
        State::Stopped => Verdict::Done("already stopped".into()),
        State::Blocked
        | State::Starting
        | State::Running
        | State::Stopping
        | State::Backoff
        | State::Failed
        | State::NotInstalled => {
            let reason = &status.reason;
            if wanted_again {
                Verdict::Failed(format!("is wanted again: {reason}"))
            } else {
                Verdict::Pending(reason.clone())
            }
        }
    }
}

/// That it had to be killed is worth a word: what it had not written is lost.
fn stopped_words(status: &ServiceStatus) -> String {
    match status.last_exit {
        Some(exit @ Exit::Signal(SIGKILL)) => format!("stopped (ended by {exit})"),
        Some(Exit::Code(_) | Exit::Signal(_) | Exit::Unknown) | None => "stopped".into(),
    }
}

fn left_alone(status: &ServiceStatus) -> String {
    let who = status.holder.as_ref().map_or_else(|| "another process".into(), holder_words);
    format!("left alone: {} is external: {who}", status.name)
}

fn not_ours(status: &ServiceStatus) -> String {
    format!("is not run by Helm: {}", holding(status))
}

/// `pid 123 (python run.py) holds port 5000`
fn holding(status: &ServiceStatus) -> String {
    let who = status.holder.as_ref().map_or_else(|| "another process".into(), holder_words);
    match status.port {
        Some(port) => format!("{who} holds port {port}"),
        None => format!("{who} holds its port"),
    }
}
