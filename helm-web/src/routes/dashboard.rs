//! What the dashboard of contract 5.4 asks for again and again.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use helm_proto::v1::{LogFacetsRequest, LogFilter};
use serde::Serialize;
use utoipa::ToSchema;

use super::services::{self, Status};
use crate::app::App;
use crate::auth::{self, Caller};
use crate::problem::{ProblemBody, Result};

/// Seconds of log that are counted.
const COUNTED: i64 = 3600;

/// How all services are, and how much each said in the last hour.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    statuses: BTreeMap<String, Status>,
    /// Entries of the last hour by service and level; levels without any are left out.
    log_stats: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

/// How all services are, and how much each said in the last hour.
#[utoipa::path(get, path = "/api/dashboard/status", tag = "services", responses(
    (status = 200, body = Overview), (status = 401, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn status(State(app): State<App>, caller: Caller) -> Result<Json<Overview>> {
    let statuses = services::of_all(&app, &caller).await?;
    let mut log_stats: BTreeMap<_, BTreeMap<_, _>> =
        statuses.keys().map(|name| (name.clone(), BTreeMap::new())).collect();
    let filter = LogFilter { since: Some((auth::now() - COUNTED) * 1_000_000_000), ..LogFilter::default() };
    let request = LogFacetsRequest { filter: Some(filter) };
    // Without the database the states are still told: they come from memory.
    match async { app.backend.logs(&caller.principal).await?.facets(request).await }.await {
        Ok(facets) => {
            for facet in facets.services {
                let levels = [
                    ("DEBUG", facet.debug),
                    ("INFO", facet.info),
                    ("WARNING", facet.warning),
                    ("ERROR", facet.error),
                    ("CRITICAL", facet.critical),
                ];
                if let Some(stats) = log_stats.get_mut(&facet.service) {
                    stats.extend(levels.into_iter().filter(|(_, count)| *count > 0));
                }
            }
        }
        Err(e) => tracing::debug!("no counts for the dashboard: {e}"),
    }
    Ok(Json(Overview { statuses, log_stats }))
}
