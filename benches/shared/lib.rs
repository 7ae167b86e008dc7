//! What the benches of the store and of the HTTP side have in common: the entries that they store, times, and the table.

pub mod figures;
pub mod lines;
pub mod process;
pub mod report;

use std::path::{Path, PathBuf};

use serde::Serialize;

/// A database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Engine {
    /// The one that is built in.
    #[serde(rename = "sqlite")]
    Sqlite,
    /// The one for production.
    #[serde(rename = "postgresql")]
    Postgres,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        })
    }
}

/// Why a row could not be measured.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// A row, or why it could not be measured.
pub type Result<T> = std::result::Result<T, Error>;

/// Where the programs are: beside the bench.
///
/// # Errors
/// The kernel does not say where this program lies.
pub fn bins() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.parent().unwrap_or(Path::new(".")).to_owned())
}

/// Between two looks, and as the pace of a load.
#[allow(clippy::disallowed_methods, reason = "a bench measures over time; nothing is synchronised by it")]
pub async fn pause(time: std::time::Duration) {
    tokio::time::sleep(time).await;
}
