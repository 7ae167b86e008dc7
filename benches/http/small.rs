//! Memory at rest, and one client with one entry.

use std::time::{Duration, Instant};

use shared::figures::Times;
use shared::report::Row;
use shared::{Result, pause};

use crate::Plan;
use crate::ingest::{batch, beside, commit};
use crate::load::{Connection, get, post};
use crate::world::World;

pub(crate) async fn idle(world: &World) -> Result<Vec<Row>> {
    // Asked once, so that what a first request brings into memory is there.
    let host = world.site.address();
    let token = world.site.user("admin");
    Connection::open(host).await?.ask(get(host, "/api/services", &token)?).await?;
    pause(Duration::from_secs(5)).await;
    let pss = world.memory()?;
    let row = world.row("PSS at rest").limit("Python 184 MB").helm(format!("{pss:.1} MB"));
    Ok(vec![row.asked("below 20 MB", pss < 20.0).figure("pss_mb", pss)])
}

pub(crate) async fn one(world: &World, plan: &Plan) -> Result<Vec<Row>> {
    let (host, token) = (world.site.address(), world.site.service("codex"));
    let commit = commit(world)?;
    let mut connection = Connection::open(host).await?;
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < plan.round * 2 {
        let (body, _) = batch(times.len() as u64, 1)?;
        let request = post(host, "/api/logs/ingest", &token, body)?;
        let asked = Instant::now();
        connection.ask(request).await?;
        times.push(asked.elapsed());
    }
    let times = Times::of(times);
    let row = world.row("ingest, 1 client, batch 1");
    let row = row.limit(format!("{}; disk's commit {commit:.2} ms", beside(world.engine, "7.5 ms")));
    let row =
        row.helm(times.said()).asked(format!("p50 below {:.2} ms", commit + 1.0), times.p50() < commit + 1.0);
    Ok(vec![row.figure("p50_ms", times.p50()).figure("p99_ms", times.p99()).figure("disk_commit_ms", commit)])
}
