//! The processes of a service, for people.

use std::fmt::Write;

use helm_proto::v1::ProcessInfo;

use super::{HEAD, cut, metrics, safe, styled};

/// A line a process, children below their parents and further to the right.
pub(crate) fn table(processes: &[ProcessInfo], width: usize) -> String {
    let mut text = String::new();
    let head =
        format!("{:>8}  {:>6}  {:>7}  {:>6}  {:>7}  COMMAND", "PID", "CPU", "WORKED", "MEMORY", "THREADS");
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for process in processes {
        let cpu = process.cpu_percent.map_or_else(|| "-".to_owned(), |v| metrics::amount(v, "percent"));
        #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
        let memory = metrics::amount(process.memory_bytes as f64, "bytes");
        let line = format!(
            "{:>8}  {cpu:>6}  {:>7}  {memory:>6}  {:>7}  {:indent$}{}",
            process.pid,
            metrics::amount(process.cpu_seconds, "seconds"),
            process.threads,
            "",
            safe(&process.command),
            indent = 2 * depth(processes, process.parent),
        );
        let _ = writeln!(text, "{}", cut(&line, width));
    }
    text
}

/// Ancestors that are in the list. A torn look may hold a ring: nothing is deeper than there are processes.
fn depth(processes: &[ProcessInfo], mut parent: u32) -> usize {
    for depth in 0..processes.len() {
        match processes.iter().find(|p| p.pid == parent) {
            Some(process) => parent = process.parent,
            None => return depth,
        }
    }
    processes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_stand_further_to_the_right() {
        let process = |pid, parent, command: &str| ProcessInfo {
            pid,
            parent,
            command: command.into(),
            cpu_percent: Some(12.3),
            cpu_seconds: 75.0,
            memory_bytes: 5 << 20,
            threads: 2,
            ..Default::default()
        };
        let all =
            [process(10, 1, "gunicorn: master"), process(12, 10, "gunicorn: worker"), process(13, 12, "sh")];
        let text = anstream::adapter::strip_str(&table(&all, 60)).to_string();
        insta::assert_snapshot!(text);
    }
}
