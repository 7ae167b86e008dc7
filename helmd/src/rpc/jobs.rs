//! Operations that may last longer than whoever asks can wait: begun, kept, told.

use std::collections::{BTreeMap, BTreeSet};

use helm_core::access::{Action, Scope};
use helm_core::ask::Ask;
use helm_core::time::Wall;
use helm_proto::v1::jobs_server::Jobs as JobsRpc;
use helm_proto::v1::{
    GetJobRequest, Job as JobMessage, ListJobsRequest, ListJobsResponse, Progress, ReloadProgress,
    ReloadResponse, ServiceProgress, StartJobRequest, Wait, WatchJobsRequest, WatchJobsResponse,
};
use helm_proto::{convert, reason};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::{Api, Result, Streaming, config, mode, operate};
use crate::audit::Outcome;
use crate::jobs::{Job, Step, Wish};
use crate::reload::plan::Wants;
use crate::reload::{Accepted, Asked};
use crate::versions::Author;

/// Longer than that nothing is waited for: it goes on, and its job says so.
const WITHIN_MS: u64 = 600_000;
/// Most services of one job.
const NAMES: usize = 1000;
const RELOAD: &str = "reload";
const ROLLBACK: &str = "rollback";

#[tonic::async_trait]
impl JobsRpc for Api {
    type WatchJobStream = ReceiverStream<Result<JobMessage>>;
    type WatchJobsStream = ReceiverStream<Result<WatchJobsResponse>>;

    async fn start_job(&self, request: Request<StartJobRequest>) -> Result<Response<JobMessage>> {
        let caller = Caller::of(&request)?;
        let wish = wish(request.into_inner())?;
        let ask = self.job_of(&caller, &wish)?;
        let id = crate::access::new_id().map_err(|e| Status::internal(e.to_string()))?;
        let (job, is_new) = self.jobs.begin(id, wish, caller.describe()).await;
        let mut reload = None;
        if is_new {
            match ask {
                Some(ask) => self.run_job(&caller, job.id.clone(), ask),
                None => reload = Some(self.reload_job(&caller, &job).await?),
            }
        }
        let begun = message(self.jobs.get(&job.id).unwrap_or(job));
        Ok(Response::new(JobMessage { reload, ..begun }))
    }

    async fn get_job(&self, request: Request<GetJobRequest>) -> Result<Response<JobMessage>> {
        let caller = Caller::of(&request)?;
        let job = self.job(&caller, &request.into_inner().id)?;
        Ok(Response::new(message(job)))
    }

    async fn list_jobs(&self, request: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>> {
        let caller = Caller::of(&request)?;
        let seen = self.jobs.list().into_iter().filter(|job| sees(&caller, job));
        Ok(Response::new(ListJobsResponse { jobs: seen.map(message).collect() }))
    }

    async fn watch_job(&self, request: Request<GetJobRequest>) -> Result<Streaming<JobMessage>> {
        let caller = Caller::of(&request)?;
        let id = request.into_inner().id;
        self.job(&caller, &id)?;
        let jobs = self.jobs.clone();
        Ok(self.stream(|sink| async move {
            let mut changes = jobs.changes();
            let mut told = None;
            loop {
                changes.mark_unchanged();
                let Some(job) = jobs.get(&id) else { return };
                let over = job.ended_at.is_some();
                if told.as_ref() != Some(&job) {
                    told = Some(job.clone());
                    if sink.send(Ok(message(job))).await.is_err() {
                        return;
                    }
                }
                if over {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sink.closed() => return,
                }
            }
        }))
    }

    async fn watch_jobs(&self, request: Request<WatchJobsRequest>) -> Result<Streaming<WatchJobsResponse>> {
        let caller = Caller::of(&request)?;
        let jobs = self.jobs.clone();
        Ok(self.stream(|sink| async move {
            let mut changes = jobs.changes();
            let mut told: Option<BTreeMap<String, Job>> = None;
            loop {
                changes.mark_unchanged();
                let seen: Vec<Job> = jobs.list().into_iter().filter(|job| sees(&caller, job)).collect();
                let known = told.as_ref();
                let is_news = |job: &&Job| known.is_none_or(|known| known.get(&job.id) != Some(job));
                let news: Vec<JobMessage> = seen.iter().filter(is_news).cloned().map(message).collect();
                let complete = known.is_none();
                if complete || !news.is_empty() {
                    let response = WatchJobsResponse { jobs: news, complete };
                    if sink.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                told = Some(seen.into_iter().map(|job| (job.id.clone(), job)).collect());
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sink.closed() => return,
                }
            }
        }))
    }
}

/// What is asked for, in the one form that the same request always has.
#[allow(clippy::result_large_err, reason = "the error of every handler")]
fn wish(request: StartJobRequest) -> Result<Wish> {
    let StartJobRequest { kind, names, mode, gate, timeout_ms, no_restart, no_start, number } = request;
    if names.len() > NAMES {
        return Err(reason::bad_request(&format!("a job names at most {NAMES} services")));
    }
    let names = names.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    Ok(Wish { kind, names, mode, gate, timeout_ms, no_restart, no_start, number })
}

impl Api {
    /// What is to be asked of the fleet; `None`: it is a reload. Only for those who may.
    fn job_of(&self, caller: &Caller, wish: &Wish) -> Result<Option<Ask>> {
        let Wish { kind, names, mode: text, .. } = wish;
        let (names, mode) = (names.clone(), mode(text)?);
        let (word, ask, starts) = match kind.as_str() {
            "start" => ("start", Ask::Start { names, mode }, true),
            "stop" => ("stop", Ask::Stop { names }, false),
            "restart" => ("restart", Ask::Restart { names, mode }, true),
            "up" => ("up", Ask::Up { names, mode, as_wanted: false }, true),
            "down" => ("down", Ask::Down { names }, false),
            RELOAD | ROLLBACK if !names.is_empty() => {
                return Err(reason::bad_request("a reload is of all services: name none"));
            }
            RELOAD | ROLLBACK => {
                let what = if kind == RELOAD { RELOAD } else { ROLLBACK };
                self.allowed(caller, what, &[], caller.may(Action::Configuration, None))?;
                return Ok(None);
            }
            other => {
                let other: String = other.chars().take(40).collect();
                let why = format!("`{other}` is no job: start, stop, restart, up, down, reload or rollback");
                return Err(reason::bad_request(&why));
            }
        };
        self.operable(caller, word, &wish.names)?;
        if starts {
            self.allowed(caller, word, &wish.names, self.with_what_they_need(caller, &wish.names))?;
        }
        Ok(Some(ask))
    }

    /// One that the caller may see.
    fn job(&self, caller: &Caller, id: &str) -> Result<Job> {
        let found = self.jobs.get(id).filter(|job| sees(caller, job));
        found.ok_or_else(|| {
            let id: String = id.chars().take(40).collect();
            reason::unknown_entry(&format!("there is no job `{id}`: those that ended are kept for a day"))
        })
    }

    fn run_job(&self, caller: &Caller, id: String, ask: Ask) {
        let wait = Wait { no_wait: false, timeout_ms: WITHIN_MS };
        let progress = self.operate(caller, ask, Some(wait)).into_inner();
        self.tasks.spawn(self.clone().follow_job(id, progress));
    }

    /// Until the outcome; where this life ends before, the next one goes on.
    async fn follow_job(self, id: String, mut progress: ReceiverStream<Result<Progress>>) {
        while let Some(message) = progress.next().await {
            match message {
                Ok(Progress { services, outcome, operation, .. }) => {
                    if !operation.is_empty() {
                        self.jobs.taken(&id, operation).await;
                    }
                    self.jobs.step(&id, services.into_iter().map(step).collect());
                    if let Some(outcome) = outcome {
                        return self.jobs.end(&id, state(&outcome.result), outcome.message).await;
                    }
                }
                Err(why) => return self.jobs.end(&id, "failed", why.message().to_owned()).await,
            }
        }
    }

    /// What it is to do; or why nothing is done, which its job says as well.
    async fn reload_job(&self, caller: &Caller, job: &Job) -> Result<ReloadResponse> {
        let Wish { kind, gate, timeout_ms, no_restart, no_start, number, .. } = &job.wish;
        let wants = Wants { restart: !no_restart, start: !no_start };
        let asked = Asked { wants, gate: config::within(*gate, *timeout_ms) };
        let (what, accepted, intent);
        if kind == ROLLBACK {
            what = number.to_string();
            intent = self.intend(caller, ROLLBACK, &what).await;
            accepted = self.reloads.rollback(*number, asked, caller.describe()).await;
        } else {
            intent = self.intend(caller, RELOAD, "").await;
            let author = Author { by: caller.describe(), why: RELOAD.to_owned() };
            accepted = self.reloads.reload(asked, author).await;
        }
        let (outcome, words) = config::came(&accepted);
        match &accepted {
            Ok(Accepted { operation: Some(operation), .. }) => {
                self.jobs.taken(&job.id, operation.id.clone()).await;
                self.tasks.spawn(self.clone().follow_reload_job(job.id.clone(), operation.id.clone()));
            }
            Ok(_) | Err(_) => {
                let state = if outcome == Outcome::Done { "done" } else { "failed" };
                self.jobs.end(&job.id, state, words.clone()).await;
            }
        }
        intent.came_now(outcome, &words).await;
        config::answer(accepted)
    }

    async fn follow_reload_job(self, id: String, reload: String) {
        let (sink, mut progress) = mpsc::channel(1);
        let followed = config::follow(self.reloads.doing(), self.supervisor.clone(), reload, sink);
        let told = async {
            while let Some(Ok(ReloadProgress { services, outcome })) = progress.recv().await {
                self.jobs.step(&id, services.into_iter().map(step).collect());
                if let Some(outcome) = outcome {
                    return self.jobs.end(&id, state(&outcome.result), outcome.message).await;
                }
            }
        };
        let both = async { tokio::join!(followed, told) };
        self.stop.run_until_cancelled(both).await;
    }

    /// Goes on with what a former life left.
    pub async fn resume_jobs(self) {
        for job in self.jobs.under_way() {
            if job.operation.is_empty() {
                let why = "helmd ended before it was begun: ask again".to_owned();
                self.jobs.end(&job.id, "failed", why).await;
            } else if matches!(job.wish.kind.as_str(), RELOAD | ROLLBACK) {
                self.resume_reload(job).await;
            } else {
                self.resume_operation(job).await;
            }
        }
    }

    async fn resume_operation(&self, job: Job) {
        match operate::waited(&job.operation, &self.supervisor.view()) {
            Ok(pursuits) => {
                let wait = Some(Wait { no_wait: false, timeout_ms: WITHIN_MS });
                let fleet = self.supervisor.subscribe();
                let progress = self.stream(|sink| operate::resume(fleet, pursuits, wait, sink)).into_inner();
                self.tasks.spawn(self.clone().follow_job(job.id, progress));
            }
            Err(why) => self.jobs.end(&job.id, "failed", why.message().to_owned()).await,
        }
    }

    async fn resume_reload(&self, job: Job) {
        let newest = self.reloads.doing().borrow().operation.as_ref().map(|operation| operation.id.clone());
        if newest.as_deref() == Some(job.operation.as_str()) {
            self.tasks.spawn(self.clone().follow_reload_job(job.id, job.operation));
            return;
        }
        let why = "a later reload has taken its place: helmctl config history says what is in force";
        self.jobs.end(&job.id, "failed", why.to_owned()).await;
    }
}

/// Whoever sees, or may operate, all that it is about.
fn sees(caller: &Caller, job: &Job) -> bool {
    let scope = caller.scope(Action::Status).union(&caller.scope(Action::Operate));
    match &scope {
        Scope::All => true,
        Scope::Only(_) if job.wish.names.is_empty() => false,
        Scope::Only(_) => job.wish.names.iter().all(|name| scope.holds(name)),
    }
}

/// `accepted` does not come: a job waits.
fn state(result: &str) -> &'static str {
    match result {
        "done" => "done",
        "timeout" => "timeout",
        "rolled_back" => "rolled_back",
        _ => "failed",
    }
}

fn step(progress: ServiceProgress) -> Step {
    Step { name: progress.name, step: progress.step, message: progress.message }
}

fn message(job: Job) -> JobMessage {
    let step = |step: Step| ServiceProgress {
        name: step.name,
        step: step.step,
        message: step.message,
        status: None,
    };
    JobMessage {
        id: job.id,
        kind: job.wish.kind,
        names: job.wish.names,
        started_at: Some(convert::timestamp(Wall(job.started_at))),
        ended_at: job.ended_at.map(|at| convert::timestamp(Wall(at))),
        state: job.state,
        message: job.message,
        services: job.steps.into_iter().map(step).collect(),
        by: job.by,
        reload: None,
    }
}
