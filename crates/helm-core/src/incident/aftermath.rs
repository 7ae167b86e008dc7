//! What happened around an incident: what had changed shortly before, and what it did to others.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Incident, Told};
use crate::event::{Change, ChangeKind};
use crate::name::ServiceName;
use crate::time::Wall;

/// What is older has not changed shortly before.
pub const SHORTLY: Duration = Duration::from_secs(600);
/// What others do so long after the service is ready again is their own affair.
const AFTERWARDS: Duration = Duration::from_secs(60);

/// What had changed shortly before: what was asked of the service, and what became of those that it needs. Oldest first.
pub fn before<'a>(
    service: &ServiceName,
    needs: &[ServiceName],
    changes: impl Iterator<Item = &'a Change>,
    at: Wall,
) -> Vec<Told> {
    let from = Wall(at.0.saturating_sub(nanos(SHORTLY)));
    let shortly = changes.filter(|change| from <= change.at && change.at <= at);
    shortly
        .filter_map(|change| {
            let own = change.service == *service;
            let text = match change.kind {
                ChangeKind::Wish if own => format!("to be {}: {}", change.to, change.cause),
                ChangeKind::Signal if own => format!("{} {}", change.to, change.cause),
                ChangeKind::Warning if own && !change.to.is_empty() => change.to.clone(),
                ChangeKind::Exit | ChangeKind::State | ChangeKind::Health
                    if !own && needs.contains(&change.service) =>
                {
                    of_another(change)?
                }
                ChangeKind::Wish
                | ChangeKind::Signal
                | ChangeKind::Warning
                | ChangeKind::Exit
                | ChangeKind::State
                | ChangeKind::Health
                | ChangeKind::Incident
                | ChangeKind::Store => return None,
            };
            let service = (!own).then(|| change.service.clone());
            Some(Told { at: change.at, service, text })
        })
        .collect()
}

/// What became of those that need the service, from the incident until a moment after it was ready again: the first thing of
/// each. `changes` are oldest first.
pub fn aftermath<'a>(
    incident: &Incident,
    dependents: &[ServiceName],
    changes: impl Iterator<Item = &'a Change>,
) -> Vec<Told> {
    let (service, at) = (&incident.mishap.service, incident.mishap.at);
    let (mut told, mut until, mut seen) = (Vec::new(), None, BTreeSet::new());
    for change in changes.filter(|change| change.at >= at) {
        if until.is_some_and(|until| change.at > until) {
            break;
        }
        if change.service == *service && change.kind == ChangeKind::State && change.to == "running" {
            until = until.or(Some(Wall(change.at.0.saturating_add(nanos(AFTERWARDS)))));
        }
        if !dependents.contains(&change.service) || seen.contains(&change.service) {
            continue;
        }
        let waits = change.kind == ChangeKind::State && change.to == "blocked";
        let text = if waits && change.cause.contains(service.as_str()) {
            change.cause.clone()
        } else {
            match of_another(change) {
                Some(text) => text,
                None => continue,
            }
        };
        seen.insert(change.service.clone());
        told.push(Told { at: change.at, service: Some(change.service.clone()), text });
    }
    told
}

/// What of another service is worth telling: that it does not work any more, or works again.
fn of_another(change: &Change) -> Option<String> {
    match (change.kind, change.to.as_str()) {
        (ChangeKind::Exit, _) => Some(change.cause.clone()),
        (ChangeKind::Health, health @ ("degraded" | "unhealthy" | "unreachable")) => {
            let message = if change.cause.is_empty() { String::new() } else { format!(": {}", change.cause) };
            Some(format!("{health}{message}"))
        }
        (ChangeKind::State, "failed") => Some(format!("failed: {}", change.cause)),
        (ChangeKind::State, "external") => Some(change.cause.clone()),
        (
            ChangeKind::State
            | ChangeKind::Health
            | ChangeKind::Wish
            | ChangeKind::Signal
            | ChangeKind::Warning
            | ChangeKind::Incident
            | ChangeKind::Store,
            _,
        ) => None,
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
