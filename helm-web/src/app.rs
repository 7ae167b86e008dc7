//! The process: what it is put together from, its beginning and its end.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use helm_client::Home;
use helm_client::home::HomeError;
use helm_proto::v1::Principal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tracing_subscriber::EnvFilter;

use crate::auth::Authority;
use crate::auth::core::Core;
use crate::auth::keys::Keys;
use crate::auth::sessions::Sessions;
use crate::backend::Backend;
use crate::cli::Arguments;
use crate::ingest::Ingest;
use crate::live::Hub;
use crate::live::places::Places;
use crate::problem::Problem;
use crate::request::{self, Ids};
use crate::routes;
use crate::serve::connections::Connections;
use crate::serve::listen::{self, ListenError};
use crate::serve::serve;
use crate::situation::{self, Situation};
use crate::together::Together;

/// What handlers need.
#[derive(Debug, Clone)]
pub struct App {
    /// The way to helmd.
    pub backend: Backend,
    /// Finds out who asks.
    pub authority: Authority,
    /// Settings of the home.
    pub situation: Situation,
    /// Names requests.
    pub ids: Arc<Ids>,
    /// How many connections there are.
    pub connections: Arc<Connections>,
    /// Entries on their way in.
    pub ingest: Arc<Ingest>,
    /// What happens, for streams.
    pub hub: Hub,
    /// How many streams there are.
    pub places: Arc<Places>,
    /// The states of all services, as JSON: what is asked for most.
    pub statuses: Arc<Together<Principal, Result<Bytes, Problem>>>,
    /// Owns the streams.
    pub tasks: TaskTracker,
    /// Told when helm-web leaves.
    pub stop: CancellationToken,
}

/// Why helm-web does not run.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Nothing to listen at.
    #[error("{}", with_cause(.0))]
    Listen(#[from] ListenError),
    /// The system does not give what a program needs.
    #[error("helm-web cannot begin: {0}")]
    System(String),
}

/// The sentence, and why.
fn with_cause(error: &ListenError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

impl From<io::Error> for AppError {
    fn from(error: io::Error) -> Self {
        Self::System(error.to_string())
    }
}

/// Runs until a signal ends it.
///
/// # Errors
/// It cannot begin.
pub fn run(arguments: &Arguments) -> Result<(), AppError> {
    let filter = EnvFilter::try_from_env("HELM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false);
    log.with_writer(io::stderr).try_init().map_err(|e| AppError::System(e.to_string()))?;
    let home = Home::find(arguments.home.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_home(home, arguments))
}

async fn serve_home(home: Home, arguments: &Arguments) -> Result<(), AppError> {
    let listeners = listen::open(&arguments.addresses(), arguments.allow_remote)?;
    for listener in &listeners {
        tracing::info!("listening at http://{}", listener.local_addr()?);
    }
    let own = rustix::process::getuid().as_raw();
    let connections = Connections::new(own);
    let (app, asking) = put_together(home, own, connections.clone())?;
    asking.ask().await;
    let (stop, tasks) = (app.stop.clone(), app.tasks.clone());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (refused, backend, hub) = (app.ingest.clone(), app.backend.clone(), app.hub.clone());
    let serving = serve(listeners, application(app), connections, stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => return Ok(()),
        () = asking.keep() => {}
        () = refused.refused.keep(&backend) => {}
        () = hub.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("leaving; requests under way are ended");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    serving.await;
    Ok(())
}

fn put_together(
    home: Home,
    own: u32,
    connections: Arc<Connections>,
) -> Result<(App, situation::Asking), AppError> {
    let core = Core::new(own).map_err(|e| AppError::System(e.to_string()))?;
    let keys = Keys::new(core.clone(), &instance(&home));
    let backend = Backend::of(home);
    let (situation, asking) = situation::of(backend.clone());
    let authority = Authority::new(own, keys, Sessions::new(core), backend.clone(), situation.clone());
    let ids = Arc::new(Ids::new());
    let ingest = Arc::new(Ingest::new(ids.stem(), own));
    let hub = Hub::of(backend.home().clone());
    let (places, tasks, stop) = (Arc::default(), TaskTracker::new(), CancellationToken::new());
    let statuses = Arc::default();
    let app =
        App { backend, authority, situation, ids, connections, ingest, hub, places, statuses, tasks, stop };
    Ok((app, asking))
}

fn instance(home: &Home) -> std::path::PathBuf {
    Path::join(home.path(), "instance")
}

/// All routes, behind what every request passes.
fn application(app: App) -> Router {
    let framed = routes::router(app.clone()).layer(axum::middleware::from_fn_with_state(app, request::frame));
    let whole = ServiceBuilder::new().map_request(request::without_prefix).service(framed);
    Router::new().fallback_service(whole)
}
