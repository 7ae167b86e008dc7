//! A program in the service's directory: exit 0 is healthy, its last line is the message. helm-shim goes there and execs it,
//! so that a directory that does not answer hangs a child of ours and no thread.

use std::process::Stdio;
use std::time::Duration;

use helm_core::spec::ServiceSpec;
use helm_core::status::Health;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::Prober;
use crate::reaper::RuntimeChild;

/// Output that is kept.
const OUTPUT: u64 = 8 << 10;

/// Health and message; and the program, killed, where it did not end in time: one that hangs in the kernel may need longer.
pub(super) async fn ask(
    prober: &Prober,
    spec: &ServiceSpec,
    command: &[String],
    within: Duration,
) -> (Health, String, Option<RuntimeChild>) {
    let Some(program) = command.first() else {
        return (Health::Unhealthy, "no command".into(), None);
    };
    let mut start = Command::new(&prober.shim);
    start
        .arg("exec")
        .arg(&spec.path)
        .args(command)
        .env_clear()
        .envs(prober.base_env.iter())
        .envs(spec.env.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match prober.reaper.spawn(&mut start) {
        Ok(child) => child,
        Err(e) => return (Health::Unhealthy, format!("`{program}` could not be started: {e}"), None),
    };
    let group = child.child.id();
    let answer = timeout(within, finish(&mut child)).await;
    if let Some(group) = group.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // Whatever the probe left behind ends with it.
        let _ = kill_process_group(group, Signal::KILL);
    }
    match answer {
        Ok((health, message)) => (health, message, None),
        Err(_) => (Health::Unhealthy, format!("`{program}` did not end within {within:?}"), Some(child)),
    }
}

async fn finish(running: &mut RuntimeChild) -> (Health, String) {
    let mut text = Vec::new();
    if let Some(out) = running.child.stdout.take() {
        let mut out = out.take(OUTPUT);
        let _ = out.read_to_end(&mut text).await;
        // The rest is read too: a program that prints a lot must not end by SIGPIPE.
        let _ = tokio::io::copy(&mut out.into_inner(), &mut tokio::io::sink()).await;
    }
    let last =
        String::from_utf8_lossy(&text).lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("").to_owned();
    match running.child.wait().await {
        Ok(status) if status.success() => {
            (Health::Healthy, if last.is_empty() { "exit 0".into() } else { last })
        }
        Ok(status) => {
            let how = status.code().map_or_else(|| "was killed".to_owned(), |code| format!("exit {code}"));
            (Health::Unhealthy, if last.is_empty() { how } else { format!("{how}: {last}") })
        }
        Err(e) => (Health::Unhealthy, format!("its end is not known: {e}")),
    }
}
