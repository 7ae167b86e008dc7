//! Disks and the clock.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use helm_core::doctor::{Clock, Disk, Finding};
use helm_core::time::Wall;
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::scene::Scene;
use crate::config;

/// What a service's disk has to have left.
const OF_SERVICES: u64 = 100 << 20;

/// Each file system once, by the first directory in it.
pub(super) fn disks(scene: &Scene) -> Vec<Finding> {
    let home = scene.home.path();
    let floor = scene.config().map_or(1 << 30, |config| config.settings.free_floor);
    let own = [home.to_owned(), scene.home.logs(), scene.home.instance().join("store")];
    let places = own.into_iter().map(|path| (path, Some(floor)));
    let services = scene.services().map(|spec| (PathBuf::from(&spec.path), None));
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (path, floor) in places.chain(services) {
        let Ok(device) = fs::metadata(&path).map(|meta| meta.dev()) else { continue };
        if seen.insert(device)
            && let Ok(room) = statvfs(&path)
        {
            let disk = Disk {
                path: path.display().to_string(),
                free: room.f_bavail * room.f_frsize,
                size: room.f_blocks * room.f_frsize,
                files: (room.f_favail, room.f_files),
                floor: floor.unwrap_or(OF_SERVICES),
                helms: floor.map(|_| home.join("instance/helm.conf").display().to_string()),
                read_only: room.f_flag.contains(StatVfsMountFlags::RDONLY),
            };
            found.extend(disk.finding(&scene.hands));
        }
    }
    found
}

/// Against what was written: by Helm, and by whoever installed this program.
pub(super) fn clock(scene: &Scene) -> Vec<Finding> {
    let home = scene.home.path();
    let mut paths: Vec<PathBuf> = config::FILES.iter().map(|name| home.join(name)).collect();
    paths.extend(scene.home.instance().read_dir().into_iter().flatten().flatten().map(|entry| entry.path()));
    paths.extend(scene.services().map(|spec| scene.home.logs().join(spec.name.as_str()).join("current.log")));
    paths.push(scene.home.logs().join("helmd.log"));
    paths.extend(std::env::current_exe());
    let written = paths.iter().filter_map(|path| Some((path.display().to_string(), modified(path)?)));
    let newest = written.max_by_key(|(_, at)| *at);
    let clock = Clock { now: scene.now, newest, synchronised: helm_shim::sys::clock_is_told().ok() };
    clock.finding(&scene.hands).into_iter().collect()
}

fn modified(path: &Path) -> Option<Wall> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some(Wall(meta.mtime().checked_mul(1_000_000_000)?.checked_add(meta.mtime_nsec())?))
}
