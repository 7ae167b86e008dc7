//! The SQLite engine: everything that engines must do, and what only files can.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use conformance::Beside;
use helm_store::engine::LogEngine;
use helm_store::id::Instance;
use helm_store::sqlite::SqliteEngine;
use sqlx::{Connection as _, SqliteConnection};

mod conformance;

/// A store in a directory that goes with this value.
struct Home(tempfile::TempDir);

impl conformance::Database for Home {
    fn open(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn LogEngine>> + Send + '_>> {
        Box::pin(async move {
            let engine = SqliteEngine::open(self.0.path(), instance).await.unwrap();
            Arc::new(engine) as Arc<dyn LogEngine>
        })
    }

    fn open_beside(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn Beside>> + Send + '_>> {
        Box::pin(async move {
            let engine = SqliteEngine::open(self.0.path(), instance).await.unwrap();
            Arc::new(engine) as Arc<dyn Beside>
        })
    }

    fn look<'a>(&'a self, sql: &'static str) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>> {
        Box::pin(async move {
            let main = self.0.path().join("main.db");
            let mut connection = SqliteConnection::connect(main.to_str().unwrap()).await.unwrap();
            sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
        })
    }
}

#[expect(clippy::unused_async, reason = "other databases take time to make")]
async fn fresh() -> Home {
    Home(tempfile::tempdir().unwrap())
}

conformance!(fresh);

#[path = "sqlite/damage.rs"]
mod damage;
#[path = "sqlite/files.rs"]
mod files;
