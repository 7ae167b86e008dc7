//! Is what an operator asked for done? Judged from the read model alone, so that helmd, a client and a test agree.

use crate::status::{Health, RunId, ServiceStatus, State};
use crate::unit::holder_words;

/// What the asker waits for, of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// It is ready (or, a one-shot, completed).
    Up {
        /// The run must be newer than this one: a restart was asked for.
        fresh_since: Option<RunId>,
        /// As far as it is installed: it was not asked for by its name.
        if_installed: bool,
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
        State::Stopped if at_begin.run.is_some() => Verdict::Done("stopped".into()),
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

fn left_alone(status: &ServiceStatus) -> String {
    let holder = status.holder.as_ref();
    let pid = holder.and_then(|h| h.pid).map(|pid| format!("pid {pid}"));
    let parts: Vec<String> = pid.into_iter().chain(holder.and_then(|h| h.command.clone())).collect();
    let who = if parts.is_empty() { "its process cannot be seen".into() } else { parts.join(", ") };
    format!("left alone: {} is external ({who})", status.name)
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
