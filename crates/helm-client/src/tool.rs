//! helmd's own program at work beside the daemon: it reads its standard input, and says on its output, line by line, what it does. The work on
//! the database is done so, so that nothing else links one, and secrets stand on no command line.

use std::ffi::OsStr;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::daemon::find;
use crate::error::ClientError;
use crate::home::Home;

/// What the program says at most where it fails before it begins.
const ERRORS: u64 = 64 << 10;

/// The program; it is ended with this.
#[derive(Debug)]
pub(crate) struct Tool {
    what: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tool {
    /// `helmd --home HOME WHAT WORDS…`, with `input` on its standard input.
    pub(crate) async fn start(
        home: &Home,
        what: &'static str,
        words: impl IntoIterator<Item = impl AsRef<OsStr>>,
        input: &[u8],
    ) -> Result<Self, ClientError> {
        let program = find("helmd")?;
        let mut child = Command::new(&program)
            .arg("--home")
            .arg(home.path())
            .arg(what)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| ClientError::Start(format!("{}: {e}", program.display())))?;
        let (Some(mut pipe), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(ClientError::Start("its pipes are not there".into()));
        };
        // A program that ended before it read says why on its standard error.
        let _ = pipe.write_all(input).await;
        Ok(Self { what, child, lines: BufReader::new(output).lines() })
    }

    /// The next line; `None` behind the last one.
    pub(crate) async fn line(&mut self) -> Result<Option<String>, ClientError> {
        let line = self.lines.next_line().await;
        line.map_err(|e| ClientError::Start(format!("`helmd {}`: {e}", self.what)))
    }

    /// What it said on its standard error, until that is closed.
    pub(crate) async fn errors(&mut self) -> String {
        let mut said = String::new();
        if let Some(errors) = self.child.stderr.take() {
            // What is not text is not shown.
            let _ = errors.take(ERRORS).read_to_string(&mut said).await;
        }
        said.trim().to_owned()
    }
}

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
    let Secrets { password, admin_url } = secrets;
    let text = json!({ "password": password, "admin_url": admin_url }).to_string();
    let mut tool = Tool::start(home, "db", words, text.as_bytes()).await?;
    let mut outcome = None;
    while let Some(line) = tool.line().await? {
        match serde_json::from_str(&line) {
            Ok(Said::Say(words)) => told(&words),
            Ok(Said::Done(value)) => outcome = Some(Outcome::Done(value)),
            Ok(Said::Failed(why)) => outcome = Some(Outcome::Failed(why)),
            Err(_) => return Err(ClientError::Start(format!("`helmd db` said: {line}"))),
        }
    }
    let said = tool.errors().await;
    tool.child.wait().await.map_err(|e| ClientError::Start(format!("`helmd db`: {e}")))?;
    outcome.ok_or_else(|| ClientError::Start(format!("`helmd db` said: {said}")))
}
