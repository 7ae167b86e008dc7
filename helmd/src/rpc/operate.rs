//! Start, stop, restart, up, down: ask the fleet, then stream progress until every service is where it should be, the
//! time is over, or the caller leaves (the operation goes on).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use helm_core::ask::Ask;
use helm_core::goal::{Verdict, judge};
use helm_core::name::ServiceName;
use helm_core::status::ServiceStatus;
use helm_proto::v1::{Outcome, Progress, ServiceProgress, Wait};
use helm_proto::{convert, reason};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::clock;
use crate::supervisor::{AskError, FleetView, Pursuit, Supervisor};

/// Longest wait where the caller names none.
const DEFAULT_WAIT: Duration = Duration::from_secs(120);

/// Progress on its way to the caller; a slow caller slows only its own operation's report.
pub type Sink = mpsc::Sender<Result<Progress, Status>>;

/// Carries out one request.
pub async fn operate(supervisor: Supervisor, ask: Ask, wait: Option<Wait>, by: String, sink: Sink) {
    let wait = wait.unwrap_or_default();
    let mut fleet = supervisor.subscribe();
    let accepted = match supervisor.ask(ask, by).await {
        Ok(accepted) => accepted,
        Err(error) => {
            let _ = sink.send(Err(refusal(&error))).await;
            return;
        }
    };
    let mut report = Report { pursuits: accepted.goals, told: BTreeMap::new() };
    let warning = accepted.warning.map(|w| format!("; {w}")).unwrap_or_default();
    let last = if wait.no_wait {
        Some(report.outcome("accepted", format!("accepted{warning}"), &fleet.borrow_and_update().clone()))
    } else {
        let limit = if wait.timeout_ms == 0 { DEFAULT_WAIT } else { Duration::from_millis(wait.timeout_ms) };
        report.follow(&mut fleet, Instant::now() + limit, limit, &warning, &sink).await
    };
    if let Some(last) = last {
        let _ = sink.send(Ok(last)).await;
    }
}

fn refusal(error: &AskError) -> Status {
    match error {
        AskError::Refused(refusal) => reason::refused(refusal),
        AskError::NotRecorded { .. } => reason::not_recorded(&error.to_string()),
        AskError::Leaving => reason::leaving(&error.to_string()),
    }
}

struct Report {
    pursuits: Vec<Pursuit>,
    /// Step and message last told, by service.
    told: BTreeMap<ServiceName, (&'static str, String)>,
}

impl Report {
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
            let (pending, failed) = self.look(&view);
            if pending.is_empty() {
                let (result, message) = conclusion(&failed, self.pursuits.len());
                return Some(self.outcome(result, message + warning, &view));
            }
            let news = self.news(&view);
            if !news.is_empty() {
                let progress = Progress { services: news, outcome: None };
                if sink.send(Ok(progress)).await.is_err() {
                    return None;
                }
            }
            match timeout_at(deadline, fleet.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => {
                    let message = format!("after {} s: {}", limit.as_secs(), pending.join("; "));
                    return Some(self.outcome("timeout", message + warning, &view));
                }
            }
        }
    }

    /// What is still to come and what has failed, in words.
    fn look(&self, view: &FleetView) -> (Vec<String>, Vec<String>) {
        let (mut pending, mut failed) = (Vec::new(), Vec::new());
        for pursuit in &self.pursuits {
            match verdict(pursuit, view) {
                Verdict::Pending(words) => pending.push(format!("{}: {words}", pursuit.name)),
                Verdict::Failed(words) => failed.push(format!("{}: {words}", pursuit.name)),
                Verdict::Done(_) => {}
            }
        }
        (pending, failed)
    }

    /// Services whose step or message differs from what was told.
    fn news(&mut self, view: &FleetView) -> Vec<ServiceProgress> {
        let now = clock::mono();
        let mut news = Vec::new();
        for pursuit in &self.pursuits {
            let (step, message) = match verdict(pursuit, view) {
                Verdict::Pending(words) => ("pending", words),
                Verdict::Done(words) => ("done", words),
                Verdict::Failed(words) => ("failed", words),
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

    fn outcome(&mut self, result: &str, message: String, view: &FleetView) -> Progress {
        let outcome = Outcome { result: result.to_owned(), message };
        Progress { services: self.news(view), outcome: Some(outcome) }
    }
}

fn verdict(pursuit: &Pursuit, view: &FleetView) -> Verdict {
    let status: &ServiceStatus = view.get(pursuit.name.as_str()).unwrap_or(&pursuit.at_begin);
    judge(&pursuit.goal, status, &pursuit.at_begin)
}

fn conclusion(failed: &[String], all: usize) -> (&'static str, String) {
    if failed.is_empty() {
        return ("done", format!("{all} service{} done", if all == 1 { "" } else { "s" }));
    }
    ("failed", failed.join("; "))
}
