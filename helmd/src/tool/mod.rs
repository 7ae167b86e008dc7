//! `helmd db …`: work on the database where no helmd is needed. `helmctl db …` runs it: secrets come on standard input, what is done and what came
//! of it goes to standard output, one JSON object a line.

mod check;
mod init;
mod moving;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::home::Home;

/// What to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Tool {
    /// Make role, database and instance/helm.conf
    Init {
        /// Name, number, or the directory of a socket
        #[arg(long)]
        host: Option<String>,
        /// Port
        #[arg(long)]
        port: Option<u16>,
        /// Database
        #[arg(long)]
        database: String,
        /// Role
        #[arg(long)]
        user: String,
    },
    /// What `init` is to be told where the operator says nothing
    Usual,
    /// Connect as helmd would, and look
    Check,
    /// Bring what SQLite has into PostgreSQL
    Move,
}

/// What must be on no command line: a JSON object on standard input.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Secrets {
    /// Of the role that helmd is to log in as.
    password: Option<String>,
    /// A connection string with an administrator's rights.
    admin_url: Option<String>,
}

impl Secrets {
    fn read() -> Result<Self, String> {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text).map_err(|e| format!("standard input: {e}"))?;
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // The parser's message might quote what is secret.
        serde_json::from_str(&text).map_err(|_| "standard input is no JSON object of secrets".to_owned())
    }
}

/// Something was done.
fn say(what: &str) {
    line(&json!({ "say": what }));
}

fn line(value: &Value) {
    let mut out = io::stdout().lock();
    // Nobody listens: the work is done all the same.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

/// Does it.
pub fn run(path: &Path, tool: Tool) -> ExitCode {
    let done = Home::open_for_its_owner(path).map_err(|e| e.to_string()).and_then(|home| {
        let secrets = Secrets::read()?;
        // One thread: rights that are taken for a moment are those of this thread.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("the runtime cannot be started: {e}"))?;
        runtime.block_on(async {
            match tool {
                Tool::Init { host, port, database, user } => {
                    let server = init::server(host, port, secrets.admin_url.as_deref())?;
                    let asked = init::Asked { host: server.0, port: server.1, database, user };
                    init::init(&home, asked, secrets).await
                }
                Tool::Usual => Ok(json!(init::usual(&home)?)),
                Tool::Check => check::check(&home).await,
                Tool::Move => moving::run(&home).await,
            }
        })
    });
    match done {
        Ok(value) => {
            line(&json!({ "done": value }));
            ExitCode::SUCCESS
        }
        Err(why) => {
            line(&json!({ "failed": why }));
            ExitCode::FAILURE
        }
    }
}
