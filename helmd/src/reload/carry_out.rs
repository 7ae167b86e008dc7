//! A reload that a former life wrote down: what is asked of the fleet, the wait until all is well, and the way back.

use std::sync::Arc;
use std::time::Duration;

use helm_core::ask::Ask;
use helm_core::goal::{Goal, Trials};
use helm_core::name::ServiceName;
use helm_core::reload::Todo;
use helm_core::spec::{Check, Config, Probe, ServiceSpec};
use helm_core::status::State;
use tokio::time::{Instant, timeout, timeout_at};

use super::lack::{Lack, in_words, lacking, to_blame};
use super::{Doing, Reloads};
use crate::clock;
use crate::keeper::launch;
use crate::leave::Then;
use crate::supervisor::Pursuit;
use crate::versions::{Ended, Operation, Phase, Refused, Standing, Versions};
use crate::work;

/// How long all must stay well: what dies of its new definition mostly does so at once.
const SETTLES: Duration = Duration::from_secs(2);
/// How long what was taken back has to be up again, before that is told as it is.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How long a reload waits for the services' own copies of the directory: one of them may lie on a disk that hangs.
const COPIED_WITHIN: Duration = Duration::from_secs(2);

impl Reloads {
    /// Goes on with what is under way, if anything is.
    pub async fn carry_out(self, config: Arc<Config>) {
        let under_way = self.doing.borrow().operation.clone().filter(Operation::under_way);
        let Some(mut operation) = under_way else { return };
        self.hand_over_directory(config.clone()).await;
        let (mut pursuits, trouble) = self.ask(&mut operation, &config).await;
        if operation.gate_ms.is_none() && operation.phase == Phase::Apply {
            let message = applied(&operation, &trouble);
            return self.end(operation, if trouble.is_empty() { "done" } else { "failed" }, message).await;
        }
        pursuits.retain(|pursuit| pursuit.goal != Goal::Stopped);
        let (limit, until) = self.limit(&mut operation).await;
        let lacks = self.wait(&operation, Arc::new(pursuits), until).await;
        let all = in_words(&trouble, &lacks);
        match &operation.phase {
            Phase::Apply if all.is_empty() => {
                let message =
                    format!("configuration {} is in force, and all that changed is healthy", operation.to);
                self.end(operation, "done", message).await;
            }
            Phase::Apply => {
                let number = operation.to;
                let why = format!("not all became healthy ({} s were given): {all}", limit.as_secs());
                let who = lacks.into_iter().map(|lack| lack.name).collect();
                self.go_back(operation, Refused { number, who, why }).await;
            }
            Phase::Back { why } => {
                let not_yet = if all.is_empty() {
                    "what was restarted is up again".to_owned()
                } else {
                    format!("NOT up again: {all}")
                };
                let message = format!(
                    "configuration {} was taken back: {why}. {} is in force again; {not_yet}. The files are as you wrote them: mend them, then: helmctl reload --wait",
                    operation.to,
                    operation.from.map_or_else(|| "the former one".into(), |n| format!("Configuration {n}")),
                );
                self.end(operation, "rolled_back", message).await;
            }
        }
    }

    /// The services' own copies of the directory, which others of them read.
    async fn hand_over_directory(&self, config: Arc<Config>) {
        let home = self.home.clone();
        let write = move || {
            for spec in config.services.iter().filter(|spec| std::path::Path::new(&spec.path).is_dir()) {
                if let Err(e) = launch::hand_over_registry(&config, spec, home.path()) {
                    tracing::warn!(service.name = %spec.name, "{e}");
                }
            }
            Ok(())
        };
        match timeout(COPIED_WITHIN, work::PROGRAMS.run(write)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::warn!("the services' copies of services.json were not written: {e}"),
            Err(_) => tracing::warn!(
                "the services' copies of services.json are not all written after {COPIED_WITHIN:?} (a directory of a service hangs); the reload goes on"
            ),
        }
    }

    /// Asks the fleet, unless a former life has; what is to come of it, and what was refused.
    async fn ask(&self, operation: &mut Operation, config: &Config) -> (Vec<Pursuit>, Vec<String>) {
        let Todo { stop, restart, start, live } = operation.todo.clone();
        let names = |list: &[ServiceName]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let view = self.supervisor.view();
        let known = |list: Vec<ServiceName>| -> Vec<ServiceName> {
            list.into_iter().filter(|name| view.get(name.as_str()).is_some()).collect()
        };
        let (stop, restart, start) = (known(stop), known(restart), known(start));
        let asks = [
            Ask::Stop { names: names(&stop) },
            Ask::Restart { names: names(&restart), mode: None },
            Ask::Start { names: names(&start), mode: None },
        ];
        let mut goals = self.at_once(&live, config);
        let mut trouble = Vec::new();
        let by = match operation.phase {
            Phase::Apply => format!("the reload to configuration {} ({})", operation.to, operation.by),
            Phase::Back { .. } => format!("the way back from configuration {}", operation.to),
        };
        if let Err(e) = self.supervisor.ask(Ask::Forget, by.clone()).await {
            tracing::warn!("what is configured no more is still wanted: {e}");
        }
        for (ask, named) in asks.into_iter().zip([&stop, &restart, &start]) {
            if named.is_empty() {
                continue;
            }
            if operation.asked {
                goals.extend(named.iter().filter_map(|name| self.pursuit(name, config)));
                continue;
            }
            match self.supervisor.ask(ask, by.clone()).await {
                Ok(accepted) => goals.extend(accepted.goals.into_iter().map(|p| healthy(p, config))),
                Err(e) => trouble.push(e.to_string()),
            }
        }
        operation.asked = true;
        self.note(operation).await;
        (goals, trouble)
    }

    /// Of those that run on: what helmd alone uses is new, and they are to be well by it.
    fn at_once(&self, live: &[ServiceName], config: &Config) -> Vec<Pursuit> {
        let view = self.supervisor.view();
        let up = |name: &&ServiceName| {
            let status = view.get(name.as_str());
            status.is_some_and(|s| s.wanted && matches!(s.state, State::Running | State::Starting))
        };
        live.iter().filter(up).filter_map(|name| self.pursuit(name, config)).collect()
    }

    fn pursuit(&self, name: &ServiceName, config: &Config) -> Option<Pursuit> {
        let at_begin = self.supervisor.view().get(name.as_str())?.clone();
        let answered = config.service(name.as_str()).is_some_and(is_asked);
        Some(Pursuit { name: name.clone(), goal: Goal::Healthy { fresh_since: None, answered }, at_begin })
    }

    /// How long services have, and until when. Written down: a helmd that is killed does not give them more.
    async fn limit(&self, operation: &mut Operation) -> (Duration, Instant) {
        let limit = match operation.phase {
            Phase::Apply => operation.gate_ms.map_or(BACK_WITHIN, Duration::from_millis),
            Phase::Back { .. } => BACK_WITHIN,
        };
        let now = clock::wall().0;
        let nanos = i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX);
        let until = operation.until.unwrap_or_else(|| now.saturating_add(nanos));
        operation.until = Some(until);
        self.note(operation).await;
        let left = u64::try_from(until.saturating_sub(now)).unwrap_or(0);
        (limit, Instant::now() + Duration::from_nanos(left).min(limit))
    }

    /// Until all is well and stays so for a while, or the time is over; what is not well.
    async fn wait(&self, operation: &Operation, pursuits: Arc<Vec<Pursuit>>, until: Instant) -> Vec<Lack> {
        self.show(operation, &pursuits);
        let mut fleet = self.supervisor.subscribe();
        let mut trials = Trials::default();
        let mut well_since: Option<Instant> = None;
        loop {
            let view = fleet.borrow_and_update().clone();
            let (mono, now) = (clock::mono(), Instant::now());
            let (pending, failed) = lacking(&pursuits, &view, &mut trials);
            well_since = if pending.is_empty() { well_since.or(Some(now)) } else { None };
            let settled = well_since.is_some_and(|since| pursuits.is_empty() || now >= since + SETTLES);
            if !failed.is_empty() || settled || now >= until {
                // Who may still become healthy is none to blame for those that have failed.
                return if failed.is_empty() { to_blame(pending) } else { failed };
            }
            let next = [well_since.map(|since| since + SETTLES), trials.next(mono).map(clock::instant)];
            let next = next.into_iter().flatten().fold(until, Instant::min);
            // The time is looked at above.
            let _ = timeout_at(next, fleet.changed()).await;
        }
    }

    /// The configuration before is the one to run by, from the next life on.
    async fn go_back(&self, operation: Operation, refused: Refused) {
        let why = &refused.why;
        let Some(from) = operation.from else {
            let message = format!("configuration {} is in force; {why}", operation.to);
            return self.end(operation, "failed", message).await;
        };
        tracing::warn!("configuration {} is taken back: {why}", operation.to);
        let back = Operation {
            phase: Phase::Back { why: why.clone() },
            todo: operation.todo.clone().back(),
            asked: false,
            until: None,
            ..operation.clone()
        };
        match self.take_back(from, refused, back).await {
            Ok(()) => self.leave.to(Then::Again),
            Err(e) => {
                let message = format!(
                    "configuration {} is in force, though it should have been taken back: that could not be written down ({e})",
                    operation.to
                );
                self.end(operation, "failed", message).await;
            }
        }
    }

    async fn end(&self, mut operation: Operation, result: &str, message: String) {
        tracing::info!("{message}");
        operation.ended = Some(Ended { result: result.to_owned(), message });
        self.note(&operation).await;
    }

    /// Writes down how far it is, and tells it. What cannot be written is done again by a helmd that comes after a kill.
    async fn note(&self, operation: &Operation) {
        let (versions, noted) = (self.versions.clone(), operation.clone());
        let write = move || {
            let _turn = Versions::writing();
            let standing = versions.standing();
            versions.stand(&Standing { operation: Some(noted), ..standing })
        };
        if let Err(e) = work::CHECKS.run(write).await {
            tracing::warn!("how far the reload is could not be written down: {e}");
        }
        self.show(operation, &Arc::default());
    }

    fn show(&self, operation: &Operation, pursuits: &Arc<Vec<Pursuit>>) {
        self.doing.send_replace(Doing { operation: Some(operation.clone()), pursuits: pursuits.clone() });
    }

    /// Writes that down, and into the history.
    async fn take_back(&self, from: u64, refused: Refused, back: Operation) -> std::io::Result<()> {
        let versions = self.versions.clone();
        let write = move || {
            let _turn = Versions::writing();
            let (number, why) = (refused.number, refused.why.clone());
            versions.stand(&Standing {
                current: Some(from),
                refused: Some(refused),
                operation: Some(back),
            })?;
            if let Err(e) = versions.mark(number, why) {
                tracing::warn!("the history does not say that configuration {number} was taken back: {e}");
            }
            Ok(())
        };
        work::CHECKS.run(write).await
    }
}

/// The same aim, and well by its probes.
fn healthy(pursuit: Pursuit, config: &Config) -> Pursuit {
    let goal = match pursuit.goal {
        Goal::Up { fresh_since, .. } => {
            let answered = config.service(pursuit.name.as_str()).is_some_and(is_asked);
            Goal::Healthy { fresh_since, answered }
        }
        goal @ (Goal::Healthy { .. } | Goal::Stopped | Goal::LeftAlone) => goal,
    };
    Pursuit { goal, ..pursuit }
}

/// A probe of it is asked again and again, and its answer is what is shown.
fn is_asked(spec: &ServiceSpec) -> bool {
    let askable = |probe: &Option<Probe>| probe.as_ref().is_some_and(|p| p.check != Check::Notify);
    match &spec.probes.readiness {
        Some(_) => askable(&spec.probes.readiness),
        None => askable(&spec.probes.liveness),
    }
}

fn applied(operation: &Operation, trouble: &[String]) -> String {
    let Todo { stop, restart, start, live: _ } = &operation.todo;
    let list = |names: &[ServiceName], word: &str| {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
    };
    let done = [list(stop, "stopping"), list(restart, "restarting"), list(start, "starting")];
    let done: Vec<String> = done.into_iter().flatten().chain(trouble.iter().cloned()).collect();
    let what = if done.is_empty() { "nothing was restarted".to_owned() } else { done.join("; ") };
    format!("configuration {} is in force; {what}", operation.to)
}
