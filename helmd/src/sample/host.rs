//! The host: load, processors, memory, and the disks that helmd writes to.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use sysinfo::System;

/// One value: metric, the disk it is about, value.
pub type HostValue = (&'static str, Option<&'static str>, f64);

/// Reads the host. Processors are told from the second time on.
#[derive(Debug)]
pub struct Host {
    system: System,
    disks: [(&'static str, PathBuf); 2],
    looked: bool,
}

impl Host {
    /// `home` and `logs` lie on the disks that are told.
    pub fn new(home: PathBuf, logs: PathBuf) -> Self {
        Self { system: System::new(), disks: [("home", home), ("logs", logs)], looked: false }
    }

    /// All of it, now.
    pub fn look(&mut self) -> Vec<HostValue> {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let load = System::load_average();
        let mut values = vec![
            ("load1", None, load.one),
            ("load5", None, load.five),
            ("load15", None, load.fifteen),
            ("memory_total_bytes", None, real(self.system.total_memory())),
            ("memory_available_bytes", None, real(self.system.available_memory())),
            ("swap_total_bytes", None, real(self.system.total_swap())),
            ("swap_used_bytes", None, real(self.system.used_swap())),
            ("uptime_seconds", None, Duration::from_secs(System::uptime()).as_secs_f64()),
        ];
        if std::mem::replace(&mut self.looked, true) {
            values.push(("cpu_percent", None, f64::from(self.system.global_cpu_usage())));
        }
        values.extend(self.disks());
        values
    }

    /// Total and used bytes. Where both lie on one disk it is told once, as `home`.
    fn disks(&self) -> Vec<HostValue> {
        let mut known = Vec::new();
        let mut values = Vec::new();
        for (name, path) in &self.disks {
            let Ok(device) = std::fs::metadata(path).map(|meta| meta.dev()) else { continue };
            if known.contains(&device) {
                continue;
            }
            known.push(device);
            if let Ok(disk) = rustix::fs::statvfs(path) {
                let used = disk.f_blocks.saturating_sub(disk.f_bfree);
                values.push(("disk_total_bytes", Some(*name), real(disk.f_blocks * disk.f_frsize)));
                values.push(("disk_used_bytes", Some(*name), real(used * disk.f_frsize)));
            }
        }
        values
    }
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memories and disks stay far below 2^53")]
fn real(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host() {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::new(dir.path().into(), dir.path().join("logs"));
        let first = host.look();
        let get = |values: &[HostValue], metric| values.iter().find(|v| v.0 == metric).map(|v| v.2);
        assert!(get(&first, "memory_total_bytes") > get(&first, "memory_available_bytes"));
        assert!(get(&first, "disk_total_bytes") >= get(&first, "disk_used_bytes"));
        assert_eq!(get(&first, "cpu_percent"), None, "of nothing before");
        let cpu = get(&host.look(), "cpu_percent").unwrap();
        assert!((0.0..=100.0).contains(&cpu), "{cpu}");
        assert_eq!(first.iter().filter(|v| v.0 == "disk_total_bytes").count(), 1, "one disk, told once");
    }
}
