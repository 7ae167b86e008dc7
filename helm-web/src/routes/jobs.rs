//! Operations that last longer than an answer can wait: helmd keeps them, for a day and over all lives of helm-web and of itself.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use helm_client::Jobs;
use helm_proto::v1;
use helm_shapes::time::optional;
use serde::Serialize;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use utoipa::ToSchema;

use super::input::Segment;
use crate::app::App;
use crate::auth::Person;
use crate::problem::{PlainBody, ProblemBody, Result};

/// Where to ask how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobLink {
    id: String,
    url: String,
}

impl JobLink {
    /// For a browser that came by this prefix.
    pub(super) fn of(id: &str, prefix: &str) -> Self {
        Self { url: format!("{prefix}/api/v1/jobs/{id}"), id: id.to_owned() }
    }
}

/// An operation: how it goes, or what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Job {
    id: String,
    /// start, stop, restart, up, down, reload or rollback
    kind: String,
    /// What it is about; empty: all services.
    names: Vec<String>,
    /// running, done, failed, rolled_back, or timeout: nobody waits for it any more
    state: String,
    /// One sentence.
    message: String,
    /// How far each service is.
    services: Vec<Step>,
    /// Who asked.
    by: String,
    started_at: Option<String>,
    /// Absent: it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

/// How far one service is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobStep)]
struct Step {
    name: String,
    /// pending, done, failed or skipped
    step: String,
    /// In words.
    message: String,
}

impl From<v1::Job> for Job {
    fn from(job: v1::Job) -> Self {
        let step =
            |step: v1::ServiceProgress| Step { name: step.name, step: step.step, message: step.message };
        let message = if job.message.is_empty() { "it goes on".to_owned() } else { job.message };
        Self {
            id: job.id,
            kind: job.kind,
            names: job.names,
            state: job.state,
            message,
            services: job.services.into_iter().map(step).collect(),
            by: job.by,
            started_at: optional(job.started_at),
            ended_at: optional(job.ended_at),
        }
    }
}

/// Those of the last day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobList)]
pub struct List {
    /// Newest first.
    jobs: Vec<Job>,
}

/// The operations of the last 24 hours, newest first: those that go on, and what came of the others.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "services", responses(
    (status = 200, body = List), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody, description = "As `{\"error\"}` where it is for users only"), (status = 503, body = ProblemBody)))]
pub async fn list(State(app): State<App>, Person(caller): Person) -> Result<Json<List>> {
    let jobs = app.backend.jobs(&caller.principal).await?.list().await?;
    Ok(Json(List { jobs: jobs.into_iter().map(Job::from).collect() }))
}

/// How an operation goes. One that is about other services than the caller sees is not there.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "services", params(("id" = String, Path, description = "As the answer of the operation said")),
    responses((status = 200, body = Job), (status = 401, body = ProblemBody), (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn one(
    State(app): State<App>,
    Person(caller): Person,
    Segment(id): Segment<String>,
) -> Result<Json<Job>> {
    Ok(Json(app.backend.jobs(&caller.principal).await?.get(&id).await?.into()))
}

/// The job as it is when it ends, or when the time is over; where helmd leaves meanwhile, as it was then.
pub(super) async fn ended(jobs: &Jobs, begun: v1::Job, within: Duration) -> v1::Job {
    if begun.ended_at.is_some() {
        return begun;
    }
    let mut last = begun;
    let follow = async {
        let Ok(mut stream) = jobs.watch(&last.id.clone()).await else { return };
        while let Some(Ok(job)) = stream.next().await {
            last = job;
        }
    };
    // The time is over, or the stream is: either way what is known counts.
    let _ = timeout(within, follow).await;
    last
}
