//! `db move`: what SQLite has comes into the PostgreSQL that `instance/helm.conf` names, before helmd writes there.

use std::fs;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use helm_store::engine::LogEngine;
use helm_store::postgres::{PgEngine, Registration};
use helm_store::sqlite::SqliteEngine;
use helm_store::transfer::transfer;
use serde_json::{Value, json};

use super::say;
use crate::home::Home;
use crate::store::identity::Identity;
use crate::store::in_words;
use crate::store::place::{self, Place};

/// What is put aside when all is there.
const FILES: [&str; 4] = ["log", "main.db", "main.db-wal", "main.db-shm"];

pub(super) async fn run(home: &Home) -> Result<Value, String> {
    // Held until the end: no helmd may write meanwhile.
    let _lock = home.lock().map_err(|e| format!("{e}; first: helmctl daemon stop (services stay)"))?;
    let Place::Postgres(options) = Place::of(home).map_err(|e| in_words(&e))? else {
        return Err("instance/helm.conf names no PostgreSQL: first helmctl db init".to_owned());
    };
    let dir = place::local(home);
    if !dir.join("log").exists() {
        return Err(format!("there is no SQLite store in {}: nothing to move", dir.display()));
    }
    let identity = Identity::of(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let from = SqliteEngine::open(&dir, identity.instance).await.map_err(|e| in_words(&e))?;
    from.notes().iter().for_each(|note| say(note));
    let registration = Registration {
        uuid: identity.uuid.clone(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        home: home.path().to_string_lossy().into_owned(),
        preferred: from.instance(),
    };
    let to = PgEngine::open(*options, registration).await.map_err(|e| in_words(&e))?;
    let told = |p: helm_store::transfer::Progress| {
        say(&format!("{} of {} partitions, {} entries", p.partitions, p.of, p.entries));
    };
    let moved = transfer(&from, &to, told).await.map_err(|e| in_words(&e))?;
    to.close().await.map_err(|e| in_words(&e))?;
    from.close().await.map_err(|e| in_words(&e))?;
    let aside = aside(&dir).map_err(|e| format!("everything is moved, but {}: {e}", dir.display()))?;
    say(&format!("the SQLite store is kept in {aside}; numbers, states and past events stay there"));
    Ok(json!({ "entries": moved.entries, "partitions": moved.partitions, "aside": aside }))
}

fn aside(dir: &std::path::Path) -> io::Result<String> {
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
