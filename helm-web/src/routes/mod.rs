//! What can be asked for. `/api/…` is what HiveMatrix speaks (contract 5), `/api/v1/…` all that helmd offers over HTTP.

pub mod certificates;
pub mod config;
pub mod dashboard;
pub mod docs;
mod document;
pub mod fleet;
pub mod health;
pub mod incidents;
pub mod ingest;
pub mod input;
pub mod jobs;
pub mod logs;
pub mod metrics;
pub mod operate;
pub mod prometheus;
pub mod services;
pub mod sign_in;
pub mod store;
pub mod stream;
mod when;

use axum::Router;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::MaybeDirect;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};

/// The head of the document.
#[derive(OpenApi)]
#[openapi(
    info(title = "Helm", description = "Services, their logs and their numbers. Errors are problem+json (RFC 9457), or `{\"error\": …}` where HiveMatrix expects that."),
    components(schemas(ProblemBody, PlainBody)),
    tags(
        (name = "services", description = "What runs, and how it is"),
        (name = "logs", description = "What services said"),
        (name = "metrics", description = "Numbers over time"),
        (name = "configuration", description = "What Helm runs by: the files on disk, and what was applied of them"),
        (name = "store", description = "Where the log and the numbers are kept"),
        (name = "helm", description = "Helm itself"),
    )
)]
struct Head;

/// All routes and their document.
fn all() -> (Router<App>, Document) {
    OpenApiRouter::with_openapi(Head::openapi())
        .routes(routes!(health::health))
        .routes(routes!(services::list))
        .routes(routes!(services::statuses))
        .routes(routes!(services::status))
        .routes(routes!(dashboard::status))
        .routes(routes!(operate::start))
        .routes(routes!(operate::stop))
        .routes(routes!(operate::restart))
        .routes(routes!(logs::list))
        .routes(routes!(logs::one))
        .routes(routes!(logs::context))
        .routes(routes!(logs::counts::histogram))
        .routes(routes!(logs::counts::facets))
        .routes(routes!(logs::export::export))
        .routes(routes!(metrics::of_service))
        .routes(routes!(metrics::list, metrics::send))
        .routes(routes!(metrics::points))
        .routes(routes!(fleet::info))
        .routes(routes!(fleet::services))
        .routes(routes!(fleet::service))
        .routes(routes!(fleet::output))
        .routes(routes!(fleet::events))
        .routes(routes!(fleet::graph))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(incidents::why))
        .routes(routes!(config::plan))
        .routes(routes!(config::history))
        .routes(routes!(config::diff))
        .routes(routes!(config::reload))
        .routes(routes!(config::rollback))
        .routes(routes!(certificates::ssl_info))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::one))
        .routes(routes!(store::status))
        .routes(routes!(store::retention))
        .routes(routes!(ingest::hivematrix))
        .routes(routes!(ingest::lines))
        .routes(routes!(ingest::otlp))
        .routes(routes!(ingest::loki))
        .routes(routes!(ingest::bulk))
        .routes(routes!(ingest::bulk_of_index))
        .routes(routes!(sign_in::sign_in))
        .routes(routes!(sign_in::sign_out))
        .routes(routes!(sign_in::me))
        .routes(routes!(stream::stream))
        .routes(routes!(prometheus::prometheus))
        .routes(routes!(docs::openapi))
        .routes(routes!(docs::docs))
        .split_for_parts()
}

/// All routes.
pub fn router(app: App) -> Router {
    all().0.fallback(elsewhere).with_state(app)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> Document {
    document::finished(all().1)
}

/// What is no route: below `/es` what shippers ask before they send, elsewhere nothing.
async fn elsewhere(who: Result<MaybeDirect>, method: Method, uri: Uri) -> Response {
    match uri.path().strip_prefix("/es") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => ingest::probe(who, &method, rest),
        _ => {
            Problem::not_found("there is nothing at this address; /docs lists what there is").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_routes_contradict_each_other() {
        let (_, document) = super::all();
        assert!(document.paths.paths.contains_key("/api/logs/ingest"));
    }
}
