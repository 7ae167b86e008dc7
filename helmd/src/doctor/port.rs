//! The port of a service: who else holds it, and whether it may be bound at all.

use std::fs;
use std::path::Path;

use helm_core::doctor::{Finding, Forbidden, Holding, Port};
use helm_core::spec::ServiceSpec;
use helm_core::status::{Health, Holder, State};
use helm_shim::procs;

use super::scene::{Scene, holder};
use super::service::executable;
use crate::{port, programs};

pub(super) fn look(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let Some(number) = spec.port else { return Vec::new() };
    let holder = port::look_up(number);
    let own = holder.as_ref().is_some_and(|holder| is_ours(scene, spec, holder));
    let stranger = holder.filter(|_| !own);
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
        // One that it has, it may have.
        forbidden: first_allowed(scene, spec).filter(|first| !own && number < *first).map(|first| {
            Forbidden {
                user: scene.owner.name.clone(),
                first,
                lowest: scene.services().filter_map(|spec| spec.port).min().unwrap_or(number),
            }
        }),
        place: scene.place(&spec.name),
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
    if has_capabilities(&path) || starter(scene).is_some_and(binds_any) {
        return None;
    }
    fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?.trim().parse().ok()
}

/// Who starts it: the helmd that there is, else one that whoever looks would start.
fn starter(scene: &Scene) -> Option<u32> {
    holder(&scene.home, &scene.daemon).or_else(|| scene.is_owner().then(std::process::id))
}

/// Whatever it starts may bind any port.
fn binds_any(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| hands_it_down(&status))
}

/// root hands all of its rights down, and everybody what is among the ambient ones (capabilities(7)).
fn hands_it_down(status: &str) -> bool {
    const NET_BIND_SERVICE: u32 = 10;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let right = |name: &str| {
        let set = field(name).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        set.is_some_and(|set| set >> NET_BIND_SERVICE & 1 == 1)
    };
    let effective = field("Uid:").and_then(|ids| ids.split_whitespace().nth(1));
    right("CapAmb:") || (effective == Some("0") && right("CapEff:"))
}

fn has_capabilities(program: &str) -> bool {
    let mut value = [0_u8; 64];
    let real = Path::new(program).canonicalize().unwrap_or_default();
    rustix::fs::getxattr(real, "security.capability", &mut value).is_ok_and(|length| length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_handed_down_by_root_and_by_ambient_ones() {
        let status = |uid, effective, ambient| {
            hands_it_down(&format!(
                "Name:\thelmd\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{effective}\nCapAmb:\t{ambient}\n"
            ))
        };
        let (all, bind, none) = ("000001ffffffffff", "0000000000000400", "0000000000000000");
        assert!(status(0, all, none));
        assert!(!status(0, none, none), "root of a container without it");
        assert!(status(1000, bind, bind));
        assert!(!status(1000, bind, none), "its own alone");
    }
}
