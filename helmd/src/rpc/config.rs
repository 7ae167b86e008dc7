//! The configuration over the wire: plan, reload, history.

use std::time::Duration;

use helm_core::spec::{Changes, FieldChange, ServiceChange, ServiceSpec};
use helm_core::time::Wall;
use helm_proto::v1::configuration_server::Configuration;
use helm_proto::v1::{
    self, Certificate, CertificatesRequest, CertificatesResponse, ConfigDiffRequest, ConfigHistoryRequest,
    ConfigHistoryResponse, ConfigRollbackRequest, ConfigVersion, FollowReloadRequest, Outcome, PlanRequest,
    PlanResponse, ReloadProgress, ReloadRequest, ReloadResponse,
};
use helm_proto::{convert, reason};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::operate::Report;
use super::{Api, Result, Streaming};
use crate::audit;
use crate::certificate;
use crate::clock;
use crate::reload::plan::{Plan, Wants};
use crate::reload::{Accepted, Asked, Doing, ReloadError};
use crate::supervisor::{FleetView, Supervisor};
use crate::versions::{Author, Standing, Version};
use crate::work;

#[tonic::async_trait]
impl Configuration for Api {
    type FollowReloadStream = ReceiverStream<Result<ReloadProgress>>;

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>> {
        let PlanRequest { no_restart, no_start } = request.into_inner();
        let wants = Wants { restart: !no_restart, start: !no_start };
        let plan = self.reloads.plan(wants).await.map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(plan_of(&plan)))
    }

    async fn reload(&self, request: Request<ReloadRequest>) -> Result<Response<ReloadResponse>> {
        let caller = Caller::of(&request)?;
        let author = Author { by: caller.describe(), why: "reload".to_owned() };
        let ReloadRequest { no_restart, no_start, gate, timeout_ms } = request.into_inner();
        let wants = Wants { restart: !no_restart, start: !no_start };
        let intent = self.intend(&caller, "reload", "").await;
        let accepted = self.reloads.reload(Asked { wants, gate: within(gate, timeout_ms) }, author).await;
        let (outcome, message) = came(&accepted);
        intent.came_now(outcome, &message).await;
        answer(accepted).map(Response::new)
    }

    async fn follow_reload(
        &self,
        request: Request<FollowReloadRequest>,
    ) -> Result<Streaming<ReloadProgress>> {
        let FollowReloadRequest { id } = request.into_inner();
        let doing = self.reloads.doing();
        if doing.borrow().operation.as_ref().is_none_or(|operation| operation.id != id) {
            return Err(reason::unknown_reload(&format!(
                "nothing is known of the reload `{id}` any more; helmctl config history says what is in force"
            )));
        }
        let supervisor = self.supervisor.clone();
        Ok(self.stream(|sink| follow(doing, supervisor, id, sink)))
    }

    async fn config_history(
        &self,
        _: Request<ConfigHistoryRequest>,
    ) -> Result<Response<ConfigHistoryResponse>> {
        let history = self.reloads.history().await;
        let (versions, standing) = history.map_err(|e| Status::internal(e.to_string()))?;
        let versions = versions.into_iter().map(|version| version_of(version, &standing)).collect();
        Ok(Response::new(ConfigHistoryResponse { versions }))
    }

    async fn config_diff(&self, request: Request<ConfigDiffRequest>) -> Result<Response<PlanResponse>> {
        let ConfigDiffRequest { from, to } = request.into_inner();
        let changes = self.reloads.diff(from, (to > 0).then_some(to)).await.map_err(|e| refused(&e))?;
        Ok(Response::new(PlanResponse { ok: true, ..changes_of(&changes) }))
    }

    async fn config_rollback(
        &self,
        request: Request<ConfigRollbackRequest>,
    ) -> Result<Response<ReloadResponse>> {
        let caller = Caller::of(&request)?;
        let ConfigRollbackRequest { number, gate, timeout_ms } = request.into_inner();
        let wants = Wants { restart: true, start: true };
        let asked = Asked { wants, gate: within(gate, timeout_ms) };
        let intent = self.intend(&caller, "rollback", &number.to_string()).await;
        let accepted = self.reloads.rollback(number, asked, caller.describe()).await;
        let (outcome, message) = came(&accepted);
        intent.came_now(outcome, &message).await;
        answer(accepted).map(Response::new)
    }

    async fn certificates(&self, _: Request<CertificatesRequest>) -> Result<Response<CertificatesResponse>> {
        let specs = self.specs.clone();
        let looked = work::PROGRAMS.run(move || {
            let now = clock::wall().0 / 1_000_000_000;
            let of = |spec: &std::sync::Arc<ServiceSpec>| {
                let path = certificate::place(spec)?;
                Some(certificate_of(spec.name.to_string(), &path, now))
            };
            Ok(specs.iter().filter_map(of).collect())
        });
        let certificates = looked.await.map_err(|e| Status::internal(e.to_string()))?;
        Ok(Response::new(CertificatesResponse { certificates }))
    }
}

/// What a file says; blocking.
fn certificate_of(service: String, path: &std::path::Path, now: i64) -> Certificate {
    let told = Certificate { service, path: path.display().to_string(), ..Certificate::default() };
    match certificate::read(path) {
        Ok(Some(facts)) => Certificate {
            exists: true,
            subject: facts.subject,
            issuer: facts.issuer,
            not_before: Some(convert::timestamp(Wall(facts.not_before.saturating_mul(SECOND)))),
            not_after: Some(convert::timestamp(Wall(facts.not_after.saturating_mul(SECOND)))),
            days_left: (facts.not_after - now).div_euclid(DAY),
            names: facts.names,
            self_signed: facts.self_signed,
            ..told
        },
        Ok(None) => Certificate { error: "there is no such file".to_owned(), ..told },
        Err(error) => Certificate { exists: true, error, ..told },
    }
}

/// Nanoseconds of a second, and seconds of a day.
const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

fn version_of(version: Version, standing: &Standing) -> ConfigVersion {
    let refused = standing.refused.as_ref().filter(|refused| refused.number == version.number);
    let why = version.taken_back.map(|back| back.why).or(refused.map(|refused| refused.why.clone()));
    let next = refused.zip(standing.current).map(|(_, current)| {
        let back = format!("or write {current} back: helmctl config rollback {current}");
        vec!["mend the files, then: helmctl reload --wait".to_owned(), back]
    });
    ConfigVersion {
        number: version.number,
        at: Some(convert::timestamp(Wall(version.at))),
        by: version.author.by,
        why: version.author.why,
        files: version.files,
        current: standing.current == Some(version.number),
        refused: why.unwrap_or_default(),
        next: next.unwrap_or_default(),
    }
}

pub(super) fn within(gate: bool, timeout_ms: u64) -> Option<Duration> {
    gate.then_some(Duration::from_millis(timeout_ms))
}

/// For the audit trail; how a reload that was begun ends is in the history of configurations.
pub(crate) fn came(accepted: &std::result::Result<Accepted, ReloadError>) -> (audit::Outcome, String) {
    match accepted {
        Ok(Accepted { operation: Some(operation), .. }) => {
            (audit::Outcome::Done, format!("configuration {} is being applied", operation.to))
        }
        Ok(Accepted { plan, operation: None }) if plan.ok => {
            (audit::Outcome::Done, "nothing was to be done".to_owned())
        }
        Ok(Accepted { operation: None, .. }) => (audit::Outcome::Refused, "the files have faults".to_owned()),
        Err(e) => (audit::Outcome::Failed, e.to_string()),
    }
}

#[allow(clippy::result_large_err, reason = "the error of every handler")]
pub(super) fn answer(accepted: std::result::Result<Accepted, ReloadError>) -> Result<ReloadResponse> {
    let Accepted { plan, operation } = accepted.map_err(|e| refused(&e))?;
    let (id, number) = operation.map(|operation| (operation.id, operation.to)).unwrap_or_default();
    Ok(ReloadResponse { plan: Some(plan_of(&plan)), id, number })
}

fn refused(error: &ReloadError) -> Status {
    let message = error.to_string();
    match error {
        ReloadError::Busy(_) => reason::busy(&message),
        ReloadError::NotKept(_) | ReloadError::NotWritten(_) => reason::not_recorded(&message),
        ReloadError::Unknown(_) | ReloadError::Faulty { .. } => reason::bad_request(&message),
        ReloadError::Leaving => reason::leaving(&message),
    }
}

fn plan_of(plan: &Plan) -> PlanResponse {
    let mut answer = PlanResponse {
        ok: plan.ok,
        faults: plan.faults.iter().map(convert::fault).collect(),
        notes: plan.notes.clone(),
        current: plan.current.unwrap_or(0),
        ..changes_of(&plan.changes)
    };
    for (service, step) in answer.services.iter_mut().zip(&plan.steps) {
        step.action.as_str().clone_into(&mut service.action);
        service.message.clone_from(&step.words);
    }
    answer
}

fn changes_of(changes: &Changes) -> PlanResponse {
    let service = |change: &ServiceChange| v1::ServiceChange {
        name: change.name.to_string(),
        kind: change.kind.as_str().to_owned(),
        fields: change.fields.iter().map(field_of).collect(),
        action: String::new(),
        message: String::new(),
    };
    PlanResponse {
        services: changes.services.iter().map(service).collect(),
        settings: changes.settings.iter().map(field_of).collect(),
        ..PlanResponse::default()
    }
}

fn field_of(change: &FieldChange) -> v1::FieldChange {
    v1::FieldChange {
        field: change.field.clone(),
        old: change.old.clone(),
        new: change.new.clone(),
        need: change.need.as_str().to_owned(),
    }
}

/// Tells how a reload goes, until something has come of it or this life of helmd ends.
pub(super) async fn follow(
    mut doing: watch::Receiver<Doing>,
    supervisor: Supervisor,
    id: String,
    sink: mpsc::Sender<Result<ReloadProgress>>,
) {
    let mut fleet = supervisor.subscribe();
    let mut report: Option<Report> = None;
    loop {
        let now = doing.borrow_and_update().clone();
        let Some(operation) = now.operation.filter(|operation| operation.id == id) else { return };
        if report.is_none() && !now.pursuits.is_empty() {
            report = Some(Report::of(now.pursuits.to_vec()));
        }
        let view: std::sync::Arc<FleetView> = fleet.borrow_and_update().clone();
        let services = report.as_mut().map(|report| report.news(&view, clock::mono())).unwrap_or_default();
        let over = operation.ended.is_some();
        let outcome = operation.ended.map(|ended| Outcome { result: ended.result, message: ended.message });
        if over || !services.is_empty() {
            let told = sink.send(Ok(ReloadProgress { services, outcome })).await;
            if over || told.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = doing.changed() => if changed.is_err() { return },
            changed = fleet.changed() => if changed.is_err() { return },
            () = sink.closed() => return,
        }
    }
}
