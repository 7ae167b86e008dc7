//! `/health`: whether helm-web works, from memory; and what of Helm is missing besides (contract 8.1).

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::Who;

/// How helm-web is. The status code is 200 while it works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `helm`
    service: &'static str,
    /// `healthy`, or `degraded` while something of Helm is away.
    status: &'static str,
    /// Now, ISO 8601 in UTC.
    timestamp: String,
    /// What was looked at, each with its status.
    checks: BTreeMap<&'static str, Check>,
}

/// One check.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Check {
    /// `healthy` or `unhealthy`
    status: &'static str,
    /// What is wrong, and the command that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How Helm is: 200 while helm-web works, whatever else is away.
#[utoipa::path(get, path = "/health", tag = "helm", responses((status = 200, body = Health)))]
pub async fn health(State(app): State<App>, Extension(who): Extension<Who>) -> Json<Health> {
    // Strangers are told what helps, and no path of this host.
    let knows = match who {
        Who::Direct(_) => true,
        Who::Known(caller) => caller.principal.role == "admin",
        Who::Nobody | Who::Refused(_) => false,
    };
    let checks: BTreeMap<_, _> = app
        .situation
        .checks()
        .into_iter()
        .map(|(name, fault)| {
            let status = if fault.is_some() { "unhealthy" } else { "healthy" };
            let error = fault.map(|fault| if knows { fault.whole } else { fault.brief });
            (name, Check { status, error })
        })
        .collect();
    let well = checks.values().all(|check| check.error.is_none());
    let status = if well { "healthy" } else { "degraded" };
    Json(Health { service: "helm", status, timestamp: jiff::Timestamp::now().to_string(), checks })
}
