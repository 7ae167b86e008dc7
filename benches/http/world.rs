//! A home with 8 services, helmd, helm-web and a Core, on an engine.

use std::path::Path;

use harness::home::fixture;
use harness::postgres::Cluster;
use harness::site::Site;
use helm_client::{Client, Home, Logs};
use serde_json::{Map, Value, json};
use shared::report::Row;
use shared::{Engine, Result, process};

/// Services that are up.
pub(crate) const UP: usize = 8;
/// Lines of the service that talks: a second, and bytes of each.
pub(crate) const RATE: u64 = 1000;
pub(crate) const WIDTH: u64 = 250;
/// The service that talks once it is started.
pub(crate) const TALKER: &str = "talker";

/// All of it; dropping it ends all of it.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) site: Site,
    _cluster: Option<Cluster>,
}

impl World {
    pub(crate) fn begin(engine: Engine) -> Self {
        let cluster = (engine == Engine::Postgres).then(|| Cluster::start("trust"));
        let settings = cluster.as_ref().map_or_else(String::new, |cluster| {
            let said = cluster.sql("postgres", "postgres", "postgres", "CREATE DATABASE helm_db");
            assert_eq!(said.code, 0, "{}", said.err);
            let url = format!("postgresql://postgres:postgres@127.0.0.1:{}/helm_db", cluster.port);
            format!("[database]\nconnection_string = {url}\n")
        });
        let mut services: Map<String, Value> = (0..UP)
            .map(|n| (format!("service-{n}"), json!({"command": fixture("chatty", "count=1")})))
            .collect();
        let talks = format!("rate={RATE} burst=10 width={WIDTH} streams=stdout");
        services.insert(TALKER.into(), json!({"command": fixture("chatty", &talks)}));
        let site = Site::new(&Value::Object(services), &settings);
        for n in 0..UP {
            site.home.ctl(&["start", &format!("service-{n}")]).code(0);
        }
        Self { engine, site, _cluster: cluster }
    }

    pub(crate) fn row(&self, work: impl Into<String>) -> Row {
        Row::new(self.engine, work)
    }

    /// Where the disk is that the store lies on; PostgreSQL's is the same one.
    pub(crate) fn disk(&self) -> &Path {
        self.site.home.dir()
    }

    pub(crate) async fn logs(&self) -> Result<Logs> {
        let client = Client::of(&Home::find(Some(self.site.home.dir()))?).await?;
        Ok(Logs::of(&client).await?)
    }

    /// Seconds of processor time of helm-web so far.
    pub(crate) fn processor(&self) -> Result<f64> {
        process::processor(self.site.pid().into())
    }

    /// Its proportional set size in MB.
    pub(crate) fn memory(&self) -> Result<f64> {
        process::memory(self.site.pid().into())
    }
}
