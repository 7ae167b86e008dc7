//! The host: ports, disks, the clock.

use super::shell::edit;
use super::{Finding, Hands, Id, quoted};
use crate::name::ServiceName;
use crate::status::Holder;
use crate::time::Wall;

/// Who holds a port that a service wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The process.
    pub holder: Holder,
    /// The system's unit that it belongs to.
    pub unit: Option<String>,
    /// helmd takes it for the service itself, started by somebody else, and it is healthy.
    pub healthy: bool,
}

/// The port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Which service.
    pub service: ServiceName,
    /// Which port.
    pub port: u16,
    /// Who else holds it.
    pub held: Option<Holding>,
    /// Why it may not be bound.
    pub forbidden: Option<Forbidden>,
    /// The file and line that the service is configured in.
    pub place: (String, u32),
    /// Who looks: another user's process is ended by root alone.
    pub uid: u32,
}

/// A port below those that everybody may bind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    /// The user that may not bind it.
    pub user: String,
    /// The first port that this user may bind.
    pub first: u16,
    /// The lowest port of all services: one setting is for all of them.
    pub lowest: u16,
}

/// Units that run what others ask for: one of their processes says nothing of them.
const RUNNERS: [&str; 6] = [
    "docker.service",
    "containerd.service",
    "podman.service",
    "cron.service",
    "crond.service",
    "atd.service",
];

impl Port {
    /// It cannot be had.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        let held = self.held.as_ref().map(|held| self.held_by(held, hands));
        let forbidden = self.forbidden.as_ref().map(|Forbidden { user, first, lowest }| {
            let setting = format!("net.ipv4.ip_unprivileged_port_start={lowest}");
            let write = if hands.root {
                format!("echo {setting} > /etc/sysctl.d/50-helm.conf && sysctl --system")
            } else {
                format!("echo {setting} | sudo tee /etc/sysctl.d/50-helm.conf && sudo sysctl --system")
            };
            Finding::fault(Id::PortForbidden, format!("its port {} is for root alone", self.port))
                .seen(format!("{user} may bind ports from {first} on (net.ipv4.ip_unprivileged_port_start)"))
                .mend(write)
        });
        held.into_iter().chain(forbidden).map(|finding| finding.of(&self.service)).collect()
    }

    fn held_by(&self, held: &Holding, hands: &Hands) -> Finding {
        let Holding { holder, unit, healthy } = held;
        let finding = if *healthy {
            Finding::warning(Id::PortHeld, "it runs, and Helm did not start it: it is not looked after")
        } else {
            Finding::fault(Id::PortHeld, format!("its port {} is in use", self.port))
        };
        let own = holder.uid == Some(self.uid);
        let mend = match (unit, holder.pid) {
            (Some(unit), _) if !RUNNERS.contains(&unit.as_str()) => {
                hands.sudo(&format!("systemctl disable --now {}", quoted(unit)))
            }
            (_, Some(pid)) if own => format!("kill {pid}"),
            (_, Some(pid)) => hands.sudo(&format!("kill {pid}")),
            // Whose it is comes first.
            (_, None) => hands.sudo(&format!("ss -ltnp 'sport = :{}'", self.port)),
        };
        let finding = match (holder.pid, &holder.command) {
            (Some(pid), Some(command)) => finding.seen(format!("held by pid {pid}: {command}")),
            (Some(pid), None) => finding.seen(format!("held by pid {pid}")),
            (None, _) => {
                let uid = holder.uid.map_or_else(|| "another user".to_owned(), |uid| format!("uid {uid}"));
                finding.seen(format!("held by a process of {uid}; only root sees which"))
            }
        };
        let finding = match unit {
            Some(unit) => finding.seen(format!("which is {unit}")),
            None => finding,
        };
        let finding = match healthy {
            true => finding,
            false => finding.seen(format!(
                "where that one is to keep it, give {} another port: {}",
                self.service,
                edit(&self.place.0, self.place.1)
            )),
        };
        finding.mend(mend)
    }
}

/// A file system that the home, its log or a service lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A directory in it.
    pub path: String,
    /// Bytes that are left for us.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
    /// Files that may still be made, and all of them; 0 of 0 where nothing counts them.
    pub files: (u64, u64),
    /// What is to be left free.
    pub floor: u64,
    /// Helm's own log lies in it, and this file says how much is to be left free (`free_floor`).
    pub helms: Option<String>,
    /// Nothing can be written there.
    pub read_only: bool,
}

impl Disk {
    /// It is nearly full.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        if self.read_only {
            // An image without free space is not full. What a service needs to write is not known; what Helm does is.
            return self.helms.is_some().then(|| self.closed(hands));
        }
        let (left, files) = self.files;
        let short_of_files = files > 0 && left < files / 100;
        if self.free >= self.floor && !short_of_files {
            return None;
        }
        let finding = Finding::fault(Id::DiskFull, "a disk is nearly full").seen(format!(
            "{}: {} MB of {} MB are free; {} MB are to be left",
            self.path,
            self.free >> 20,
            self.size >> 20,
            self.floor >> 20
        ));
        let finding = if short_of_files {
            finding.seen(format!("{left} of {files} files can still be made"))
        } else {
            finding
        };
        let what = format!("du -xh --max-depth=2 {} | sort -h | tail", quoted(&self.path));
        Some(match &self.helms {
            None => finding.mend(what),
            // More is to be left than there is.
            Some(conf) if self.size < self.floor => finding.mend(edit(conf, 0)),
            Some(_) => finding
                .seen(format!("what lies there: {what}"))
                .mend(hands.ctl("retention set default '30d 1G'")),
        })
    }

    fn closed(&self, hands: &Hands) -> Finding {
        let path = quoted(&self.path);
        Finding::fault(Id::DiskReadOnly, "a disk that Helm writes to is read-only")
            .seen(format!(
                "{}: mounted read-only; the kernel does so after errors, too: sudo dmesg | grep -i error",
                self.path
            ))
            .mend(hands.sudo(&format!("mount -o remount,rw \"$(findmnt -no TARGET -T {path})\"")))
    }
}

/// The clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Now.
    pub now: Wall,
    /// The newest file that this program or helmd wrote, and when that was.
    pub newest: Option<(String, Wall)>,
    /// Whether the kernel is told the time by others; `None`: not known.
    pub synchronised: Option<bool>,
}

impl Clock {
    /// Files may be this much ahead: of a copy, or of another host's file system.
    const AHEAD: i64 = 120_000_000_000;

    /// It is behind what was already written. A kernel that is not told the time alone is no evidence: containers and
    /// virtual machines are often so.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let (path, at) = self.newest.as_ref()?;
        let ahead = at.0.saturating_sub(self.now.0);
        if ahead < Self::AHEAD {
            return None;
        }
        let finding = Finding::fault(Id::ClockOff, "the clock is behind what was already written")
            .seen(format!("{path} is {} s in the future", ahead / 1_000_000_000))
            .mend(hands.sudo("timedatectl set-ntp true"));
        Some(match self.synchronised {
            Some(false) => finding.seen("and nobody tells this host the time (adjtimex: not synchronised)"),
            Some(true) | None => finding,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::name;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: false }
    }

    fn mend(uid: u32, pid: Option<u32>, unit: Option<&str>) -> String {
        let holder = Holder { pid, command: Some("nginx".into()), uid: Some(uid) };
        let held = Holding { holder, unit: unit.map(str::to_owned), healthy: false };
        let port = Port { held: Some(held), ..port() };
        port.findings(&hands())[0].mend.clone().unwrap()
    }

    fn port() -> Port {
        let place = ("/h/services.json".into(), 4);
        Port { service: name("nexus"), port: 443, held: None, forbidden: None, place, uid: 1000 }
    }

    #[test]
    fn one_setting_is_for_all_ports() {
        let forbidden = Forbidden { user: "helm".into(), first: 1024, lowest: 80 };
        let found = Port { forbidden: Some(forbidden), ..port() }.findings(&hands()).remove(0);
        assert!(found.mend.unwrap().starts_with("echo net.ipv4.ip_unprivileged_port_start=80 | "));
    }

    #[test]
    fn what_holds_a_port_may_be_what_is_to_hold_it() {
        let holder = Holder { pid: Some(7), command: None, uid: Some(0) };
        let found = |healthy| {
            let held = Holding { holder: holder.clone(), unit: None, healthy };
            Port { held: Some(held), ..port() }.findings(&hands()).remove(0).evidence.join("\n")
        };
        assert!(found(false).contains("give nexus another port: ${EDITOR:-vi} +4 /h/services.json"));
        assert!(!found(true).contains("another port"), "it is the service itself");
    }

    #[test]
    fn a_holder_is_ended_by_whoever_may() {
        assert_eq!(mend(1000, Some(7), None), "kill 7");
        assert_eq!(mend(0, Some(7), None), "sudo kill 7");
        assert_eq!(mend(0, None, None), "sudo ss -ltnp 'sport = :443'");
        assert_eq!(mend(0, Some(7), Some("nginx.service")), "sudo systemctl disable --now nginx.service");
    }

    #[test]
    fn a_disk_is_full_by_its_bytes_or_by_its_files() {
        let disk = |free, files| {
            let disk = Disk { free, files, ..disk() };
            disk.finding(&hands()).is_some()
        };
        assert!(!disk(2 << 30, (0, 0)));
        assert!(disk(1 << 20, (50, 100)));
        assert!(disk(2 << 30, (0, 1000)));
    }

    fn disk() -> Disk {
        let path = "/h".into();
        Disk { path, free: 0, size: 100 << 30, files: (0, 0), floor: 1 << 30, helms: None, read_only: false }
    }

    #[test]
    fn an_image_is_not_full_and_helm_has_to_write() {
        let image = Disk { read_only: true, ..disk() };
        assert_eq!(image.finding(&hands()), None);
        let own = Disk { helms: Some("/h/instance/helm.conf".into()), ..image };
        assert_eq!(own.finding(&hands()).map(|found| found.id), Some(Id::DiskReadOnly));
    }

    #[test]
    fn only_a_file_from_the_future_is_evidence() {
        let clock = |newest: i64, synchronised| {
            let clock = Clock { now: Wall(0), newest: Some(("/f".into(), Wall(newest))), synchronised };
            clock.finding(&hands()).map(|finding| finding.evidence.len())
        };
        assert_eq!(clock(60_000_000_000, Some(false)), None);
        assert_eq!(clock(600_000_000_000, Some(false)), Some(2));
        assert_eq!(clock(600_000_000_000, None), Some(1));
    }
}
