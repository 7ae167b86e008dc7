//! `/api/v1`: the store, and what it keeps how long.

use axum::Json;
use axum::extract::State;
use helm_shapes::store::{Retention, Status};
use serde::Deserialize;
use utoipa::IntoParams;

use super::input::Params;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{ProblemBody, Result};

/// The store: its engine, its size, and what waits.
#[utoipa::path(get, path = "/api/v1/store", tag = "store", responses(
    (status = 200, body = Status), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn status(State(app): State<App>, caller: Caller) -> Result<Json<Status>> {
    Ok(Json(app.backend.store(&caller.principal).await?.status().await?.into()))
}

/// What to tell.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct What {
    /// true: also what would be removed now; nothing is
    dry_run: Option<bool>,
}

/// What is kept how long, and what that means on this disk.
#[utoipa::path(get, path = "/api/v1/store/retention", tag = "store", params(What), responses(
    (status = 200, body = Retention), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody), (status = 403, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn retention(
    State(app): State<App>,
    caller: Caller,
    Params(what): Params<What>,
) -> Result<Json<Retention>> {
    let mut store = app.backend.store(&caller.principal).await?;
    Ok(Json(store.retention(what.dry_run.unwrap_or(false), Vec::new()).await?.into()))
}
