//! The port of a service: who else holds it, and whether it may be bound at all.

use std::fs;
use std::path::Path;

use helm_core::doctor::{Finding, Holding, Port};
use helm_core::spec::ServiceSpec;
use helm_core::status::{Health, Holder, State};
use helm_shim::procs;

use super::scene::Scene;
use super::service::executable;
use crate::{port, programs};

pub(super) fn look(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let Some(number) = spec.port else { return Vec::new() };
    let stranger = port::look_up(number).filter(|holder| !is_ours(scene, spec, holder));
    let told = scene.daemon.service(&spec.name);
    let held = stranger.map(|holder| Holding {
        unit: holder.pid.and_then(unit),
        healthy: told.is_some_and(|told| told.state == State::External && told.health == Health::Healthy),
        holder,
    });
    let port = Port {
        service: spec.name.clone(),
        port: number,
        held,
        forbidden: first_allowed(scene, spec)
            .filter(|first| number < *first)
            .map(|first| (scene.owner.name.clone(), first)),
        uid: rustix::process::geteuid().as_raw(),
    };
    port.findings(&scene.hands)
}

/// A process of the service itself: by its environment, or below the process that helmd names. One that cannot be seen
/// is taken for the service where that runs.
fn is_ours(scene: &Scene, spec: &ServiceSpec, holder: &Holder) -> bool {
    let running = scene
        .daemon
        .service(&spec.name)
        .filter(|told| told.state != State::External)
        .and_then(|told| told.pid);
    let Some(pid) = holder.pid else { return running.is_some() };
    let marked = format!("{}={}/", procs::MARKER, scene.home.run().join(spec.name.as_str()).display());
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|b| *b == 0).any(|entry| entry.starts_with(marked.as_bytes()))
        || running.is_some_and(|main| {
            main == pid || procs::descendants(&[main]).iter().any(|process| process.pid == pid)
        })
}

/// The unit of the system that a process belongs to.
fn unit(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = path.strip_prefix("/system.slice/")?;
    below.split('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

/// The first port that the home's owner may bind by this program; `None`: any.
fn first_allowed(scene: &Scene, spec: &ServiceSpec) -> Option<u16> {
    if scene.owner.uid == 0 {
        return None;
    }
    let (_, program) = programs::program(spec)?;
    let (path, _) = executable(&program, Path::new(&spec.path), &scene.environment(spec));
    if has_capabilities(&path) {
        return None;
    }
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?.trim().parse().ok()
}

fn has_capabilities(program: &str) -> bool {
    let mut value = [0_u8; 64];
    let real = Path::new(program).canonicalize().unwrap_or_default();
    rustix::fs::getxattr(real, "security.capability", &mut value).is_ok_and(|length| length > 0)
}
