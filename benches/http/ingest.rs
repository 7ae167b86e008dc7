//! Eight clients with batches of entries over HTTP, by turns with eight that call Append over gRPC with the same ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use helm_proto::v1::{AppendRequest, NewLogEntry};
use hyper::body::Bytes;
use serde_json::json;
use shared::figures::{grouped, median};
use shared::report::{Row, progress};
use shared::{Engine, Error, Result, lines};

use crate::Plan;
use crate::load::{Connection, post};
use crate::world::World;

const CLIENTS: usize = 8;
/// Different bodies that a client sends in turn.
const BODIES: usize = 8;
const PATH: &str = "/api/logs/ingest";

/// A batch, ready to be sent either way.
struct Batch {
    body: Bytes,
    request: AppendRequest,
}

pub(crate) fn batch(from: u64, size: usize) -> Result<(Bytes, AppendRequest)> {
    let lines: Vec<_> = (from..from + size as u64).map(|n| lines::line(n, 0)).collect();
    let logs: Vec<_> = lines
        .iter()
        .map(|line| {
            let context: serde_json::Value = serde_json::from_str(line.context.as_deref().unwrap_or("{}"))?;
            Ok(json!({
                "timestamp": "2026-12-01T00:00:00.123456", "level": line.level.word(), "message": line.message,
                "context": context, "trace_id": line.trace, "user_id": line.user, "hostname": "bench", "process_id": 4242,
            }))
        })
        .collect::<Result<_>>()?;
    let body = json!({"service_name": "codex", "logs": logs}).to_string().into();
    let entries = lines
        .into_iter()
        .map(|line| NewLogEntry {
            at: Some(1_796_083_200_123_456_000),
            level: line.level.word().to_owned(),
            message: line.message,
            context: line.context.unwrap_or_default(),
            trace_id: line.trace,
            user_id: line.user,
            hostname: Some("bench".into()),
            process_id: Some(4242),
            ..NewLogEntry::default()
        })
        .collect();
    Ok((body, AppendRequest { service: "codex".into(), entries, ..AppendRequest::default() }))
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Grpc,
    KeepAlive,
    Fresh,
}

const WAYS: [Way; 3] = [Way::Grpc, Way::KeepAlive, Way::Fresh];

/// What Python's Helm reached, in rows a second.
fn known(size: usize) -> f64 {
    match size {
        10 => 1958.0,
        100 => 5144.0,
        _ => 3230.0,
    }
}

pub(crate) async fn ingest(world: &World, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for size in [10, 100, 1000] {
        let batches = (0..CLIENTS * BODIES)
            .map(|n| {
                let (body, request) = batch((n * size) as u64, size)?;
                Ok(Batch { body, request })
            })
            .collect::<Result<Vec<_>>>()?;
        let batches = Arc::new(batches);
        let mut rates = [const { Vec::new() }; 3];
        let mut cost = [(0.0, 0.0); 3];
        for round in 0..plan.rounds {
            for (at, way) in WAYS.into_iter().enumerate() {
                let before = world.processor()?;
                let (sent, seconds) = flood(world, &batches, way, plan.round).await?;
                let sent = (sent * size) as f64;
                rates[at].push(sent / seconds);
                cost[at].0 += world.processor()? - before;
                cost[at].1 += sent;
            }
            let said: Vec<_> = rates.iter().map(|rates| grouped(rates[round])).collect();
            progress(&format!(
                "batch {size}, round {round}: gRPC, keep-alive, fresh: {} rows/s",
                said.join(", ")
            ));
        }
        let commit = commit(world)?;
        let [grpc, alive, fresh] = rates.map(median);
        for (name, rate, (seconds, sent)) in
            [("keep-alive", alive, cost[1]), ("a connection per request", fresh, cost[2])]
        {
            rows.extend(told(world, size, name, [grpc, rate], 1e6 * seconds / sent, commit));
        }
    }
    Ok(rows)
}

fn told(world: &World, size: usize, name: &str, [grpc, rate]: [f64; 2], cost: f64, commit: f64) -> [Row; 2] {
    let times = (size == 10 && commit < 0.5).then_some(10.0 * known(10));
    let asked = match times {
        Some(times) => format!("70 % of gRPC, and {}", grouped(times)),
        None => "70 % of gRPC".to_owned(),
    };
    let bound = if size == 10 { 20.0 } else { 5.0 };
    let work = format!("ingest, 8 clients, batch {size}, {name}");
    let limit = format!("gRPC {} rows/s; Python {}", grouped(grpc), grouped(known(size)));
    let met = rate >= 0.7 * grpc && times.is_none_or(|times| rate >= times);
    [
        world
            .row(&work)
            .limit(limit)
            .helm(format!("{} rows/s ({:.0} %)", grouped(rate), 100.0 * rate / grpc))
            .asked(asked, met)
            .figure("grpc_rows_per_s", grpc)
            .figure("helm_rows_per_s", rate)
            .figure("disk_commit_ms", commit),
        world
            .row(format!("{work}: helm-web's processor time"))
            .helm(format!("{cost:.1} µs a row"))
            .asked(format!("at most {bound} µs"), cost <= bound)
            .figure("us_per_row", cost),
    ]
}

/// Milliseconds that the disk takes for a commit.
pub(crate) fn commit(world: &World) -> Result<f64> {
    use std::os::unix::fs::FileExt;
    let path = world.disk().join("commits");
    let file = std::fs::File::create(&path)?;
    let begun = Instant::now();
    for at in 0..200 {
        file.write_all_at(&[7; 4096], at * 4096)?;
        file.sync_data()?;
    }
    let mean = begun.elapsed().as_secs_f64() * 1e3 / 200.0;
    std::fs::remove_file(path)?;
    Ok(mean)
}

/// Batches that were taken, and seconds.
async fn flood(world: &World, batches: &Arc<Vec<Batch>>, way: Way, time: Duration) -> Result<(usize, f64)> {
    let (host, token) = (world.site.address(), world.site.service("codex"));
    let mut tasks = tokio::task::JoinSet::new();
    let mut logs = Vec::new();
    for _ in 0..CLIENTS {
        logs.push(world.logs().await?);
    }
    let begun = Instant::now();
    for (client, mut logs) in logs.into_iter().enumerate() {
        let (batches, token) = (batches.clone(), token.clone());
        tasks.spawn(async move {
            let mut open = None;
            let mut sent = 0;
            while begun.elapsed() < time {
                let batch = &batches[client * BODIES + sent % BODIES];
                if let Way::Grpc = way {
                    logs.append(batch.request.clone()).await?;
                } else {
                    let connection = match open.take() {
                        Some(connection) if matches!(way, Way::KeepAlive) => open.insert(connection),
                        _ => open.insert(Connection::open(host).await?),
                    };
                    connection.ask(post(host, PATH, &token, batch.body.clone())?).await?;
                }
                sent += 1;
            }
            Ok::<_, Error>(sent)
        });
    }
    let mut sent = 0;
    while let Some(done) = tasks.join_next().await {
        sent += done??;
    }
    Ok((sent, begun.elapsed().as_secs_f64()))
}

/// What the database's name is to Python's figures: they are PostgreSQL's.
pub(crate) fn beside(engine: Engine, known: &str) -> String {
    match engine {
        Engine::Postgres => format!("Python {known}"),
        Engine::Sqlite => format!("Python, on PostgreSQL, {known}"),
    }
}
