//! Work on the database: helmd's own program does it, so that nothing else links one. Secrets go to its standard input.

use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::daemon::find;
use crate::error::ClientError;
use crate::home::Home;

/// What the program says at most where it fails before it begins.
const ERRORS: u64 = 64 << 10;

/// What is on no command line.
#[derive(Default)]
pub struct Secrets {
    /// Of the role that helmd is to log in as.
    pub password: Option<String>,
    /// A connection string with an administrator's rights.
    pub admin_url: Option<String>,
}

/// One line of its output.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Say(String),
    Done(Value),
    Failed(String),
}

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// What came of it.
    Done(Value),
    /// Why nothing did, in words.
    Failed(String),
}

/// `helmd db WORDS…`; each step is told as it is done.
pub async fn database(
    home: &Home,
    words: &[String],
    secrets: Secrets,
    mut told: impl FnMut(&str),
) -> Result<Outcome, ClientError> {
    let program = find("helmd")?;
    let broken = |e: std::io::Error| ClientError::Start(format!("{}: {e}", program.display()));
    let mut child = Command::new(&program)
        .arg("--home")
        .arg(home.path())
        .arg("db")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(broken)?;
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(ClientError::Start("its pipes are not there".into()));
    };
    let Secrets { password, admin_url } = secrets;
    let text = json!({ "password": password, "admin_url": admin_url }).to_string();
    // A program that ended before it read says why on its standard error.
    let _ = input.write_all(text.as_bytes()).await;
    drop(input);
    let mut outcome = None;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.map_err(broken)? {
        match serde_json::from_str(&line) {
            Ok(Said::Say(words)) => told(&words),
            Ok(Said::Done(value)) => outcome = Some(Outcome::Done(value)),
            Ok(Said::Failed(why)) => outcome = Some(Outcome::Failed(why)),
            Err(_) => return Err(ClientError::Start(format!("`helmd db` said: {line}"))),
        }
    }
    let mut said = String::new();
    errors.take(ERRORS).read_to_string(&mut said).await.map_err(broken)?;
    child.wait().await.map_err(broken)?;
    outcome.ok_or_else(|| ClientError::Start(format!("`helmd db` said: {}", said.trim())))
}
