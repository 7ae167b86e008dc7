//! What the store keeps how long: one task takes away whole partitions, and what is in force can be changed while it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::{Keep, Settings};
use helm_store::id::{Instance, PartitionId};
use helm_store::live::Manifest;
use helm_store::partition::Class;
use helm_store::retention::{self, Disk, Policies, Policy, Reason, Removal};
use helm_store::writer::Health;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open::in_words;
use super::place::Place;
use super::{Opened, Store};
use crate::{clock, work};

/// Ages pass without anything happening: looked at so often.
const EVERY: Duration = Duration::from_secs(600);
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(30);
/// A partition that was closed since the last look is noticed within this.
const NOTICED: Duration = Duration::from_secs(5);

/// The rules, as `instance/helm.conf` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// By class; a class that is not named is kept as `default`.
    pub classes: BTreeMap<String, Keep>,
    /// Bytes that are to stay free on the disk of a SQLite store.
    pub free_floor: u64,
}

impl Rules {
    /// Of the settings.
    pub fn of(settings: &Settings) -> Self {
        Self { classes: settings.retention.clone(), free_floor: settings.free_floor }
    }

    /// As retention takes them. What is kept for ever does not give way to a full disk either.
    pub fn policies(&self) -> Policies {
        let policy = |keep: &Keep| Policy {
            age: keep.age.map(|age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)),
            bytes: keep.bytes,
            yields: keep.age.is_some() || keep.bytes.is_some(),
        };
        Policies {
            default: self.classes.get(Class::DEFAULT).map_or_else(Policy::default, policy),
            classes: self.classes.iter().map(|(class, keep)| (Class(class.clone()), policy(keep))).collect(),
        }
    }
}

/// The rules in force; clones share them.
#[derive(Debug, Clone)]
pub struct Retention(watch::Sender<Rules>);

impl Retention {
    /// With these rules.
    pub fn new(rules: Rules) -> Self {
        Self(watch::Sender::new(rules))
    }

    /// In force now.
    pub fn rules(&self) -> Rules {
        self.0.borrow().clone()
    }

    /// One class is kept differently from now on.
    pub fn set(&self, class: &str, keep: Keep) {
        self.0.send_modify(|rules| {
            rules.classes.insert(class.to_owned(), keep);
        });
    }

    /// Begins to look at the store, until helmd leaves.
    pub fn start(&self, store: Store, tasks: &TaskTracker, stop: CancellationToken) {
        let rules = self.0.subscribe();
        tasks.spawn(async move {
            let work = store.while_open(|opened| {
                let rules = rules.clone();
                async move { watch_over(&opened, rules).await }
            });
            stop.run_until_cancelled(work).await;
        });
    }
}

async fn watch_over(opened: &Opened, mut rules: watch::Receiver<Rules>) {
    let mut said = None;
    loop {
        let now = rules.borrow_and_update().clone();
        let looked = look(opened, &now).await;
        let pause = if looked.is_ok() { EVERY } else { AGAIN };
        match looked {
            Ok(()) => said = None,
            Err(why) if said.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!("retention: {why}");
                said = Some(why);
            }
        }
        let (closed, again) = (closed(opened), Instant::now() + pause);
        while Instant::now() < again && self::closed(opened) == closed {
            tokio::select! {
                () = sleep_until(Instant::now() + NOTICED) => {}
                // The sender lives as long as helmd.
                _ = rules.changed() => break,
            }
            if closed > 0 && is_short(opened, &now).await {
                break;
            }
        }
    }
}

/// Whether the disk has less room than is to be left: whatever filled it, that cannot wait.
async fn is_short(opened: &Opened, rules: &Rules) -> bool {
    disk(&opened.place, rules).await.is_ok_and(|disk| disk.free < disk.floor)
}

/// All partitions; those that are open with the size that they have now.
pub async fn measured(opened: &Opened) -> Arc<Manifest> {
    let mut manifest = opened.writer.live().manifest();
    // A database that is away is not asked once a partition.
    if matches!(*opened.writer.health().borrow(), Health::Stalled { .. }) {
        return manifest;
    }
    let open: Vec<PartitionId> = manifest.values().filter(|p| p.seal.is_none()).map(|p| p.id).collect();
    for id in open {
        // One that cannot be asked keeps the size that was known.
        let Ok(disk) = opened.engine.disk(id).await else { continue };
        if let Some(partition) = Arc::make_mut(&mut manifest).get_mut(&id) {
            Arc::make_mut(partition).disk = disk;
        }
    }
    manifest
}

/// Closed partitions of this helmd.
fn closed(opened: &Opened) -> usize {
    let own = opened.engine.instance();
    opened.writer.live().manifest().values().filter(|p| p.id.instance == own && p.seal.is_some()).count()
}

/// Takes away what is to go now.
async fn look(opened: &Opened, rules: &Rules) -> Result<(), String> {
    let (engine, writer, policies) = (&*opened.engine, &opened.writer, rules.policies());
    let now = clock::wall().0;
    let manifest = writer.live().manifest();
    let mut faults = Vec::new();
    for class in retention::rolls(manifest.values().map(|p| &**p), engine.instance(), &policies, now) {
        faults.extend(writer.roll(&class).await.err().map(|e| in_words(&e)));
    }
    let disk = disk(&opened.place, rules).await?;
    let manifest = measured(opened).await;
    let former = former_whole(opened).await;
    let removals = removals(&manifest, engine.instance(), former, &policies, disk, now);
    let carried = retention::carry_out(engine, writer, &removals, now).await;
    for (Removal { partition: id, reason }, bytes) in carried.gone {
        let partition = manifest.get(&id);
        let (class, rows) =
            partition.map_or(("", 0), |partition| (partition.class.0.as_str(), partition.contents.rows));
        tracing::info!(
            "retention: partition {id} of class {class} with {rows} entries removed ({reason}), {bytes} bytes given back"
        );
    }
    faults.extend(carried.failed.iter().map(|e| in_words(e)));
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Whether the rows of the Python Helm are all here. A database that does not answer is asked again at the next look.
pub async fn former_whole(opened: &Opened) -> bool {
    match &opened.postgres {
        Some(postgres) => postgres.taking_over().await.is_ok_and(|rows| rows.is_none()),
        None => true,
    }
}

/// What goes now. Rows of the Python Helm (instance 0) have no helmd of their own: they go by age, whoever looks first, but none before
/// all are here (`former`): they are counted then.
pub fn removals(
    manifest: &Manifest,
    own: Instance,
    former: bool,
    policies: &Policies,
    disk: Disk,
    now: i64,
) -> Vec<Removal> {
    let all = || manifest.values().map(|p| &**p);
    let mut removals = retention::decide(all(), own, policies, disk, now);
    if former {
        let theirs = retention::decide(all(), Instance::FORMER, policies, Disk::default(), now);
        removals.extend(theirs.into_iter().filter(|r| r.reason == Reason::Age));
    }
    removals
}

/// Room on the disk of a SQLite store. The disk of a server is the server's matter.
pub async fn disk(place: &Place, rules: &Rules) -> Result<Disk, String> {
    let Place::Sqlite(dir) = place else { return Ok(Disk::default()) };
    Ok(Disk { free: free(dir).await?, floor: rules.free_floor })
}

/// Free bytes where `dir` is.
async fn free(dir: &Path) -> Result<u64, String> {
    let path: PathBuf = dir.to_owned();
    let stat = work::STORE.run(move || Ok(rustix::fs::statvfs(&path)?)).await;
    let stat = stat.map_err(|e| format!("{} cannot be looked at: {e}", dir.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use helm_store::chain::Head;
    use helm_store::partition::{Contents, Partition, Seal};

    use super::*;

    #[test]
    fn rules_become_policies_and_for_ever_does_not_yield() {
        let classes =
            [("default", "90d 20G"), ("audit", "forever")].map(|(n, k)| (n.into(), Keep::parse(k).unwrap()));
        let policies = Rules { classes: classes.into(), free_floor: 5 }.policies();
        let default = Policy { age: Some(90 * retention::DAY), bytes: Some(20 << 30), yields: true };
        assert_eq!(policies.of(&Class("other".into())), default);
        assert_eq!(policies.of(&Class("audit".into())), Policy { age: None, bytes: None, yields: false });
    }

    #[test]
    fn rows_of_the_python_helm_go_when_all_are_here() {
        let own = Instance(7);
        let old = |instance| {
            let id = PartitionId { instance, number: 0 };
            let seal = Some(Seal { closed: 2, head: Head::GENESIS });
            let (class, before) = (Class::default_class(), Head::GENESIS);
            let contents = Contents { rows: 5, ..Contents::empty() };
            (id, Arc::new(Partition { id, class, opened: 1, before, seal, contents, disk: 0 }))
        };
        let manifest: Manifest = [old(Instance::FORMER), old(own)].into();
        let policies = Rules::of(&Settings::default()).policies();
        let now = 200 * retention::DAY;
        let gone = |former| {
            let removals = removals(&manifest, own, former, &policies, Disk::default(), now);
            removals.into_iter().map(|removal| removal.partition.instance).collect::<Vec<_>>()
        };
        assert_eq!(gone(false), [own]);
        assert_eq!(gone(true), [own, Instance::FORMER]);
    }

    #[test]
    fn what_is_set_is_in_force() {
        let retention = Retention::new(Rules::of(&Settings::default()));
        let keep = Keep::parse("1h").unwrap();
        retention.set("debug", keep);
        assert_eq!(retention.rules().classes["debug"], keep);
        assert_eq!(retention.rules().classes["default"], Keep::default());
    }
}
