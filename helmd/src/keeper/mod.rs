//! One task per service that speaks with its keeper: starts it, gives orders, turns reports into news, and replaces it
//! when it was killed, without touching the service.

pub mod launch;
pub mod link;
mod live;
mod records;
mod silence;
mod task;

pub(crate) use records::last_record;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use helm_core::event::News;
use helm_core::name::ServiceName;
use helm_core::spec::{Config, ServiceSpec};
use helm_core::status::RunId;
use helm_core::wish::Mode;
use rustix::process::Rlimit;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cgroup::Cgroups;
use crate::home::Home;
use crate::reaper::Reaper;
use crate::supervisor::driver::NewsSender;

/// Orders that may wait for a keeper's task. One life needs a handful: start, stop, kill every few seconds, retire.
const COMMANDS: usize = 64;

/// What all keepers share.
#[derive(Debug)]
pub struct World {
    /// The home.
    pub home: Home,
    /// The configuration.
    pub config: Config,
    /// The keeper's program.
    pub shim: PathBuf,
    /// The clean environment that every service begins with.
    pub base_env: BTreeMap<String, String>,
    /// Where leaves go.
    pub cgroups: Cgroups,
    /// The limit of open files that helmd was started with; it raises its own.
    pub nofile: Rlimit,
    /// Orphans.
    pub reaper: Reaper,
}

/// An order for a keeper's task.
#[derive(Debug)]
pub enum Command {
    /// Find what is there from before, and tell it. Only first.
    Adopt {
        /// Newest run whose end was told; ends of former runs beyond it are told now.
        told: Option<RunId>,
        /// What was found.
        reply: oneshot::Sender<Vec<News>>,
    },
    /// Start a run.
    Start {
        /// Its id.
        run: RunId,
        /// Its mode.
        mode: Mode,
    },
    /// Signal the main process, or what is left.
    Signal {
        /// Run.
        run: RunId,
        /// Number.
        signal: i32,
    },
    /// Signal the main process because somebody asked for that. Not repeated to a keeper that replaces this one: it was
    /// meant for this moment, and must not displace the order by which a run is being ended.
    Nudge {
        /// Run.
        run: RunId,
        /// Number.
        signal: i32,
    },
    /// End the tree.
    Kill {
        /// Run.
        run: RunId,
    },
    /// The keeper may leave.
    Retire,
}

/// Handle to a keeper's task.
#[derive(Debug)]
pub struct Keeper {
    commands: mpsc::Sender<Command>,
}

impl Keeper {
    /// Starts the task of one service.
    pub fn spawn(
        spec: Arc<ServiceSpec>,
        world: Arc<World>,
        news: NewsSender,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (commands, orders) = mpsc::channel(COMMANDS);
        tasks.spawn(task::Task::new(spec, world, news, orders).run(stop));
        Self { commands }
    }

    /// Gives an order without waiting.
    pub fn order(&self, command: Command) -> Result<(), String> {
        self.commands.try_send(command).map_err(|e| e.to_string())
    }
}

/// The variables of helmd's own environment that services inherit; everything else stays behind (contract 11, no. 11).
pub fn base_environment(own: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    const KEPT: [&str; 15] = [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "JAVA_HOME",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "LD_LIBRARY_PATH",
    ];
    let mut env: BTreeMap<String, String> =
        own.filter(|(name, _)| KEPT.contains(&name.as_str()) || name.starts_with("LC_")).collect();
    env.entry("PATH".to_owned()).or_insert_with(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    env
}

/// The service whose keeper this is.
pub(crate) type Name = ServiceName;
