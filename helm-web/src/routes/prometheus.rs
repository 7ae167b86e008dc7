//! `/prometheus`, and `/metrics` for those who ask for that text.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use helm_proto::v1::{LogFacetsRequest, LogFilter, Principal};

use crate::app::App;
use crate::auth::MaybeDirect;
use crate::auth::credential::rights;

use crate::problem::{Problem, ProblemBody, Result};
use crate::prometheus::text::Format;
use crate::prometheus::{Facts, Web, written};

/// Numbers as they are now, for Prometheus: its own text, or OpenMetrics where `Accept` asks for that. Needs a direct request, or an
/// API token that may read numbers.
#[utoipa::path(get, path = "/prometheus", tag = "metrics", responses(
    (status = 200, content_type = "text/plain", body = String), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody)))]
pub async fn prometheus(
    State(app): State<App>,
    MaybeDirect(caller): MaybeDirect,
    headers: HeaderMap,
) -> Result<Response> {
    let facts = facts(&app, &caller.principal).await?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of(accept);
    Ok(([(CONTENT_TYPE, format.media()), (VARY, "Accept, Authorization, Cookie")], written(&facts, format))
        .into_response())
}

/// What can be had; while helmd or its database is away that is little, and says so.
async fn facts(app: &App, whom: &Principal) -> Result<Facts> {
    let web = Web {
        connections: app.connections.count(),
        streams: app.places.count(),
        batches: app.ingest.gate.under_way(),
        refused: app.ingest.refused.waiting(),
    };
    let mut facts = Facts { web, ..Facts::default() };
    match rights(app, whom).await {
        Ok(rights) if rights.any("scrape") => {}
        Ok(_) => {
            return Err(Problem::forbidden(
                "numbers for Prometheus are for admins, API tokens made with --metrics, and direct requests",
            ));
        }
        Err(e) if e.is_away() => return Ok(facts),
        Err(e) => return Err(e.into()),
    }
    let mut client = app.backend.client(whom).await?;
    match client.info().await {
        Ok(info) => facts.info = Some(info),
        Err(e) if e.is_away() => return Ok(facts),
        Err(e) => return Err(Problem::from(e)),
    }
    facts.services = client.status(Vec::new()).await.map(|status| status.services).unwrap_or_default();
    let counted = LogFacetsRequest { filter: Some(LogFilter::default()) };
    let counts = async { app.backend.logs(whom).await?.facets(counted).await };
    let status = async { app.backend.store(whom).await?.status().await };
    let (counts, status) = tokio::join!(counts, status);
    (facts.counts, facts.store) = (counts.ok(), status.ok());
    Ok(facts)
}
