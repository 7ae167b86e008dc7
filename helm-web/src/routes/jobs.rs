//! Operations that last longer than an answer can wait: where they are asked for.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use helm_client::Client;
use helm_proto::v1::{FollowReloadRequest, Outcome, ResumeRequest, ServiceProgress, Wait};
use helm_shapes::fleet::Step;
use serde::Serialize;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use utoipa::ToSchema;

use super::input::Segment;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{Problem, ProblemBody, Result};

/// A reload says at once how far it is; longer is not waited for its next word.
const WORD_WITHIN: Duration = Duration::from_secs(1);
/// Before the ids of operations and of reloads.
const OPERATION: &str = "o-";
const RELOAD: &str = "r-";

/// Where to ask how it goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobLink {
    id: String,
    url: String,
}

impl JobLink {
    /// For a browser that came by this prefix.
    pub(super) fn of(id: String, prefix: &str) -> Self {
        Self { url: format!("{prefix}/api/v1/jobs/{id}"), id }
    }
}

/// The id of an operation, as helmd told it.
pub(super) fn operation(token: &str) -> String {
    let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{OPERATION}{hex}")
}

/// The id of a reload.
pub(super) fn reload(id: &str) -> String {
    format!("{RELOAD}{id}")
}

/// How an operation goes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Job {
    id: String,
    /// running, done, failed or rolled_back
    state: String,
    /// One sentence.
    message: String,
    services: Vec<Step>,
}

/// How an operation goes.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "services", params(("id" = String, Path, description = "As the answer of the operation said")),
    responses((status = 200, body = Job), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 404, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn one(State(app): State<App>, caller: Caller, Segment(id): Segment<String>) -> Result<Json<Job>> {
    let client = app.backend.client(&caller.principal).await?;
    let unknown = || Problem::not_found("there is no such job");
    let (services, outcome) = match (id.strip_prefix(OPERATION), id.strip_prefix(RELOAD)) {
        (Some(hex), _) => of_operation(&client, token(hex).ok_or_else(unknown)?).await?,
        (None, Some(reload)) => of_reload(&client, reload).await?,
        (None, None) => return Err(unknown()),
    };
    let outcome = outcome.filter(|outcome| !matches!(outcome.result.as_str(), "timeout" | "accepted"));
    let (state, message) = match outcome {
        Some(outcome) => (outcome.result, outcome.message),
        None => ("running".to_owned(), "it goes on".to_owned()),
    };
    Ok(Json(Job { id, state, message, services: services.into_iter().map(step).collect() }))
}

fn token(hex: &str) -> Option<String> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    String::from_utf8(bytes?).ok()
}

async fn of_operation(client: &Client, operation: String) -> Result<(Vec<ServiceProgress>, Option<Outcome>)> {
    // One look: the first message says how all of them are.
    let wait = Some(Wait { no_wait: false, timeout_ms: 1 });
    let mut stream = client.resume(ResumeRequest { operation, wait }).await?;
    let (mut services, mut outcome) = (Vec::new(), None);
    while let Some(progress) = stream.next().await {
        let progress = progress?;
        services = merged(services, progress.services);
        outcome = progress.outcome.or(outcome);
    }
    Ok((services, outcome))
}

async fn of_reload(client: &Client, id: &str) -> Result<(Vec<ServiceProgress>, Option<Outcome>)> {
    let mut stream = client.follow_reload(FollowReloadRequest { id: id.to_owned() }).await?;
    match timeout(WORD_WITHIN, stream.next()).await {
        Ok(Some(progress)) => {
            let progress = progress?;
            Ok((progress.services, progress.outcome))
        }
        // helmd begins again, or has nothing to say yet.
        Ok(None) | Err(_) => Ok((Vec::new(), None)),
    }
}

/// What was said last of each.
fn merged(mut known: Vec<ServiceProgress>, newer: Vec<ServiceProgress>) -> Vec<ServiceProgress> {
    for one in newer {
        match known.iter_mut().find(|service| service.name == one.name) {
            Some(service) => *service = one,
            None => known.push(one),
        }
    }
    known
}

fn step(service: ServiceProgress) -> Step {
    Step {
        name: service.name,
        step: service.step,
        message: service.message,
        state: service.status.as_ref().map(|status| status.state.clone()),
        pid: service.status.and_then(|status| status.pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_survives_as_an_id() {
        let text = r#"[{"name":"web","goal":"Stopped"}]"#;
        let id = operation(text);
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        assert_eq!(token(id.strip_prefix(OPERATION).unwrap()).unwrap(), text);
        for wrong in ["x", "0", "zz", "ff"] {
            assert!(token(wrong).is_none_or(|text| text != wrong), "{wrong}");
        }
        assert_eq!((token("zz"), token("ff")), (None, None));
    }
}
