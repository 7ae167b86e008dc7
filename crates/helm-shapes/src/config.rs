//! The configuration: what an edit changes, and what was applied.

use helm_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::fleet::Fault;
use crate::time::optional;

/// `plan --json`, `config diff --json`
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Plan {
    ok: bool,
    current: Option<u64>,
    services: Vec<Service>,
    settings: Vec<Field>,
    notes: Vec<String>,
    faults: Vec<Fault>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceChange)]
struct Service {
    name: String,
    kind: String,
    action: Option<String>,
    message: Option<String>,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldChange)]
struct Field {
    field: String,
    old: Option<String>,
    new: Option<String>,
    need: String,
}

/// `reload --json`, `config rollback --json`
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Reloaded {
    /// What was to be done.
    pub plan: Plan,
    /// nothing, done, rolled_back, failed
    pub result: String,
    /// One sentence.
    pub message: String,
    /// Of the configuration; 0: nothing was applied.
    pub number: u64,
}

/// One of `config history --json`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigVersion)]
pub struct Version {
    number: u64,
    at: Option<String>,
    by: String,
    why: String,
    files: Vec<String>,
    current: bool,
    refused: Option<String>,
    next: Vec<String>,
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl From<v1::PlanResponse> for Plan {
    fn from(plan: v1::PlanResponse) -> Self {
        Self {
            ok: plan.ok,
            current: (plan.current > 0).then_some(plan.current),
            services: plan.services.into_iter().map(Service::from).collect(),
            settings: plan.settings.into_iter().map(Field::from).collect(),
            notes: plan.notes,
            faults: plan.faults.into_iter().map(Fault::from).collect(),
        }
    }
}

impl From<v1::ServiceChange> for Service {
    fn from(change: v1::ServiceChange) -> Self {
        Self {
            name: change.name,
            kind: change.kind,
            action: given(change.action),
            message: given(change.message),
            fields: change.fields.into_iter().map(Field::from).collect(),
        }
    }
}

impl From<v1::FieldChange> for Field {
    fn from(change: v1::FieldChange) -> Self {
        Self { field: change.field, old: change.old, new: change.new, need: change.need }
    }
}

impl From<v1::ConfigVersion> for Version {
    fn from(version: v1::ConfigVersion) -> Self {
        Self {
            number: version.number,
            at: optional(version.at),
            by: version.by,
            why: version.why,
            files: version.files,
            current: version.current,
            refused: given(version.refused),
            next: version.next,
        }
    }
}
