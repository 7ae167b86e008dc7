//! A service as it runs: what helmd says, what its processes listen on, what it printed last.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use helm_core::doctor::{Finding, Output, Run, Weight};
use helm_core::name::ServiceName;
use helm_core::spec::{Program, ServiceSpec};
use helm_core::status::State;
use helm_core::time::Wall;
use helm_shim::rundir::ServiceDir;
use helm_shim::{cri, procs};

use super::scene::Scene;
use super::service;

/// Lines that are shown of a service that failed.
const SHOWN: usize = 5;
/// Longest part of a line that is shown.
const WIDEST: usize = 200;
/// The last lines are in here.
const TAIL: u64 = 64 << 10;

pub(super) fn look(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let Some(told) = scene.daemon.service(&spec.name) else { return Vec::new() };
    let listens = told.pid.and_then(|main| {
        let mut pids = vec![main];
        pids.extend(procs::descendants(&[main]).iter().map(|process| process.pid));
        helm_sockets::listening(&pids).ok()
    });
    let (last, newest) =
        last_lines(&ServiceDir::new(scene.home.path(), &spec.name).logs()).unwrap_or_default();
    let run = Run {
        waits_for_absent: scene.daemon.waits_for_absent(&spec.name),
        waits_for_faulty: told.waits_for.iter().find(|name| !starts(scene, name)).cloned(),
        path: spec.path.clone(),
        port: spec.port,
        listens,
        output: Output {
            last,
            buffered: keeps_back(scene, spec),
            any: newest.is_some_and(|at| told.started.is_none_or(|started| at >= started)),
        },
        place: scene.place(&spec.name),
        now: scene.now,
        told: told.clone(),
    };
    run.findings(&scene.hands)
}

/// A start is all that it lacks: it was stopped, and its files are whole.
fn starts(scene: &Scene, name: &ServiceName) -> bool {
    let stopped = scene.daemon.service(name).is_some_and(|told| told.state == State::Stopped);
    let spec = scene.services().find(|spec| spec.name == *name);
    stopped
        && spec.is_none_or(|spec| {
            service::files(scene, spec).iter().all(|finding| finding.weight != Weight::Fault)
        })
}

/// Python that writes to a pipe collects 8 KiB first, unless it is told otherwise. Only of a service in Python's own form is
/// it known that it says something when it starts.
fn keeps_back(scene: &Scene, spec: &ServiceSpec) -> bool {
    matches!(spec.program, Some(Program::Python { .. }))
        && scene.environment(spec).get("PYTHONUNBUFFERED").is_none_or(String::is_empty)
}

/// The last lines of the newest log file, and when the last one came.
fn last_lines(logs: &Path) -> io::Result<(Vec<String>, Option<Wall>)> {
    let mut file = File::open(logs.join("current.log"))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let pieces: Vec<_> = bytes.split(|b| *b == b'\n').filter_map(cri::parse).collect();
    let from = pieces.len().saturating_sub(SHOWN);
    let text = |piece: &cri::Piece<'_>| String::from_utf8_lossy(piece.text).chars().take(WIDEST).collect();
    Ok((pieces[from..].iter().map(text).collect(), pieces.last().map(|piece| piece.at)))
}
