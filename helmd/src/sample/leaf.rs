//! What the leaf cgroup of a run tells (Documentation/admin-guide/cgroup-v2.rst).

use std::fs;
use std::path::Path;

use super::proc::value;
use super::reckon::Leaf;

/// Reads it; `None`: there is no such leaf.
pub fn read(dir: &Path) -> Option<Leaf> {
    let text = |file: &str| fs::read_to_string(dir.join(file)).ok();
    leaf(
        &text("cpu.stat")?,
        text("memory.current").as_deref(),
        text("memory.stat").as_deref(),
        text("pids.current").as_deref(),
    )
}

fn leaf(cpu: &str, memory: Option<&str>, stat: Option<&str>, pids: Option<&str>) -> Option<Leaf> {
    let number = |text: Option<&str>| text.and_then(|t| t.trim().parse::<u64>().ok());
    // What is kept of files and used by nobody is given back when others want it.
    let idle = stat.and_then(|text| value(text, "inactive_file ")).unwrap_or(0);
    Some(Leaf {
        cpu_us: value(cpu, "usage_usec ")?,
        memory: number(memory).map(|bytes| bytes.saturating_sub(idle)),
        threads: number(pids),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_controllers() {
        let cpu = "usage_usec 1234\nuser_usec 1000\n";
        assert_eq!(leaf(cpu, None, None, None), Some(Leaf { cpu_us: 1234, memory: None, threads: None }));
        let whole = leaf(cpu, Some("5000\n"), Some("anon 1\ninactive_file 2000\n"), Some("9\n"));
        assert_eq!(whole, Some(Leaf { cpu_us: 1234, memory: Some(3000), threads: Some(9) }));
        assert_eq!(leaf("", None, None, None), None);
    }
}
