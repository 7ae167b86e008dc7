//! The one truth about the services: a task that owns the fleet ([`driver`]), and the handle that everybody else holds.

pub mod driver;
pub mod perform;

use std::sync::Arc;

use helm_core::ask::{Ask, Refusal};
use helm_core::goal::Goal;
use helm_core::name::ServiceName;
use helm_core::status::ServiceStatus;
use tokio::sync::{mpsc, oneshot, watch};

/// Requests that may wait while a former one is being recorded; further callers wait in `ask`.
pub const ASK_QUEUE: usize = 64;

/// The fleet as clients see it, at one moment.
#[derive(Debug, Clone, Default)]
pub struct FleetView {
    /// The fleet is held down.
    pub hold: bool,
    /// What was wanted is not known, or could not be written down.
    pub alert: Option<String>,
    /// Grows with every change.
    pub revision: u64,
    /// In the order of services.json.
    pub services: Vec<Arc<ServiceStatus>>,
}

impl FleetView {
    /// One service.
    pub fn get(&self, name: &str) -> Option<&Arc<ServiceStatus>> {
        self.services.iter().find(|s| s.name.as_str() == name)
    }
}

/// What is on its way to the driver.
#[derive(Debug)]
pub enum Call {
    /// A wish.
    Ask(Request),
    /// A signal for the main process of a service.
    Signal {
        /// Whom.
        service: ServiceName,
        /// Number.
        signal: i32,
        /// Who asked.
        by: String,
        /// Who got it, or why nobody did.
        reply: oneshot::Sender<Result<u32, AskError>>,
    },
}

/// A request on its way to the driver.
#[derive(Debug)]
pub struct Request {
    ask: Ask,
    by: String,
    reply: oneshot::Sender<Result<Accepted, AskError>>,
}

/// The request is recorded and being carried out.
#[derive(Debug)]
pub struct Accepted {
    /// What the caller waits for.
    pub goals: Vec<Pursuit>,
    /// What is started as well, because that needs it.
    pub also: Vec<ServiceName>,
    /// Something to tell beside it ("the wish could not be recorded").
    pub warning: Option<String>,
}

/// One service on its way to a goal.
#[derive(Debug, Clone)]
pub struct Pursuit {
    /// Service.
    pub name: ServiceName,
    /// Goal.
    pub goal: Goal,
    /// Its status when the request was made.
    pub at_begin: Arc<ServiceStatus>,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It makes no sense.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What was asked for could not be recorded, so it was not done.
    #[error(
        "the wish could not be recorded in {path} ({cause}); nothing was done. Free space or mend the directory, and try again"
    )]
    NotRecorded {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// It has no main process that could be signalled.
    #[error("{0}")]
    NotRunning(String),
    /// helmd is on its way out.
    #[error("helmd is leaving; services stay. Try again in a moment")]
    Leaving,
}

/// Handle to the fleet.
#[derive(Debug, Clone)]
pub struct Supervisor {
    asks: mpsc::Sender<Call>,
    view: watch::Receiver<Arc<FleetView>>,
}

impl Supervisor {
    /// Asks for something; answers when it is recorded and begun.
    pub async fn ask(&self, ask: Ask, by: String) -> Result<Accepted, AskError> {
        let (reply, answer) = oneshot::channel();
        let call = Call::Ask(Request { ask, by, reply });
        self.asks.send(call).await.map_err(|_| AskError::Leaving)?;
        answer.await.map_err(|_| AskError::Leaving)?
    }

    /// Sends the main process of a service a signal; its pid.
    pub async fn signal(&self, service: ServiceName, signal: i32, by: String) -> Result<u32, AskError> {
        let (reply, answer) = oneshot::channel();
        let call = Call::Signal { service, signal, by, reply };
        self.asks.send(call).await.map_err(|_| AskError::Leaving)?;
        answer.await.map_err(|_| AskError::Leaving)?
    }

    /// The fleet now.
    pub fn view(&self) -> Arc<FleetView> {
        self.view.borrow().clone()
    }

    /// A way to wait for changes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<FleetView>> {
        self.view.clone()
    }
}
