//! JSON of `env`, `tree` and `signal` (docs/api.md). Fields are only ever added.

use helm_proto::v1;
use serde::Serialize;

/// `env --json`
#[derive(Debug, Serialize)]
pub(crate) struct Launch {
    argv: Vec<String>,
    directory: String,
    mode: String,
    environment: Vec<Variable>,
}

#[derive(Debug, Serialize)]
struct Variable {
    name: String,
    value: String,
    masked: bool,
}

impl From<v1::LaunchResponse> for Launch {
    fn from(l: v1::LaunchResponse) -> Self {
        let variable = |v: v1::Variable| Variable { name: v.name, value: v.value, masked: v.masked };
        let environment = l.environment.into_iter().map(variable).collect();
        Self { argv: l.argv, directory: l.directory, mode: l.mode, environment }
    }
}

/// `tree --json`: one of its values.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    pid: u32,
    parent: u32,
    main: bool,
    command: String,
    cpu_percent: Option<f64>,
    cpu_seconds: f64,
    memory_bytes: u64,
    threads: u32,
}

impl From<v1::ProcessInfo> for Process {
    fn from(p: v1::ProcessInfo) -> Self {
        Self {
            pid: p.pid,
            parent: p.parent,
            main: p.main,
            command: p.command,
            cpu_percent: p.cpu_percent,
            cpu_seconds: p.cpu_seconds,
            memory_bytes: p.memory_bytes,
            threads: p.threads,
        }
    }
}

/// `signal --json`
#[derive(Debug, Serialize)]
pub(crate) struct Signal {
    pid: u32,
    signal: String,
    follows: Option<String>,
}

impl From<v1::SignalResponse> for Signal {
    fn from(s: v1::SignalResponse) -> Self {
        Self { pid: s.pid, signal: s.signal, follows: Some(s.follows).filter(|words| !words.is_empty()) }
    }
}
