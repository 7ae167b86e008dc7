//! Start, stop, restart, up, down: ask the fleet, then stream progress until every service is where it should be, the
//! time is over, or the caller leaves (the operation goes on).
//!
//! What an operation waits for is told to its caller as a text (`operation`), so that whichever helmd is there when the
//! stream breaks can go on with it: nothing of it has to be kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use helm_core::ask::{Ask, Refusal};
use helm_core::goal::{Goal, Trials, Verdict};
use helm_core::name::ServiceName;
use helm_core::status::{RunId, ServiceStatus};
use helm_core::time::Mono;
use helm_proto::v1::{Outcome, Progress, ServiceProgress, Wait};
use helm_proto::{convert, reason};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::audit;
use crate::clock;
use crate::supervisor::{Accepted, AskError, FleetView, Pursuit, Supervisor};

/// Longest wait where the caller names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(120);

/// Progress on its way to the caller; a slow caller slows only its own operation's report.
pub type Sink = mpsc::Sender<Result<Progress, Status>>;

/// Carries out one request; what came of it, as far as the caller waited.
pub async fn operate(
    supervisor: Supervisor,
    ask: Ask,
    wait: Option<Wait>,
    by: String,
    sink: Sink,
) -> (audit::Outcome, String) {
    let mut fleet = supervisor.subscribe();
    let accepted = match supervisor.ask(ask, by).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let _ = sink.send(Err(refusal(&error))).await;
            return (audit::Outcome::Refused, error.to_string());
        }
    };
    let Accepted { goals, also, warning } = accepted;
    let also = also.iter().map(ToString::to_string).collect();
    let report = Report { also, operation: token(&goals), ..Report::of(goals) };
    let warning = warning.map(|w| format!("; {w}")).unwrap_or_default();
    let ended = report.send(&mut fleet, wait.unwrap_or_default(), &warning, &sink).await;
    match ended {
        Some(Outcome { result, message }) => {
            let is_good = matches!(result.as_str(), "done" | "accepted");
            (if is_good { audit::Outcome::Done } else { audit::Outcome::Failed }, message)
        }
        None => (audit::Outcome::Done, "begun; nobody waited for its end".to_owned()),
    }
}

/// Goes on with an operation that was begun elsewhere.
pub async fn resume(
    mut fleet: watch::Receiver<Arc<FleetView>>,
    pursuits: Vec<Pursuit>,
    wait: Option<Wait>,
    sink: Sink,
) {
    let report = Report { operation: token(&pursuits), ..Report::of(pursuits) };
    report.send(&mut fleet, wait.unwrap_or_default(), "", &sink).await;
}

/// One service of an operation, on its way through its caller.
#[derive(Serialize, Deserialize)]
struct Waited {
    name: ServiceName,
    goal: Goal,
    /// The run that there was when it was asked.
    run: Option<RunId>,
    ready: bool,
}

fn token(pursuits: &[Pursuit]) -> String {
    let waited = pursuits.iter().map(|pursuit| Waited {
        name: pursuit.name.clone(),
        goal: pursuit.goal,
        run: pursuit.at_begin.run,
        ready: pursuit.at_begin.ready,
    });
    serde_json::to_string(&waited.collect::<Vec<_>>()).unwrap_or_default()
}

/// What the text of an operation says, for the fleet as it is now.
#[allow(clippy::result_large_err, reason = "the error of every handler")]
pub fn waited(operation: &str, view: &FleetView) -> Result<Vec<Pursuit>, Status> {
    let waited: Vec<Waited> = serde_json::from_str(operation)
        .map_err(|_| reason::bad_request("this is no operation as a helmd has told it"))?;
    let pursuit = |Waited { name, goal, run, ready }: Waited| match view.get(name.as_str()) {
        // It has seen the wish: whatever it says now counts.
        Some(now) => {
            let at_begin = ServiceStatus { run, ready, revision: u64::MAX, ..ServiceStatus::clone(now) };
            Some(Ok(Pursuit { name, goal, at_begin: Arc::new(at_begin) }))
        }
        // It is configured no more, and nothing of it lives.
        None if goal == Goal::Stopped => None,
        None => {
            Some(Err(reason::refused(&Refusal::UnknownService { name: name.to_string(), nearest: None })))
        }
    };
    waited.into_iter().filter_map(pursuit).collect()
}

pub(super) fn refusal(error: &AskError) -> Status {
    match error {
        AskError::Refused(refusal) => reason::refused(refusal),
        AskError::NotRecorded { .. } => reason::not_recorded(&error.to_string()),
        AskError::NotRunning(why) => reason::not_running(why),
        AskError::Leaving => reason::leaving(&error.to_string()),
    }
}

#[derive(Default)]
struct Looked {
    pending: Vec<String>,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// How a number of services do on their way.
#[derive(Default)]
pub(super) struct Report {
    pursuits: Vec<Pursuit>,
    /// Started as well; until the first message has told it.
    also: Vec<String>,
    /// By which the caller can go on elsewhere; until the first message has told it.
    operation: String,
    /// Step and message last told, by service.
    told: BTreeMap<ServiceName, (&'static str, String)>,
    trials: Trials,
}

impl Report {
    pub(super) fn of(pursuits: Vec<Pursuit>) -> Self {
        Self { pursuits, ..Self::default() }
    }

    async fn send(
        mut self,
        fleet: &mut watch::Receiver<Arc<FleetView>>,
        wait: Wait,
        warning: &str,
        sink: &Sink,
    ) -> Option<Outcome> {
        let last = if wait.no_wait {
            let view = fleet.borrow_and_update().clone();
            Some(self.outcome("accepted", format!("accepted{warning}"), &view, clock::mono()))
        } else {
            let limit =
                if wait.timeout_ms == 0 { DEFAULT_WAIT } else { Duration::from_millis(wait.timeout_ms) };
            self.follow(fleet, Instant::now() + limit, limit, warning, sink).await
        };
        let last = last?;
        let outcome = last.outcome.clone();
        // Who does not listen any more does not want to know.
        let _ = sink.send(Ok(last)).await;
        outcome
    }

    /// The last message; none where nobody listens, or where helmd leaves before it is done (the next one goes on).
    async fn follow(
        &mut self,
        fleet: &mut watch::Receiver<Arc<FleetView>>,
        deadline: Instant,
        limit: Duration,
        warning: &str,
        sink: &Sink,
    ) -> Option<Progress> {
        loop {
            let view = fleet.borrow_and_update().clone();
            let now = clock::mono();
            let Looked { pending, failed, skipped } = self.look(&view, now);
            if pending.is_empty() {
                let (result, message) = conclusion(&failed, &skipped, self.pursuits.len());
                return Some(self.outcome(result, message + warning, &view, now));
            }
            let news = self.news(&view, now);
            if !news.is_empty() {
                let (also_starts, operation) =
                    (std::mem::take(&mut self.also), std::mem::take(&mut self.operation));
                let progress = Progress { services: news, outcome: None, also_starts, operation };
                if sink.send(Ok(progress)).await.is_err() {
                    return None;
                }
            }
            let trial = self.trials.next(now).map(clock::instant);
            match timeout_at(trial.map_or(deadline, |at| at.min(deadline)), fleet.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) if Instant::now() < deadline => {}
                Err(_) => {
                    let message = format!("after {} s: {}", limit.as_secs(), pending.join("; "));
                    return Some(self.outcome("timeout", message + warning, &view, now));
                }
            }
        }
    }

    /// What is still to come, what has failed and what was left out, in words.
    fn look(&mut self, view: &FleetView, now: Mono) -> Looked {
        let mut looked = Looked::default();
        for pursuit in &self.pursuits {
            match verdict(pursuit, view, &mut self.trials, now) {
                Verdict::Pending(words) => looked.pending.push(format!("{}: {words}", pursuit.name)),
                Verdict::Failed(words) => looked.failed.push(format!("{}: {words}", pursuit.name)),
                Verdict::Skipped(words) => looked.skipped.push(format!("{}: {words}", pursuit.name)),
                Verdict::Done(_) => {}
            }
        }
        looked
    }

    /// Services whose step or message differs from what was told.
    pub(super) fn news(&mut self, view: &FleetView, now: Mono) -> Vec<ServiceProgress> {
        let mut news = Vec::new();
        for pursuit in &self.pursuits {
            let (step, message) = match verdict(pursuit, view, &mut self.trials, now) {
                Verdict::Pending(words) => ("pending", words),
                Verdict::Done(words) => ("done", words),
                Verdict::Failed(words) => ("failed", words),
                Verdict::Skipped(words) => ("skipped", words),
            };
            let line = (step, message);
            if self.told.get(&pursuit.name) == Some(&line) {
                continue;
            }
            let status = view.get(pursuit.name.as_str()).map(|s| convert::service_status(s, now));
            news.push(ServiceProgress {
                name: pursuit.name.to_string(),
                step: line.0.to_owned(),
                message: line.1.clone(),
                status,
            });
            self.told.insert(pursuit.name.clone(), line);
        }
        news
    }

    fn outcome(&mut self, result: &str, message: String, view: &FleetView, now: Mono) -> Progress {
        let outcome = Outcome { result: result.to_owned(), message };
        let also_starts = std::mem::take(&mut self.also);
        let operation = std::mem::take(&mut self.operation);
        Progress { services: self.news(view, now), outcome: Some(outcome), also_starts, operation }
    }
}

fn verdict(pursuit: &Pursuit, view: &FleetView, trials: &mut Trials, now: Mono) -> Verdict {
    let status: &ServiceStatus = view.get(pursuit.name.as_str()).unwrap_or(&pursuit.at_begin);
    trials.judge(&pursuit.goal, status, &pursuit.at_begin, now)
}

/// What is not installed is no failure, unless nothing else is there.
fn conclusion(failed: &[String], skipped: &[String], all: usize) -> (&'static str, String) {
    let count = |n: usize| format!("{n} service{}", if n == 1 { "" } else { "s" });
    match (failed, skipped) {
        ([_, ..], _) => ("failed", failed.join("; ")),
        ([], []) => ("done", format!("{} done", count(all))),
        ([], skipped) if skipped.len() == all => {
            ("failed", format!("nothing was started: {}", skipped.join("; ")))
        }
        ([], skipped) => {
            let done = count(all - skipped.len());
            ("done", format!("{done} done, {} skipped: what they need is not installed", skipped.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::conclusion;

    #[test]
    fn what_is_not_installed_is_no_failure_unless_nothing_else_is_there() {
        let words = |n: usize| (0..n).map(|i| format!("s{i}: no")).collect::<Vec<_>>();
        let say = |failed, skipped, all| conclusion(&words(failed), &words(skipped), all);
        assert_eq!(say(0, 0, 2), ("done", "2 services done".into()));
        assert_eq!(say(0, 0, 0), ("done", "0 services done".into()));
        let some = "1 service done, 2 skipped: what they need is not installed";
        assert_eq!(say(0, 2, 3), ("done", some.into()));
        assert_eq!(say(0, 1, 1), ("failed", "nothing was started: s0: no".into()));
        assert_eq!(say(1, 1, 3), ("failed", "s0: no".into()));
    }
}
