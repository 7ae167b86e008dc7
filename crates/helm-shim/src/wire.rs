//! What helmd and a keeper say to each other, over the keeper's Unix stream socket.
//!
//! A message is a 4-byte little-endian length and that many bytes of JSON, at most [`MAX_MESSAGE`]. helmd sends
//! [`Order`]s, the keeper sends [`Report`]s. The keeper serves one connection; a newer one replaces it. Every
//! connection begins with `Order::Hello` and its answer `Report::Hello`, which holds the whole state: reports that
//! were sent while nobody listened are not repeated, they are contained in it.
//!
//! Compatibility: fields are only ever added, with `#[serde(default)]`; a keeper of another version is adopted, and
//! replaced when its run is over.

use std::net::SocketAddr;
use std::time::Duration;

use helm_core::exit::Exit;
use helm_core::spec::{Definition, LogRules};
use helm_core::status::RunId;
use helm_core::time::{Mono, Wall};
use helm_core::wish::Mode;
use serde::{Deserialize, Serialize};

/// Longest message in bytes: an environment and an argv fit (the kernel's own bound for both is 2 MiB).
pub const MAX_MESSAGE: u32 = 4 << 20;

/// From helmd to the keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// First on every connection. The keeper takes the rules over and answers `Report::Hello`.
    Hello {
        /// Rules for the log files.
        log: LogRules,
        /// Attach to this live run of a dead keeper (only in the first order of a new keeper).
        attach: Option<Attach>,
    },
    /// Start a run. Refused (`StartFailed`) while another one is not over.
    Start(Box<StartOrder>),
    /// Send a signal (and SIGCONT after it, unless it is SIGSTOP) to the main process, or, once that is gone, to every
    /// process that is left of the tree.
    Signal {
        /// The run; an order for another run is ignored.
        run: RunId,
        /// Number.
        signal: i32,
    },
    /// End the whole tree with SIGKILL. Goes on until the tree is empty.
    Kill {
        /// The run.
        run: RunId,
    },
    /// The exit of the attached run's main process, learnt by helmd (waitid as subreaper, or its own pidfd).
    ExitKnown {
        /// The run.
        run: RunId,
        /// How.
        exit: Exit,
    },
    /// Leave when no run is alive: close the files, remove the socket, exit 0.
    Retire,
}

/// What a new keeper needs to take over the run of a dead one. The rest stands in the run's record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// The run.
    pub run: RunId,
    /// Processes known to have belonged to it, by pid and start time in clock ticks (proc(5), field 22).
    pub known: Vec<(u32, u64)>,
}

/// All that is needed to start one run. May hold secrets (`env`): never logged, never written to disk.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StartOrder {
    /// The id of the new run.
    pub run: RunId,
    /// Only for the record.
    pub mode: Mode,
    /// argv; `argv[0]` is the path that is executed (no search, no shell).
    pub argv: Vec<String>,
    /// The complete environment. The keeper adds HELM_RUN, and NOTIFY_SOCKET and WATCHDOG_USEC where `notify`/`watchdog` say so.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: String,
    /// Directory of the leaf cgroup to create and enter, and values to write into it before exec (file name, value).
    pub cgroup: Option<CgroupLeaf>,
    /// rlimits: (resource number, soft and hard value).
    pub rlimits: Vec<(i32, u64)>,
    /// Likewise, of the soft value alone: it can be changed while the service runs. Cut to what the hard one allows.
    #[serde(default)]
    pub soft_rlimits: Vec<(i32, u64)>,
    /// Addresses to listen at, and to hand over as LISTEN_FDS. The sockets stay open over the runs, until a start lists others or the
    /// keeper leaves. A keeper that does not know the field starts the run without.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// Give it a notify socket.
    pub notify: bool,
    /// Watchdog interval.
    pub watchdog: Option<Duration>,
    /// Only for the record.
    #[serde(default)]
    pub definition: Option<Definition>,
}

impl std::fmt::Debug for StartOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartOrder").field("run", &self.run).field("argv", &self.argv).finish_non_exhaustive()
    }
}

/// The leaf cgroup of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CgroupLeaf {
    /// Absolute directory.
    pub dir: String,
    /// `("pids.max", "200")`; a file that is not there is skipped and reported.
    pub values: Vec<(String, String)>,
}

/// From the keeper to helmd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Answer to `Order::Hello`: everything a new helmd must know.
    Hello(Box<KeeperState>),
    /// exec has succeeded; it was recorded before.
    Started {
        /// Run.
        run: RunId,
        /// Main process.
        pid: u32,
        /// Its start time in clock ticks since boot.
        start_ticks: u64,
        /// When.
        at: Mono,
        /// How the tree will be found and ended.
        containment: Containment,
        /// What could not be set up as asked (a limit file that is not there).
        remarks: Vec<String>,
    },
    /// It could not be started. The run is over.
    StartFailed {
        /// Run.
        run: RunId,
        /// `exec`, `chdir`, `cgroup`, `pipe`, `fork`, `record`, `listen`
        stage: String,
        /// errno, 0 if none.
        errno: i32,
        /// In words, with the path.
        message: String,
        /// Where it could not listen (`listen`).
        #[serde(default)]
        address: Option<SocketAddr>,
    },
    /// The main process has ended; it was recorded before.
    Ended(Ended),
    /// Nothing of the run is left, and its output is drained.
    TreeEmpty {
        /// Run.
        run: RunId,
        /// Processes that had outlived the main process.
        leftovers: u32,
    },
    /// sd_notify.
    Notify {
        /// Run.
        run: RunId,
        /// READY=1
        ready: bool,
        /// STOPPING=1
        stopping: bool,
        /// STATUS=
        status: Option<String>,
    },
    /// WATCHDOG=1 did not come in time.
    WatchdogMissed {
        /// Run.
        run: RunId,
    },
    /// Something about the output that an operator should know (lines dropped on a full disk, output that may be lost).
    Output {
        /// In words; empty when it is over.
        trouble: String,
    },
}

/// The end of a main process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Run.
    pub run: RunId,
    /// How.
    pub exit: Exit,
    /// When (monotonic).
    pub at: Mono,
    /// When (wall).
    pub at_wall: Wall,
    /// CPU time in user mode, where it is known.
    pub user: Duration,
    /// CPU time in kernel mode.
    pub system: Duration,
    /// Largest resident set in bytes.
    pub max_rss: u64,
    /// Processes of the run that the kernel had killed for memory until then; `None`: no cgroup counts them.
    #[serde(default)]
    pub oom_kills: Option<u64>,
}

/// Everything about a keeper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeeperState {
    /// Version of the helm-shim that answers.
    pub version: String,
    /// Its pid.
    pub pid: u32,
    /// The current or last run, if there was one.
    pub run: Option<RunState>,
    /// Why it could not attach, if it was asked to: the tree has been ended then.
    #[serde(default)]
    pub attach_failed: Option<String>,
    /// Present trouble with the output.
    #[serde(default)]
    pub output_trouble: String,
}

/// A run as the keeper knows it: the content of the run's record, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Its id.
    pub run: RunId,
    /// Mode it was started in.
    pub mode: Mode,
    /// Main process.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_ticks: u64,
    /// When it was started.
    pub started: Mono,
    /// The same on the wall clock.
    pub started_wall: Wall,
    /// It said READY=1.
    pub ready: bool,
    /// STATUS=
    pub status: Option<String>,
    /// The end of the main process.
    pub ended: Option<Ended>,
    /// Nothing of it is left.
    pub over: bool,
    /// How many processes had outlived the main process (valid when `over`).
    #[serde(default)]
    pub leftovers: u32,
    /// How the tree is found and ended.
    pub containment: Containment,
    /// Leaf cgroup.
    pub cgroup: Option<String>,
    /// Address of the notify socket (a path, or `@name`).
    pub notify: Option<String>,
    /// Watchdog interval.
    pub watchdog: Option<Duration>,
    /// The definition that it was started by, as far as a later helmd must know it.
    #[serde(default)]
    pub definition: Option<Definition>,
}

/// How the tree of a run is found and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    /// A leaf cgroup and `cgroup.kill`.
    Cgroup,
    /// The keeper is the subreaper: every descendant is below it.
    Subreaper,
    /// Attached: session, descendants, known processes.
    Session,
}
