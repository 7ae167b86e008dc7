//! Starting a helmd for a home.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, interval, timeout};

use crate::connect::Client;
use crate::error::ClientError;
use crate::home::{Home, Presence};
use crate::unit::Units;

/// Adoption of many services on a busy machine included.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What helmd says before it is ready is at most a list of faults.
const ERRORS: u64 = 1 << 20;

/// How long a helmd that holds the lock and does not answer may be on its way up, or down.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The helmd of this home, started if none is there; whether it was.
///
/// A killed helmd holds its lock until its last thread is gone, a new one holds it before it listens: both are waited
/// for, within a bound.
pub async fn ensure(home: &Home) -> Result<(Client, bool), ClientError> {
    let until = Instant::now() + SETTLE_WITHIN;
    let mut look = interval(LOOK_EVERY);
    let mut started = false;
    loop {
        look.tick().await;
        if matches!(home.presence()?, Presence::Absent) {
            match start(home).await {
                Ok(()) => started = true,
                // Somebody else was faster.
                Err(_) if matches!(home.presence()?, Presence::Running(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let answered = match Client::of(home).await {
            Ok(mut client) => client.info().await.map(|_| client),
            Err(e) => Err(e),
        };
        match answered {
            Ok(client) => return Ok((client, started)),
            Err(e) if e.is_away() && Instant::now() < until => {}
            Err(e) => return Err(e),
        }
    }
}

/// Starts helmd and waits until it answers: by its unit where one is installed for the home, else in a session of its own,
/// where helmd says `ready` on its standard output, or what is wrong on its standard error, and lets go of both.
async fn start(home: &Home) -> Result<(), ClientError> {
    if let Some(units) = Units::of(home) {
        return units.start().await;
    }
    let program = find("helmd")?;
    // With --detach helmd makes a session of its own, so that the end of a terminal is nothing to it.
    let mut child = Command::new(&program)
        .arg("--home")
        .arg(home.path())
        .arg("--detach")
        // Somebody may type this inside a service: the daemon must not look like a part of it.
        .env_remove("HELM_RUN")
        .env_remove("HELM_RUN_DIR")
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| ClientError::Start(format!("{}: {e}", program.display())))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(ClientError::Start("its output is not there".into()));
    };
    let mut said = String::new();
    let ready = timeout(READY_WITHIN, BufReader::new(out).read_line(&mut said)).await;
    match ready {
        Err(_) => Err(ClientError::Start(format!(
            "not ready within {} s; see logs/helmd.log",
            READY_WITHIN.as_secs()
        ))),
        Ok(_) if said.trim() == "ready" => Ok(()),
        Ok(_) => {
            let mut why = String::new();
            let _ = err.take(ERRORS).read_to_string(&mut why).await;
            let _ = child.wait().await;
            let why = why.trim().trim_start_matches("helmd: ");
            Err(ClientError::Start(if why.is_empty() {
                "it ended without a word".into()
            } else {
                why.to_owned()
            }))
        }
    }
}

/// Beside our own program first: the versions belong together.
pub(crate) fn find(name: &str) -> Result<PathBuf, ClientError> {
    let own = std::env::current_exe().map_err(|e| ClientError::Start(e.to_string()))?;
    let beside = own.with_file_name(name);
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
        .ok_or_else(|| ClientError::Start(format!("{name} is neither at {} nor in PATH", beside.display())))
}
