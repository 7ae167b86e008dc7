//! Into a service: what it is started with, its processes, a signal to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::{RestartPolicy, ServiceSpec};
use helm_core::wish::Mode;
use helm_core::{exit, secret};
use helm_proto::reason;
use helm_proto::v1::{LaunchResponse, ProcessInfo, SignalResponse, TreeResponse, Variable};
use tokio::time::Instant;
use tonic::Status;

use super::caller::Caller;
use crate::config;
use crate::keeper::launch::{Hindrance, Launch, compose};
use crate::sample::{proc, tree};
use crate::supervisor::FleetView;
use crate::work;

/// Between the two looks that tell what a process works now.
const LOOK: Duration = Duration::from_millis(500);

type Result<T> = std::result::Result<T, Status>;

/// What a start of the service would use now.
pub(super) async fn launch(
    spec: Arc<ServiceSpec>,
    mode: Mode,
    caller: &Caller,
    show_secrets: bool,
) -> Result<LaunchResponse> {
    if show_secrets {
        may_see_secrets(caller)?;
    }
    let directory = spec.path.clone();
    let composed = work::PROGRAMS.run(move || Ok(compose(&spec, mode, &config::own_environment()))).await;
    let Launch { argv, env } = match composed.map_err(|e| Status::internal(e.to_string()))? {
        Ok(launch) => launch,
        Err(Hindrance::NotInstalled(why) | Hindrance::Permanent(why) | Hindrance::Transient(why)) => {
            return Err(reason::cannot_start(&why));
        }
    };
    let argv = argv.into_iter().map(|word| match show_secrets {
        true => word,
        false => secret::without_passwords(&word).into_owned(),
    });
    let environment = env.into_iter().map(|(name, value)| variable(name, value, show_secrets));
    Ok(LaunchResponse {
        argv: argv.collect(),
        environment: environment.collect(),
        directory,
        mode: mode.as_str().to_owned(),
    })
}

fn variable(name: String, value: String, show_secrets: bool) -> Variable {
    let shown = if show_secrets { None } else { Some(secret::shown(&name, &value).into_owned()) };
    match shown.filter(|shown| *shown != value) {
        Some(shown) => Variable { name, value: shown, masked: true },
        None => Variable { name, value, masked: false },
    }
}

/// A member of the peer group may start and stop services, and is not shown what they keep secret. Nor is anybody over HTTP.
fn may_see_secrets(caller: &Caller) -> Result<()> {
    let (own, peer) = (rustix::process::geteuid().as_raw(), caller.peer());
    if caller.is_owner() && (peer.uid == own || peer.uid == 0) {
        return Ok(());
    }
    Err(reason::permission_denied("secrets of services are shown to helmd's own user and root only"))
}

/// The processes of a service, parents before their children, with what they work now.
pub async fn processes(view: Arc<FleetView>, name: &str) -> Result<TreeResponse> {
    let Some(owner) = view.services.iter().position(|s| s.name.as_str() == name && s.pid.is_some()) else {
        return Ok(TreeResponse::default());
    };
    let mains: BTreeMap<u32, usize> =
        view.services.iter().enumerate().filter_map(|(nth, s)| Some((s.pid?, nth))).collect();
    let before = look(mains.clone(), owner).await?;
    let begun = Instant::now();
    tokio::time::sleep_until(begun + LOOK).await;
    let now = look(mains, owner).await?;
    let window = begun.elapsed();
    let main = view.services.get(owner).and_then(|s| s.pid);
    Ok(TreeResponse { processes: told(&before, now, window, main) })
}

/// One process, and its command line.
struct Found {
    seen: proc::Seen,
    command: String,
}

async fn look(mains: BTreeMap<u32, usize>, owner: usize) -> Result<Vec<Found>> {
    let looked = work::PROGRAMS.run(move || {
        let all = proc::all();
        let members = tree::trees(&all, &mains, &BTreeMap::new()).remove(&owner).unwrap_or_default().members;
        let living = members.iter().map(|place| all[*place]).filter(|seen| !seen.dead);
        Ok(living.map(|seen| Found { seen, command: proc::command(seen.process.pid) }).collect())
    });
    looked.await.map_err(|e| Status::internal(e.to_string()))
}

/// Parents first, children by pid.
fn told(before: &[Found], now: Vec<Found>, window: Duration, main: Option<u32>) -> Vec<ProcessInfo> {
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let worked = |found: &Found| {
        let former = before.iter().find(|b| b.seen.process == found.seen.process)?;
        let seconds = seconds(found.seen.own.saturating_sub(former.seen.own), ticks);
        Some(seconds / window.as_secs_f64() * 100.0)
    };
    let order = parents_first(&now.iter().map(|f| (f.seen.process.pid, f.seen.ppid)).collect::<Vec<_>>());
    let info = |found: &Found| ProcessInfo {
        pid: found.seen.process.pid,
        parent: found.seen.ppid,
        command: secret::without_passwords(&found.command).into_owned(),
        cpu_percent: worked(found),
        cpu_seconds: seconds(found.seen.own, ticks),
        memory_bytes: found.seen.rss * page,
        threads: u32::try_from(found.seen.threads).unwrap_or(u32::MAX),
        main: main == Some(found.seen.process.pid),
    };
    order.into_iter().filter_map(|nth| now.get(nth)).map(info).collect()
}

#[allow(clippy::cast_precision_loss, reason = "clock ticks stay far below 2^53")]
fn seconds(ticks: u64, per_second: u64) -> f64 {
    ticks as f64 / per_second as f64
}

/// Indices so that each process stands behind its parent, where that is one of them.
fn parents_first(pids: &[(u32, u32)]) -> Vec<usize> {
    let known = |pid: u32| pids.iter().any(|(own, _)| *own == pid);
    let mut ahead: Vec<usize> = (0..pids.len()).filter(|nth| !known(pids[*nth].1)).collect();
    ahead.sort_by_key(|nth| std::cmp::Reverse(pids[*nth].0));
    let mut order = Vec::with_capacity(pids.len());
    while let Some(nth) = ahead.pop() {
        order.push(nth);
        let mut children: Vec<usize> =
            (0..pids.len()).filter(|child| pids[*child].1 == pids[nth].0 && *child != nth).collect();
        children.sort_by_key(|nth| std::cmp::Reverse(pids[*nth].0));
        ahead.extend(children);
    }
    order
}

/// The number that a signal's name or number means.
pub fn signal_number(text: &str) -> Result<i32> {
    let number = match text.parse::<i32>() {
        Ok(number) => exit::signal_name(number).map(|_| number),
        Err(_) => exit::signal_number(text),
    };
    let bad = || {
        reason::bad_request(&format!("`{text}` is no signal: use a name as HUP or SIGUSR1, or its number"))
    };
    number.ok_or_else(bad)
}

/// What was sent to whom, and what follows from it.
pub fn signalled(spec: &ServiceSpec, pid: u32, signal: i32) -> SignalResponse {
    let name = exit::signal_name(signal).unwrap_or("?");
    SignalResponse { pid, signal: name.to_owned(), follows: follows(spec, signal) }
}

/// Most programs end by these, if they do not catch them.
const ENDING: [i32; 6] = [2, 3, 6, 9, 14, 15];
/// SIGSTOP, SIGTSTP
const PAUSING: [i32; 2] = [19, 20];

fn follows(spec: &ServiceSpec, signal: i32) -> String {
    let name = &spec.name;
    if PAUSING.contains(&signal) {
        return format!(
            "it stands still until it gets SIGCONT (helmctl signal {name} CONT); its probes will fail"
        );
    }
    if !ENDING.contains(&signal) {
        return String::new();
    }
    let then = match spec.restart {
        RestartPolicy::Always => "it is started again",
        RestartPolicy::OnFailure => "it is started again, unless it ends with code 0",
        RestartPolicy::Never => "it is not started again",
    };
    format!(
        "an end by it was not asked for: {then} (restart: {}); to stop it: helmctl stop {name}",
        spec.restart.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_stands_behind_its_parent() {
        let pids = [(30, 20), (20, 10), (21, 10), (5, 1), (22, 20)];
        let order: Vec<u32> = parents_first(&pids).into_iter().map(|nth| pids[nth].0).collect();
        assert_eq!(order, [5, 20, 22, 30, 21]);
        assert!(parents_first(&[(1, 2), (2, 1)]).is_empty(), "a torn look has no first one");
    }

    #[test]
    fn signals_by_name_and_number() {
        for text in ["HUP", "SIGHUP", "1"] {
            assert_eq!(signal_number(text).unwrap(), 1, "{text}");
        }
        for text in ["", "NOPE", "0", "-9", "4711"] {
            assert!(signal_number(text).is_err(), "{text}");
        }
    }
}
