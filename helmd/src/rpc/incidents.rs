//! Incidents over the wire, and why a service is as it is.

use std::sync::Arc;

use helm_core::access::{Action, Scope};
use helm_core::event::{Change, ChangeKind};
use helm_core::incident::why::{Situation, why};
use helm_core::incident::{self, Incident, Told};
use helm_core::name::ServiceName;
use helm_core::status::{ServiceStatus, State};
use helm_core::time::Wall;
use helm_proto::incident as wire;
use helm_proto::v1::incidents_server::Incidents;
use helm_proto::v1::{
    self, GetIncidentRequest, ListIncidentsRequest, ListIncidentsResponse, WhyRequest, WhyResponse,
};
use helm_proto::{convert, reason};
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::{Api, Result};
use crate::incident::dependents;
use crate::incident::shelf::{Shelf, Wanted};
use crate::store::history;
use crate::supervisor::FleetView;
use crate::{clock, work};

/// Incidents of an answer where nobody says how many, and at most: of 16 KiB each, within the 4 MiB that a client takes.
const USUAL: u32 = 20;
const MOST: u32 = 200;
/// Events that are looked through for what came of an incident.
const EVENTS: usize = 2_000;
/// A killed keeper is told for so long.
const KEEPER_NANOS: i64 = 3_600_000_000_000;

#[tonic::async_trait]
impl Incidents for Api {
    async fn list_incidents(
        &self,
        request: Request<ListIncidentsRequest>,
    ) -> Result<Response<ListIncidentsResponse>> {
        let caller = Caller::of(&request)?;
        let ListIncidentsRequest { names, limit, before, since } = request.into_inner();
        let asked = names.clone();
        let names = caller.narrow(Action::Incidents, names)?;
        self.known(&asked)?;
        let limit = if limit == 0 { USUAL } else { limit.min(MOST) };
        let since = since.as_ref().map(convert::nanos);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (found, incomplete) = self.incidents(Wanted { names, before, since, limit }).await?;
        let scope = caller.scope(Action::Incidents);
        let incidents = found.into_iter().map(|found| wire::incident(&within(found, &scope), &[])).collect();
        Ok(Response::new(ListIncidentsResponse { incidents, incomplete: incomplete.unwrap_or_default() }))
    }

    async fn get_incident(&self, request: Request<GetIncidentRequest>) -> Result<Response<v1::Incident>> {
        let scope = Caller::of(&request)?.scope(Action::Incidents);
        let GetIncidentRequest { number } = request.into_inner();
        let incident = self.incident(number).await?;
        if !scope.holds(incident.mishap.service.as_str()) {
            return Err(unknown(number, ""));
        }
        let incident = within(incident, &scope);
        let aftermath = of_those(self.aftermath(&incident), &scope);
        Ok(Response::new(wire::incident(&incident, &aftermath)))
    }

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<WhyResponse>> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope(Action::Incidents);
        let WhyRequest { name } = request.into_inner();
        caller.may(Action::Incidents, Some(&name))?;
        self.known(std::slice::from_ref(&name))?;
        let view = self.supervisor.view();
        let status = view.get(&name).cloned();
        let status = status.ok_or_else(|| Status::internal(format!("{name} has no status yet")))?;
        let mut involved: Vec<Arc<ServiceStatus>> = needed(&status, &view);
        involved.retain(|other| scope.holds(other.name.as_str()));
        let names: Vec<String> = [&status].into_iter().chain(&involved).map(|s| s.name.to_string()).collect();
        let mut newest = self.newest(names).await?.into_iter();
        let incident = newest.next().flatten().map(|incident| within(incident, &scope));
        let aftermath = incident.as_ref().map_or_else(Vec::new, |incident| self.aftermath(incident));
        let aftermath = of_those(aftermath, &scope);
        let (keeper, started) = (self.keeper(&status.name), self.started(&status.name));
        let removed = self.specs.iter().any(|spec| spec.name == status.name && spec.is_removed());
        let taken_back = self.taken_back(&status.name, removed).await;
        let needs: Vec<Option<Incident>> = newest.collect();
        let needs: Vec<_> =
            involved.iter().zip(&needs).map(|(status, incident)| (&**status, incident.as_ref())).collect();
        let answers = match status.state {
            State::Running | State::Starting | State::External => self.answers.newest(&status.name),
            State::Stopped
            | State::Blocked
            | State::Stopping
            | State::Backoff
            | State::Failed
            | State::NotInstalled => Vec::new(),
        };
        let answer = why(Situation {
            status: &status,
            now: clock::wall(),
            incident: incident.as_ref(),
            answers: &answers,
            aftermath: &aftermath,
            keeper: keeper.as_ref(),
            started: started.as_ref(),
            removed,
            taken_back: taken_back.as_ref(),
            needs: &needs,
        });
        Ok(Response::new(wire::why(answer)))
    }
}

impl Api {
    /// Those that are wanted, newest first, and why older ones may be missing: from the home what is there, the rest from the
    /// store.
    async fn incidents(&self, wanted: Wanted) -> Result<(Vec<Incident>, Option<String>)> {
        let (shelf, asked) = (Shelf::of(&self.facts.home), wanted.clone());
        let read = move || Ok((shelf.list(&asked), shelf.may_lack(&asked.names)));
        let (mut found, may_lack) =
            work::INCIDENTS.run(read).await.map_err(|e| Status::internal(e.to_string()))?;
        if found.len() >= wanted.limit || !may_lack {
            return Ok((found, None));
        }
        let before = found.last().map(|oldest| oldest.number).or(wanted.before);
        let rest = Wanted { before, limit: wanted.limit - found.len(), ..wanted };
        match history::incidents(&self.store, &rest).await {
            Ok((older, incomplete)) => {
                found.extend(older);
                Ok((found, incomplete))
            }
            Err(why) => {
                Ok((found, Some(format!("older incidents are in the store, which cannot be read: {why}"))))
            }
        }
    }

    /// One of them: from the home, else from the store.
    async fn incident(&self, number: u64) -> Result<Incident> {
        let shelf = Shelf::of(&self.facts.home);
        let read = work::INCIDENTS.run(move || Ok(shelf.get(number))).await;
        if let Some(incident) = read.map_err(|e| Status::internal(e.to_string()))? {
            return Ok(incident);
        }
        let up_to = Wanted { before: Some(number.saturating_add(1)), limit: 1, ..Wanted::default() };
        let (stored, why) = match history::incidents(&self.store, &up_to).await {
            Ok((stored, incomplete)) => {
                (stored, incomplete.map_or_else(String::new, |why| format!(" ({why})")))
            }
            Err(why) => (Vec::new(), format!(" in the home, and the store cannot be read ({why})")),
        };
        stored.into_iter().find(|incident| incident.number == number).ok_or_else(|| unknown(number, &why))
    }

    /// The newest incident of each service.
    async fn newest(&self, names: Vec<String>) -> Result<Vec<Option<Incident>>> {
        let shelf = Shelf::of(&self.facts.home);
        let read = move || Ok(names.iter().map(|name| shelf.newest_of(name)).collect());
        work::INCIDENTS.run(read).await.map_err(|e| Status::internal(e.to_string()))
    }

    /// What came of it, as far as the events in memory go.
    fn aftermath(&self, incident: &Incident) -> Vec<Told> {
        let service = &incident.mishap.service;
        let dependents = dependents(&self.specs, service);
        let wanted = |change: &Change| {
            change.at >= incident.mishap.at
                && (change.service == *service || dependents.contains(&change.service))
        };
        let events = self.journal.last(EVENTS, u64::MAX, wanted);
        incident::aftermath(incident, &dependents, events.iter().map(|entry| &entry.change))
    }

    /// The last time that it was started, and why, as far as the events in memory go.
    fn started(&self, service: &ServiceName) -> Option<Told> {
        let starts = |change: &Change| {
            change.service == *service && change.kind == ChangeKind::State && change.to == "starting"
        };
        let change = self.journal.last(1, u64::MAX, starts).pop()?.change;
        Some(Told { at: change.at, service: None, text: change.cause })
    }

    /// The configuration that was taken back because of it, or with which it went; as long as the files say that.
    async fn taken_back(&self, service: &ServiceName, removed: bool) -> Option<Told> {
        // What cannot be read is not told: it is in no answer that somebody waits for.
        let (versions, standing) = self.reloads.history().await.ok()?;
        let refused = standing.refused?;
        let blamed = refused.who.contains(service);
        let version = versions.iter().find(|version| version.number == refused.number)?;
        let at = Wall(version.taken_back.as_ref().filter(|_| blamed || removed)?.at);
        let because = if blamed { " because of it" } else { "" };
        let text = format!("{} was taken back{because} (helmctl config history)", refused.number);
        Some(Told { at, service: None, text })
    }

    /// The last time that its keeper had to be replaced, not long ago.
    fn keeper(&self, service: &ServiceName) -> Option<Told> {
        let from = Wall(clock::wall().0.saturating_sub(KEEPER_NANOS));
        let wanted = |change: &Change| {
            change.at >= from
                && change.service == *service
                && change.kind == ChangeKind::Warning
                && change.cause == "keeper"
                && !change.to.is_empty()
        };
        let entry = self.journal.last(1, u64::MAX, wanted).pop()?;
        let text = entry.change.to.trim_start_matches("its keeper ").to_owned();
        Some(Told { at: entry.change.at, service: None, text })
    }
}

fn unknown(number: u64, why: &str) -> Status {
    reason::unknown_entry(&format!("there is no incident {number}{why}; helmctl incidents lists them"))
}

/// Without what it tells of services that lie outside.
fn within(mut incident: Incident, scope: &Scope) -> Incident {
    incident.evidence.before = of_those(incident.evidence.before, scope);
    incident
}

fn of_those(mut told: Vec<Told>, scope: &Scope) -> Vec<Told> {
    told.retain(|told| told.service.as_ref().is_none_or(|service| scope.holds(service.as_str())));
    told
}

/// Those for whom it waits, and whoever keeps them waiting in the end.
fn needed(status: &ServiceStatus, view: &FleetView) -> Vec<Arc<ServiceStatus>> {
    let mut names: Vec<&ServiceName> =
        status.waits_for.iter().filter(|_| status.state == State::Blocked).collect();
    if let Some(root) = status.stuck.as_ref().map(|stuck| &stuck.root)
        && !names.contains(&root)
    {
        names.push(root);
    }
    names.iter().filter_map(|name| view.get(name.as_str()).cloned()).collect()
}
