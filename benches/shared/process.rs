//! What a process uses, from /proc.

use crate::Result;

/// Seconds of processor time so far.
///
/// # Errors
/// The process is not there.
pub fn processor(pid: u64) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Proportional set size in MB.
///
/// # Errors
/// The process is not there, or not ours.
pub fn memory(pid: u64) -> Result<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).ok_or("no Pss")?;
    let kib: f64 = line.split_ascii_whitespace().nth(1).ok_or("no Pss")?.parse()?;
    Ok(kib / 1024.0)
}
