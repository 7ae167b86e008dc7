//! Whether the triggers that refuse to alter entries are in every file of the log, as they were made.

use std::collections::BTreeSet;
use std::path::Path;

use sqlx::{Connection as _, SqliteConnection};

use super::error::engine_error;
use super::{connect, files, migrate};
use crate::engine::EngineError;
use crate::protection::Protection;

/// Files that are named; more are a number.
const NAMED: usize = 5;

/// Name and text.
type Trigger = (String, String);

/// What protects the log of the store in `dir`; needs no helmd, and disturbs none.
pub async fn protection(dir: &Path) -> Result<Protection, EngineError> {
    let log = dir.join("log");
    let listed = files::off(move || if log.is_dir() { files::segments(&log) } else { Ok(Vec::new()) });
    let made = made().await?;
    let mut bare = Vec::new();
    for path in listed.await? {
        if !made.is_subset(&triggers_in(&path).await?) {
            bare.push(path.display().to_string());
        }
    }
    Ok(judged(bare))
}

fn judged(mut bare: Vec<String>) -> Protection {
    if bare.is_empty() {
        return Protection::Triggers;
    }
    if let Some(more) = bare.len().checked_sub(NAMED).filter(|more| *more > 0) {
        bare.truncate(NAMED);
        bare.push(format!("{more} more"));
    }
    let how = "somebody dropped or changed them: run `helmctl logs verify`, and look who may write there";
    Protection::Broken { tables: bare, how: how.to_owned() }
}

async fn triggers_in(path: &Path) -> Result<BTreeSet<Trigger>, EngineError> {
    let mut connection = connect::reader(path).await?;
    let found = triggers(&mut connection).await;
    // What was only read needs no farewell.
    drop(connection.close().await);
    found.map_err(|e| engine_error("could not look for triggers", path, e))
}

async fn triggers(connection: &mut SqliteConnection) -> Result<BTreeSet<Trigger>, sqlx::Error> {
    let all = sqlx::query_as("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'");
    Ok(all.fetch_all(connection).await?.into_iter().collect())
}

/// As a new segment has them.
async fn made() -> Result<BTreeSet<Trigger>, EngineError> {
    let memory = Path::new(":memory:");
    let fault = |e| engine_error("could not make the triggers", memory, e);
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.map_err(fault)?;
    migrate::migrate(&mut connection, memory, migrate::SEGMENT).await?;
    let made = triggers(&mut connection).await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    Ok(made)
}
