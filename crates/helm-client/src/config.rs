//! The check of a configuration where no helmd runs: helmd's own program does it, so that there is one reader.

use std::process::Stdio;

use helm_proto::v1::{CheckConfigResponse, Fault};
use serde::Deserialize;
use tokio::process::Command;

use crate::daemon::find;
use crate::error::ClientError;
use crate::home::Home;

#[derive(Deserialize)]
struct Checked {
    ok: bool,
    faults: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    file: String,
    line: u32,
    column: u32,
    field: String,
    severity: String,
    message: String,
    hint: String,
}

impl From<Found> for Fault {
    fn from(f: Found) -> Self {
        let Found { file, line, column, field, severity, message, hint } = f;
        Self { file, line, column, field, severity, message, hint }
    }
}

/// `helmd --check --json`
pub async fn check_without_helmd(home: &Home) -> Result<CheckConfigResponse, ClientError> {
    let program = find("helmd")?;
    let run = Command::new(&program)
        .arg("--home")
        .arg(home.path())
        .args(["--check", "--json"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = run.await.map_err(|e| ClientError::Start(format!("{}: {e}", program.display())))?;
    let checked: Checked = serde_json::from_slice(&said.stdout).map_err(|_| {
        ClientError::Start(format!("`helmd --check` said: {}", String::from_utf8_lossy(&said.stderr).trim()))
    })?;
    Ok(CheckConfigResponse { ok: checked.ok, faults: checked.faults.into_iter().map(Fault::from).collect() })
}
