//! PostgreSQL as an engine: what every engine must do, and what only it can do wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on says so by a panic"
)]

mod conformance;
mod postgres_cases;
mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use conformance::{Beside, Database};
use helm_store::engine::LogEngine;
use helm_store::id::Instance;
use helm_store::postgres::{PgEngine, Registration};
use support::cluster::{self, Fresh};

impl Database for Fresh {
    fn open(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn LogEngine>> + Send + '_>> {
        Box::pin(async move {
            let engine: Arc<dyn LogEngine> = Arc::new(engine(self, instance).await);
            assert_eq!(engine.instance(), instance);
            engine
        })
    }

    fn open_beside(&self, instance: Instance) -> Pin<Box<dyn Future<Output = Arc<dyn Beside>> + Send + '_>> {
        Box::pin(async move { Arc::new(engine(self, instance).await) as Arc<dyn Beside> })
    }

    fn look<'a>(&'a self, sql: &'static str) -> Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>> {
        Box::pin(
            async move { sqlx::query_scalar(sql).fetch_all(&mut self.connection().await).await.unwrap() },
        )
    }
}

async fn fresh() -> Fresh {
    cluster::shared().fresh().await
}

fn registration(instance: Instance) -> Registration {
    Registration {
        uuid: format!("home of {}", instance.0),
        host: "host".into(),
        home: "/srv/helm".into(),
        preferred: instance,
    }
}

async fn engine(database: &Fresh, instance: Instance) -> PgEngine {
    PgEngine::open(database.options(), registration(instance)).await.unwrap()
}

conformance!(fresh);
