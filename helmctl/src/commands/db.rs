//! `db init|status|check|move`

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::thread;

use helm_client::tool::{self, Outcome, Secrets};
use helm_client::{Client, Home, Store};
use helm_shapes::store;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::Value;
use tokio::sync::oneshot;

use super::follow::Ending;
use crate::db_cli::{DbVerb, InitArgs};
use crate::failure::Failure;
use crate::render::{Printer, db, note, warn};

/// Longest line that is a secret.
const SECRET: u64 = 4096;

pub(super) async fn run(home: &Home, verb: DbVerb, printer: &mut Printer) -> Result<(), Failure> {
    match verb {
        DbVerb::Status => status(home, printer).await,
        DbVerb::Move => moved(home, printer).await,
        DbVerb::Check => work(home, &["check".to_owned()], Secrets::default(), printer).await,
        DbVerb::Init(args) => {
            let (words, secrets) = asked(home, args, !printer.wants_json()).await?;
            work(home, &words, secrets, printer).await
        }
    }
}

async fn status(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let status = Store::of(&Client::of(home).await?).await?.status().await?;
    if printer.wants_json() {
        return printer.value(&store::Status::from(status), true);
    }
    printer.block(&db::status(&status))
}

async fn work(home: &Home, words: &[String], secrets: Secrets, printer: &mut Printer) -> Result<(), Failure> {
    match tool::database(home, words, secrets, note).await? {
        Outcome::Failed(why) => Err(Failure::Failed(why)),
        Outcome::Done(value) if printer.wants_json() => printer.value(&value, true),
        Outcome::Done(value) => {
            let word = |key: &str| value[key].as_str().unwrap_or("-").to_owned();
            printer.line(&format!(
                "{} ({}), protected by: {}",
                word("address"),
                word("version"),
                word("protection")
            ))?;
            for advice in value["advice"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                warn(advice);
            }
            Ok(())
        }
    }
}

async fn moved(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    match tool::database(home, &["move".to_owned()], Secrets::default(), note).await? {
        Outcome::Failed(why) => Err(Failure::Failed(why)),
        Outcome::Done(value) if printer.wants_json() => printer.value(&value, true),
        Outcome::Done(value) => printer.line(&format!(
            "{} entries in {} partition(s) are in PostgreSQL, read back and proved",
            value["entries"], value["partitions"]
        )),
    }
}

/// What was typed; on a terminal the rest is asked for.
async fn asked(home: &Home, args: InitArgs, may_ask: bool) -> Result<(Vec<String>, Secrets), Failure> {
    let usual = match tool::database(home, &["usual".to_owned()], Secrets::default(), note).await? {
        Outcome::Failed(why) => return Err(Failure::Failed(why)),
        Outcome::Done(value) => value,
    };
    let InitArgs { host, port, database, user, password_file, admin_url_file } = args;
    let ask = may_ask && io::stdin().is_terminal() && io::stderr().is_terminal();
    let port = port.map(|port| port.to_string());
    let mut words = vec!["init".to_owned()];
    // The administrator's connection string says where the server is.
    let known = admin_url_file.is_some();
    for (name, given) in [("host", host), ("port", port), ("database", database), ("user", user)] {
        let usual = || usual[name].as_str().map_or_else(|| usual[name].to_string(), str::to_owned);
        let value = match given {
            Some(value) => value,
            None if known && matches!(name, "host" | "port") => continue,
            None if ask => prompt(name, usual())?,
            None => usual(),
        };
        words.push(format!("--{name}={value}"));
    }
    let password = match password_file {
        Some(path) => Some(secret(&path)?),
        None if ask => hidden("password (empty: the one that is configured, or a new one)").await?,
        None => None,
    };
    let admin_url = admin_url_file.map(|path| secret(&path)).transpose()?;
    Ok((words, Secrets { password, admin_url }))
}

/// The first line of a file, or of standard input.
fn secret(path: &Path) -> Result<String, Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("{}: {e}", path.display()));
    let mut line = String::new();
    if path.as_os_str() == "-" {
        io::stdin().lock().take(SECRET).read_line(&mut line).map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        BufReader::new(file.take(SECRET)).read_line(&mut line).map_err(failed)?;
    }
    let secret = line.trim_end_matches(['\n', '\r']).to_owned();
    if secret.is_empty() {
        return Err(Failure::Failed(format!("{}: the first line is empty", path.display())));
    }
    Ok(secret)
}

fn prompt(name: &str, usual: String) -> Result<String, Failure> {
    write!(io::stderr(), "{name} [{usual}]: ")?;
    let line = read_line()?;
    Ok(if line.is_empty() { usual } else { line })
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(Failure::Failed("nothing was changed: the input ended".into()));
    }
    Ok(line.trim().to_owned())
}

/// Typed without being shown. However it ends, what is typed later is shown again.
async fn hidden(name: &str) -> Result<Option<String>, Failure> {
    let mut ending = Ending::watch()?;
    let _quiet = Quiet::begin()?;
    write!(io::stderr(), "{name}: ")?;
    // A thread of its own: nobody can take a read of a terminal back, and nobody has to wait for it.
    let (told, line) = oneshot::channel();
    thread::spawn(move || told.send(read_line()));
    let line = tokio::select! {
        line = line => line.map_err(|e| Failure::Failed(e.to_string()))?,
        () = ending.told() => Err(Failure::Failed("nothing was changed: interrupted".into())),
    };
    writeln!(io::stderr())?;
    line.map(|line| Some(line).filter(|line| !line.is_empty()))
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let shown = tcgetattr(io::stdin())?;
        let mut quiet = shown.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(shown))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
