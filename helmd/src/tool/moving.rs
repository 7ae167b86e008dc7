//! `db move`: what SQLite has comes into the PostgreSQL that `instance/helm.conf` names, before helmd writes there.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use helm_store::engine::LogEngine;
use helm_store::postgres::{PgEngine, setup};
use helm_store::sqlite::SqliteEngine;
use helm_store::transfer::{self, Progress, TransferError};
use serde_json::{Value, json};

use super::say;
use crate::home::Home;
use crate::store::identity::Identity;
use crate::store::in_words;
use crate::store::place::{self, Place};

/// What is put aside when all is there; the log last: while it is there, moving goes on.
const FILES: [&str; 5] = ["main.db", "main.db-wal", "main.db-shm", "reserve", "log"];

pub(super) async fn run(home: &Home) -> Result<Value, String> {
    let Place::Postgres(options) = Place::of(home).map_err(|e| in_words(&e))? else {
        return Err("instance/helm.conf names no PostgreSQL: first helmctl db init".to_owned());
    };
    let dir = place::local(home);
    if !dir.join("log").exists() {
        return Err(format!("there is no SQLite store in {}: nothing to move", dir.display()));
    }
    // Before anything is stopped: whether it can be done at all.
    setup::look(&options).await.map_err(|e| in_words(&e))?;
    let target = Place::Postgres(options.clone()).describe();
    say(&format!(
        "log, numbers, states and events go from {} to {target}; the files are kept beside, and services are not touched",
        dir.display()
    ));
    // Held until the end: no helmd may write meanwhile.
    let _lock = home.lock().map_err(|e| {
        format!("{e}; helmd must not write meanwhile: helmctl daemon stop && helmctl db move && helmctl daemon start (services stay)")
    })?;
    let identity = Identity::of(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let from = SqliteEngine::open(&dir, identity.instance).await.map_err(|e| in_words(&e))?;
    from.notes().iter().for_each(|note| say(note));
    let registration = identity.registration(home, from.instance());
    let to = PgEngine::open(*options, registration).await.map_err(|e| in_words(&e))?;
    let moved = bring(&from, &to).await.map_err(|e| match e {
        TransferError::Differs(_) => format!(
            "{}. What SQLite has stays in {}, and what is in {target} stays there; to have it in PostgreSQL after all, take an empty database: helmctl db init --database NAME, then helmctl db move",
            in_words(&e),
            dir.display()
        ),
        TransferError::Instance { .. } | TransferError::Chain { .. } | TransferError::Numbers(_) | TransferError::Engine(_) => format!("{}; what is there stays, and the same command goes on with it", in_words(&e)),
    })?;
    to.close().await.map_err(|e| in_words(&e))?;
    from.close().await.map_err(|e| in_words(&e))?;
    let aside = aside(&dir).map_err(|e| format!("everything is moved, but {}: {e}", dir.display()))?;
    say(&format!("the SQLite store is kept in {aside}: remove it when you need it no more"));
    let next = "helmctl daemon start, then helmctl db status";
    say(&format!("next: {next}"));
    let Moved { log, numbers, events } = moved;
    Ok(json!({
        "entries": log.entries, "partitions": log.partitions, "series": numbers.series, "steps": numbers.steps,
        "events": events, "aside": aside, "next": next,
    }))
}

struct Moved {
    log: Progress,
    numbers: transfer::Brought,
    events: u64,
}

async fn bring(from: &SqliteEngine, to: &PgEngine) -> Result<Moved, TransferError> {
    let told = |p: Progress| say(&format!("{} of {} partitions, {} entries", p.partitions, p.of, p.entries));
    let log = transfer::transfer(from, to, told).await?;
    let numbers = transfer::numbers(from, to).await?;
    say(&format!("{} series of numbers with {} minutes and hours", numbers.series, numbers.steps));
    let events = transfer::history(from, to).await?;
    say(&format!("{events} events"));
    Ok(Moved { log, numbers, events })
}

fn aside(dir: &Path) -> io::Result<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let aside = dir.join(format!("moved-{seconds}"));
    crate::home::private_dir(&aside)?;
    for name in FILES {
        match fs::rename(dir.join(name), aside.join(name)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside.display().to_string())
}
