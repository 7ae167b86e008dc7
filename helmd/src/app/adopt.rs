//! What runs already, what is wanted, and what is configured no more: found before the fleet acts.

use std::collections::BTreeMap;
use std::time::Duration;

use helm_core::event::News;
use helm_core::name::ServiceName;
use helm_core::spec::ServiceSpec;
use helm_core::status::RunId;
use helm_core::wish::Wish;
use helm_shim::rundir::ServiceDir;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::keeper::{Command, Keeper, World};
use crate::memory::Memories;
use crate::wishes::{self, WishFile};

/// All keepers are asked in parallel; one that does not answer within this is dealt with later.
const ADOPT_WITHIN: Duration = Duration::from_secs(15);

/// The newest run of a service whose end the former helmd has dealt with. Where it has left nothing, what was told in the
/// events is history.
pub(super) fn told(
    service: &ServiceName,
    memories: &Memories,
    written: &BTreeMap<ServiceName, RunId>,
) -> Option<RunId> {
    match memories.get(service) {
        Some(memory) => memory.newest_told(),
        None => written.get(service).copied(),
    }
}

/// Asks all keepers in parallel; what they answer is told to the fleet before it acts. Also the wishes.
pub(super) async fn adopt(
    keepers: &BTreeMap<ServiceName, Keeper>,
    told: impl Fn(&ServiceName) -> Option<RunId>,
    file: &WishFile,
    warnings: &mut Vec<String>,
) -> (Vec<(ServiceName, News)>, wishes::Loaded) {
    let asked: Vec<_> = keepers
        .iter()
        .map(|(name, keeper)| {
            let (reply, answer) = oneshot::channel();
            (name.clone(), keeper.order(Command::Adopt { told: told(name), reply }), answer)
        })
        .collect();
    let until = Instant::now() + ADOPT_WITHIN;
    let mut found = Vec::new();
    for (name, ordered, mut answer) in asked {
        let in_time = timeout_at(until, &mut answer).await;
        // From here on the keeper's task sees that it is late, and tells it as news.
        answer.close();
        let answered = in_time.ok().and_then(Result::ok).or_else(|| answer.try_recv().ok());
        match (ordered, answered) {
            (Ok(()), Some(news)) => found.extend(news.into_iter().map(|n| (name.clone(), n))),
            _ => {
                warnings.push(format!(
                    "{name}: its keeper did not answer within {ADOPT_WITHIN:?}; see `helmctl status {name}`"
                ));
                found.push((name, News::Silent));
            }
        }
    }
    let mut loaded = file.load();
    if let Some(warning) = &loaded.warning {
        tracing::error!("{warning}");
    }
    if !loaded.known {
        // What runs is taken for what is wanted.
        for (name, news) in &found {
            if let News::Found { mode, .. } = news {
                let wish = Wish { run: true, mode: *mode, ..Wish::default() };
                loaded.wishes.services.insert(name.clone(), wish);
            }
        }
    }
    (found, loaded)
}

/// Services that are configured no more and of which something lives: they are seen, can be stopped, and never start.
pub(super) fn removed(world: &World) -> Vec<ServiceSpec> {
    let known = helm_shim::rundir::services(world.home.path()).unwrap_or_default();
    let lives = |name: ServiceName| {
        let record = crate::keeper::last_record(&ServiceDir::new(world.home.path(), &name)).ok().flatten();
        let state = record.filter(|state| !state.over)?;
        tracing::warn!(service.name = %name, process.pid = state.pid, "not in the configuration in force, and runs");
        Some(ServiceSpec::removed(name, state.definition.unwrap_or_default()))
    };
    let runs = |name: &ServiceName| world.config.service(name.as_str()).is_some_and(|s| s.program.is_some());
    known.into_iter().filter(|name| !runs(name)).filter_map(lives).collect()
}
