//! Operations that somebody started and does not wait for: what they are, how far, and what came of them. In `instance/jobs.json`, over all
//! lives of helmd, for a day.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock;
use crate::home::{Home, replace_durably};
use crate::work;

/// A job that has ended is kept for so long.
const KEPT: i64 = 86_400 * 1_000_000_000;
/// Most jobs that are kept; of those that have ended the oldest goes.
const MOST: usize = 500;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// start, stop, restart, up, down, reload or rollback
    pub kind: String,
    /// Services, in the order of their names.
    pub names: Vec<String>,
    /// development, production, or empty.
    pub mode: String,
    /// reload, rollback: go back where something does not become healthy.
    pub gate: bool,
    /// For `gate`, in milliseconds; 0: the usual time.
    #[serde(default)]
    pub timeout_ms: u64,
    /// reload: leave what runs as it is.
    #[serde(default)]
    pub no_restart: bool,
    /// reload: do not start what is new.
    #[serde(default)]
    pub no_start: bool,
    /// rollback: which configuration to go back to.
    #[serde(default)]
    pub number: u64,
}

/// How far one service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Service.
    pub name: String,
    /// pending, done, failed, skipped
    pub step: String,
    /// In words.
    pub message: String,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Names it.
    pub id: String,
    /// What is asked for.
    #[serde(flatten)]
    pub wish: Wish,
    /// Who asked.
    pub by: String,
    /// Nanoseconds since 1970.
    pub started_at: i64,
    /// `None`: it goes on.
    pub ended_at: Option<i64>,
    /// running, done, failed, timeout, rolled_back
    pub state: String,
    /// One sentence.
    pub message: String,
    /// How far each service is.
    pub steps: Vec<Step>,
    /// By what a later life of helmd goes on with it: the text of an operation, or the id of a reload. Empty: it has not begun.
    pub operation: String,
}

impl Job {
    fn goes_on(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// Handle; clones share them.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    all: Mutex<Vec<Job>>,
    /// Tells that something has changed.
    changed: watch::Sender<()>,
    saving: tokio::sync::Mutex<()>,
}

impl Jobs {
    /// Of this home. What cannot be read is forgotten: it is known to the events as well. Blocking.
    pub fn open(home: &Home) -> Self {
        let path = home.instance().join("jobs.json");
        let all = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|e| {
                tracing::warn!("{} cannot be read, jobs of before are forgotten: {e}", path.display());
                Vec::new()
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => {
                tracing::warn!("{} cannot be read: {e}", path.display());
                Vec::new()
            }
        };
        let changed = watch::Sender::new(());
        Self(Arc::new(Inner { path, all: Mutex::new(all), changed, saving: tokio::sync::Mutex::default() }))
    }

    fn all(&self) -> MutexGuard<'_, Vec<Job>> {
        // Each change is one step: nothing of it can be half done.
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one, and `true`; or the same that goes on.
    pub async fn begin(&self, id: String, wish: Wish, by: String) -> (Job, bool) {
        let now = clock::wall().0;
        let (job, is_new) = {
            let mut all = self.all();
            match all.iter().find(|job| job.goes_on() && job.wish == wish) {
                Some(same) => (same.clone(), false),
                None => {
                    prune(&mut all, now);
                    let job = Job {
                        id,
                        wish,
                        by,
                        started_at: now,
                        ended_at: None,
                        state: RUNNING.to_owned(),
                        message: String::new(),
                        steps: Vec::new(),
                        operation: String::new(),
                    };
                    all.push(job.clone());
                    (job, true)
                }
            }
        };
        if is_new {
            self.0.changed.send_replace(());
            self.save().await;
        }
        (job, is_new)
    }

    /// By what a later life goes on with it.
    pub async fn taken(&self, id: &str, operation: String) {
        self.change(id, |job| job.operation = operation);
        self.save().await;
    }

    /// How far services are.
    pub fn step(&self, id: &str, steps: Vec<Step>) {
        self.change(id, |job| {
            for step in steps {
                match job.steps.iter_mut().find(|known| known.name == step.name) {
                    Some(known) => *known = step,
                    None => job.steps.push(step),
                }
            }
        });
    }

    /// It is over.
    pub async fn end(&self, id: &str, state: &str, message: String) {
        let now = clock::wall().0;
        self.change(id, |job| {
            (job.ended_at, job.state, job.message) = (Some(now), state.to_owned(), message);
        });
        self.save().await;
    }

    fn change(&self, id: &str, edit: impl FnOnce(&mut Job)) {
        if let Some(job) = self.all().iter_mut().find(|job| job.id == id) {
            edit(job);
        }
        self.0.changed.send_replace(());
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<Job> {
        self.all().iter().find(|job| job.id == id).cloned()
    }

    /// Those of the last day, newest first.
    pub fn list(&self) -> Vec<Job> {
        let mut all = self.all();
        prune(&mut all, clock::wall().0);
        all.iter().rev().cloned().collect()
    }

    /// Those that a former life left.
    pub fn under_way(&self) -> Vec<Job> {
        self.all().iter().filter(|job| job.goes_on()).cloned().collect()
    }

    /// A way to wait for changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// A job goes on although it cannot be written down; it does not outlive helmd then.
    async fn save(&self) {
        let _turn = self.0.saving.lock().await;
        let text = serde_json::to_vec(&*self.all());
        let path = self.0.path.clone();
        let saved = match text {
            Ok(text) => work::ACCESS.run(move || replace_durably(&path, &text, 0o600)).await,
            Err(e) => Err(e.into()),
        };
        if let Err(e) = saved {
            tracing::warn!("{} cannot be written: {e}", self.0.path.display());
        }
    }
}

/// What has not ended.
const RUNNING: &str = "running";

fn prune(all: &mut Vec<Job>, now: i64) {
    all.retain(|job| job.ended_at.is_none_or(|ended| now.saturating_sub(ended) < KEPT));
    while all.len() >= MOST
        && let Some(oldest) = all.iter().position(|job| !job.goes_on())
    {
        all.remove(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(kind: &str) -> Wish {
        Wish { kind: kind.into(), names: vec!["core".into()], ..Wish::default() }
    }

    #[tokio::test]
    async fn the_same_request_is_one_job_and_jobs_outlive_helmd() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let jobs = Jobs::open(&home);
        let (first, is_new) = jobs.begin("1".into(), wish("stop"), "me".into()).await;
        assert!(is_new && first.state == "running");
        let (same, is_new) = jobs.begin("2".into(), wish("stop"), "you".into()).await;
        assert_eq!((same.id.as_str(), is_new), ("1", false));
        assert!(jobs.begin("3".into(), wish("start"), "you".into()).await.1, "another wish is another job");
        jobs.taken("1", "op".into()).await;
        let next = Jobs::open(&home);
        assert_eq!(next.under_way().len(), 2);
        assert_eq!(next.get("1").unwrap().operation, "op");
        let step = |step: &str| Step { name: "core".into(), step: step.into(), message: String::new() };
        next.step("1", vec![step("pending")]);
        next.step("1", vec![step("done")]);
        next.end("1", "done", "1 service done".into()).await;
        let ended = Jobs::open(&home).get("1").unwrap();
        assert_eq!(
            (ended.state.as_str(), ended.steps.len(), ended.steps[0].step.as_str()),
            ("done", 1, "done")
        );
        assert!(
            next.begin("4".into(), wish("stop"), "me".into()).await.1,
            "what has ended is no longer the same"
        );
    }

    #[test]
    fn what_is_old_goes_and_what_goes_on_stays() {
        let job = |n: usize, ended_at: Option<i64>| Job {
            id: n.to_string(),
            wish: wish("stop"),
            by: String::new(),
            started_at: 0,
            ended_at,
            state: String::new(),
            message: String::new(),
            steps: Vec::new(),
            operation: String::new(),
        };
        let mut all = vec![job(1, Some(0)), job(2, None), job(3, Some(5))];
        prune(&mut all, KEPT + 1);
        assert_eq!(all.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        all.extend((0..MOST).map(|n| job(n, Some(KEPT))));
        prune(&mut all, KEPT + 1);
        assert!(all.len() < MOST && all[0].id == "2");
    }
}
