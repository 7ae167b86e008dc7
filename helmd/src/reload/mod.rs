//! Applying the configuration as it is on disk.
//!
//! ```text
//! reload: read and check -> compare -> keep as a version, write down what is to be done -> this life of helmd ends
//! the next life: begins by the new version -> asks the fleet (stop, restart, start) -> waits until all is well, or goes back
//! ```
//!
//! What is to be done is on disk before the life ends, so that a helmd that is killed meanwhile goes on with it. Here it is
//! decided and written down; [`carry_out`] does it.

pub mod carry_out;
mod lack;
pub mod plan;

use std::sync::Arc;
use std::time::Duration;

use helm_core::name::ServiceName;
use helm_core::reload::{Action, Step, Todo};
use helm_core::secret;
use helm_core::spec::{Changes, Config, Fault, FieldChange, Need, ServiceSpec, changes};
use helm_core::wish::Mode;
use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;

use crate::app::parts::Ground;
use crate::clock;
use crate::config::{self, Read, Texts};
use crate::drift::Drift;
use crate::home::Home;
use crate::leave::{Leave, Then};
use crate::programs;
use crate::supervisor::{Pursuit, Supervisor};
use crate::versions::{Author, Operation, Phase, Standing, Version, Versions};
use crate::work;
use plan::{Plan, Wants};

/// How long changed services have to become healthy, where the caller does not say.
const GATE: Duration = Duration::from_secs(60);

/// A reload as it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// What it may do.
    pub wants: Wants,
    /// Go back unless all is well within this; zero: the usual time.
    pub gate: Option<Duration>,
}

/// What came of asking.
#[derive(Debug)]
pub struct Accepted {
    /// What is different.
    pub plan: Plan,
    /// What is being done; `None`: nothing was to be done, or the files have faults.
    pub operation: Option<Operation>,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Another one is under way.
    #[error(
        "a reload is under way ({0}); nothing was done. Wait until it is over (helmctl status), and ask again"
    )]
    Busy(String),
    /// It could not be written down.
    #[error(
        "the configuration could not be kept in instance/config-history ({0}); nothing was done. Free space or mend the directory, and try again"
    )]
    NotKept(std::io::Error),
    /// The files could not be written.
    #[error(
        "the files of the home could not be written ({0}); compare them with instance/config-history, and try again"
    )]
    NotWritten(std::io::Error),
    /// There is none of that number.
    #[error("configuration {0} is not kept; helmctl config history lists those that are")]
    Unknown(u64),
    /// A former one that this helmd does not take.
    #[error("configuration {number} has {} fault(s) for this version of helmd; the first: {}", .faults.len(), first(.faults))]
    Faulty {
        /// Its number.
        number: u64,
        /// What is wrong.
        faults: Vec<Fault>,
    },
    /// helmd is on its way out.
    #[error("helmd is leaving, or beginning again; services stay. Try again in a moment")]
    Leaving,
}

fn first(faults: &[Fault]) -> String {
    faults.first().map(ToString::to_string).unwrap_or_default()
}

/// A reload and how far it is.
#[derive(Debug, Clone, Default)]
pub struct Doing {
    /// The newest one.
    pub operation: Option<Operation>,
    /// What it waits for, once that is asked.
    pub pursuits: Arc<Vec<Pursuit>>,
}

/// What a life of helmd holds.
#[derive(Debug, Clone)]
pub struct Reloads {
    home: Home,
    versions: Versions,
    drift: Arc<Drift>,
    supervisor: Supervisor,
    default_mode: Mode,
    leave: Leave,
    /// One request at a time.
    turn: Arc<Mutex<()>>,
    doing: watch::Sender<Doing>,
    /// Of this life.
    tasks: TaskTracker,
}

impl Reloads {
    /// Of this life. Blocking: reads what a former one was doing.
    pub(crate) fn new(ground: &Ground, drift: Arc<Drift>, supervisor: Supervisor) -> Self {
        let home = ground.world.home.clone();
        let versions = Versions::of(&home);
        let doing = Doing { operation: versions.standing().operation, ..Doing::default() };
        Self {
            home,
            versions,
            drift,
            supervisor,
            default_mode: ground.mode,
            leave: ground.leave.clone(),
            turn: Arc::default(),
            doing: watch::Sender::new(doing),
            tasks: ground.tasks.clone(),
        }
    }

    /// How far the newest reload is.
    pub fn doing(&self) -> watch::Receiver<Doing> {
        self.doing.subscribe()
    }

    /// What a reload would do with the files as they are.
    pub async fn plan(&self, wants: Wants) -> std::io::Result<Plan> {
        let home = self.home.clone();
        let read = work::CHECKS.run(move || Ok(config::read(&home))).await?;
        self.compare(&read, wants).await
    }

    async fn compare(&self, read: &Read, wants: Wants) -> std::io::Result<Plan> {
        let versions = self.versions.clone();
        let current = work::CHECKS.run(move || Ok(versions.standing().current)).await?;
        let Some(new) = read.sound() else {
            return Ok(Plan::faulty(read.faults.clone(), current));
        };
        let old = self.drift.config();
        let view = self.supervisor.view();
        let mut changes = changes(&old, new, |name| self.mode(name));
        changes.settings.extend(of_database(self.drift.texts(), &read.texts));
        let mut plan = Plan::of(changes, new, read.faults.clone(), &view, wants, current);
        plan.notes.extend(missing(new, &plan.steps).await);
        Ok(plan)
    }

    /// In which mode a service runs, or would.
    fn mode(&self, name: &ServiceName) -> Mode {
        let view = self.supervisor.view();
        view.get(name.as_str()).map_or(self.default_mode, |status| status.mode)
    }

    /// Applies the files as they are. `why`: for the history.
    pub async fn reload(&self, asked: Asked, author: Author) -> Result<Accepted, ReloadError> {
        let this = self.clone();
        self.whole(async move {
            let _turn = this.turn()?;
            let home = this.home.clone();
            let read =
                work::CHECKS.run(move || Ok(config::read(&home))).await.map_err(ReloadError::NotKept)?;
            this.apply(read, asked, author).await
        })
        .await
    }

    /// Writes the files of a former configuration back, and applies them. Those that are there are kept.
    pub async fn rollback(&self, number: u64, asked: Asked, by: String) -> Result<Accepted, ReloadError> {
        let this = self.clone();
        self.whole(async move {
            let _turn = this.turn()?;
            let (versions, home, who) = (this.versions.clone(), this.home.clone(), by.clone());
            let write = move || Ok(write_back(&versions, &home, number, who));
            let read = work::CHECKS.run(write).await.map_err(ReloadError::NotWritten)??;
            this.apply(read, asked, Author { by, why: format!("rollback to {number}") }).await
        })
        .await
    }

    /// Goes on where the one who asked is gone: half of it would be on disk, and not in force. Ends with this life; what
    /// was written down by then, the next one does.
    async fn whole(
        &self,
        work: impl Future<Output = Result<Accepted, ReloadError>> + Send + 'static,
    ) -> Result<Accepted, ReloadError> {
        let leave = self.leave.clone();
        let task = self.tasks.spawn(async move {
            tokio::select! {
                // What ends this life by being done is told as done.
                biased;
                done = work => done,
                () = leave.asked() => Err(ReloadError::Leaving),
            }
        });
        // A task of this life is cancelled with it alone.
        task.await.unwrap_or(Err(ReloadError::Leaving))
    }

    /// What is different between two that are kept; `to`: `None` is what is in force.
    pub async fn diff(&self, from: u64, to: Option<u64>) -> Result<Changes, ReloadError> {
        let versions = self.versions.clone();
        let read = move || {
            let of = |number: u64| {
                let Read { texts, config, faults } =
                    versions.read(number).ok_or(ReloadError::Unknown(number))?;
                Ok((config.ok_or(ReloadError::Faulty { number, faults })?, texts))
            };
            Ok(of(from).and_then(|from| Ok((from, to.map(of).transpose()?))))
        };
        let (from, to) = work::CHECKS.run(read).await.map_err(ReloadError::NotKept)??;
        let to = to.unwrap_or_else(|| (self.drift.config(), self.drift.texts().clone()));
        let mut changes = changes(&from.0, &to.0, |name| self.mode(name));
        changes.settings.extend(of_database(&from.1, &to.1));
        Ok(changes)
    }

    /// The configurations that were applied, newest first, and what is in force.
    pub async fn history(&self) -> std::io::Result<(Vec<Version>, Standing)> {
        let versions = self.versions.clone();
        work::CHECKS
            .run(move || {
                let mut all = versions.list();
                all.reverse();
                Ok((all, versions.standing()))
            })
            .await
    }

    /// Somebody else applies something, or this life is over.
    fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, ReloadError> {
        let busy = |words: &str| ReloadError::Busy(words.to_owned());
        let turn = self.turn.try_lock().map_err(|_| busy("it has just been asked for"))?;
        if self.leave.begun() {
            return Err(ReloadError::Leaving);
        }
        let under_way = self.doing.borrow().operation.clone().filter(Operation::under_way);
        match under_way {
            Some(operation) => {
                Err(busy(&format!("configuration {}, asked by {}", operation.to, operation.by)))
            }
            None => Ok(turn),
        }
    }

    async fn apply(&self, read: Read, asked: Asked, author: Author) -> Result<Accepted, ReloadError> {
        let plan = self.compare(&read, asked.wants).await.map_err(ReloadError::NotKept)?;
        if !plan.ok {
            return Ok(Accepted { plan, operation: None });
        }
        let (versions, todo) = (self.versions.clone(), Todo::of(&plan.steps));
        let nothing = plan.changes.is_empty();
        let gate_ms = asked.gate.map(|gate| if gate.is_zero() { GATE } else { gate });
        let gate_ms = gate_ms.map(|gate| u64::try_from(gate.as_millis()).unwrap_or(u64::MAX));
        let keep = move || {
            let _turn = Versions::writing();
            let standing = versions.standing();
            if nothing {
                // Files that were mended are not held against anybody.
                if standing.refused.is_some() {
                    versions.stand(&Standing { refused: None, ..standing })?;
                }
                return Ok(None);
            }
            let by = author.by.clone();
            let version = versions.keep(&read.texts, author, standing.current, &standing.needed())?;
            let operation = Operation {
                id: format!("{}-{:08x}", version.number, clock::draw() >> 32),
                by,
                from: standing.current,
                to: version.number,
                phase: Phase::Apply,
                todo,
                asked: false,
                gate_ms: gate_ms.filter(|_| standing.current.is_some()),
                until: None,
                ended: None,
            };
            let operation = Some(operation);
            versions.stand(&Standing {
                current: Some(version.number),
                refused: None,
                operation: operation.clone(),
            })?;
            Ok(operation)
        };
        let operation = work::CHECKS.run(keep).await.map_err(ReloadError::NotKept)?;
        if let Some(operation) = &operation {
            tracing::info!("configuration {} is applied, asked by {}", operation.to, operation.by);
            self.doing.send_replace(Doing { operation: Some(operation.clone()), ..Doing::default() });
            self.leave.to(Then::Again);
        }
        Ok(Accepted { plan, operation })
    }
}

/// What those that would be started name, and is not there: they would fail by it.
async fn missing(new: &Config, steps: &[Step]) -> Vec<String> {
    let starts = |spec: &&ServiceSpec| {
        let step = steps.iter().find(|step| step.name == spec.name);
        step.is_some_and(|step| !matches!(step.action, Action::Stop | Action::Live))
    };
    let mut starting = new.clone();
    starting.services.retain(|spec| starts(&spec));
    let faults = programs::looked_for(Arc::new(starting), Arc::new(config::own_environment())).await;
    let words = |fault: &Fault| {
        let field = fault.field.trim_start_matches("services.");
        format!("{field}: {} ({})", fault.message, fault.hint)
    };
    faults.iter().map(words).collect()
}

/// What `instance/helm.conf` says of the database is compared, and never shown.
fn of_database(old: &Texts, new: &Texts) -> Option<FieldChange> {
    let (old, new) = (old.database(), new.database());
    let hidden = |given: &[Vec<&str>]| given.iter().any(|s| !s.is_empty()).then(|| secret::MASK.to_owned());
    let change =
        FieldChange { field: "database".into(), old: hidden(&old), new: hidden(&new), need: Need::Live };
    (old != new).then_some(change)
}

/// The files of configuration `number` become those of the home. What was there becomes one that is kept. Blocking.
fn write_back(versions: &Versions, home: &Home, number: u64, by: String) -> Result<Read, ReloadError> {
    let former = versions.read(number).ok_or(ReloadError::Unknown(number))?;
    if former.sound().is_none() {
        return Err(ReloadError::Faulty { number, faults: former.faults });
    }
    let _turn = Versions::writing();
    let (files, standing) = (config::read(home), versions.standing());
    let newest = versions.list().last().and_then(|version| versions.read(version.number));
    if newest.is_none_or(|newest| newest.texts != files.texts) && files.texts != former.texts {
        let author = Author { by, why: format!("the files before the rollback to {number}") };
        let needed: Vec<u64> = standing.needed().into_iter().chain([number]).collect();
        versions.keep(&files.texts, author, None, &needed).map_err(ReloadError::NotKept)?;
    }
    former.texts.write(home.path()).map_err(ReloadError::NotWritten)?;
    Ok(former)
}
