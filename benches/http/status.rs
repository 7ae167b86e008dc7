//! The states of eight services at a fixed rate: a late answer does not make the next question later (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shared::figures::{Times, grouped};
use shared::report::Row;
use shared::{Error, Result};
use tokio::sync::Semaphore;

use crate::Plan;
use crate::load::{Connection, get};
use crate::world::World;

const RATE: u64 = 5000;
const CONNECTIONS: usize = 50;

pub(crate) async fn states(world: &World, plan: &Plan) -> Result<Vec<Row>> {
    let (host, token) = (world.site.address(), world.site.user("admin"));
    let before = world.processor()?;
    let all = RATE * plan.status.as_secs();
    // A permit is a question whose time has come; they are given out by a thread, whose sleep is finer than the runtime's.
    let (due, next) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(host).await?;
        // The token's first check is Core's time.
        connection.ask(get(host, "/api/services/status", &token)?).await?;
        connections.push(connection);
    }
    let begun = Instant::now() + Duration::from_millis(100);
    let pace = std::thread::spawn({
        let due = due.clone();
        move || give_out(&due, begun, all)
    });
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in connections {
        let (due, next, token) = (due.clone(), next.clone(), token.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                due.acquire().await?.forget();
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= all {
                    return Ok::<_, Error>(times);
                }
                let asked = begun + Duration::from_secs_f64(number as f64 / RATE as f64);
                connection.ask(get(host, "/api/services/status", &token)?).await?;
                times.push(asked.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let seconds = begun.elapsed().as_secs_f64();
    pace.join().map_err(|_| "the thread that gives the pace panicked")?;
    let share = 100.0 * (world.processor()? - before) / seconds;
    let times = Times::of(times);
    let reached = times.many() as f64 / seconds;
    let row =
        world.row(format!("/api/services/status, 8 services, tokens checked, {} s", plan.status.as_secs()));
    let row = row.limit("Python 1,010 ms").helm(format!(
        "{} at {}/s, 0 errors, helm-web {share:.0} % of a core",
        times.said(),
        grouped(reached)
    ));
    let met = times.p99() < 3.0 && reached > 0.98 * RATE as f64;
    Ok(vec![
        row.asked("p99 below 3 ms at 5,000/s, 0 errors", met)
            .figure("p50_ms", times.p50())
            .figure("p99_ms", times.p99())
            .figure("most_ms", times.most())
            .figure("per_s", reached)
            .figure("processor_percent", share),
    ])
}

/// Permits by the clock, and at the end one for each connection to hear that it is over.
#[allow(clippy::disallowed_methods, reason = "the pace of a load")]
fn give_out(due: &Semaphore, begun: Instant, all: u64) {
    let mut given = 0;
    while given < all {
        std::thread::sleep(Duration::from_micros(150));
        let passed = Instant::now().saturating_duration_since(begun).as_secs_f64();
        // The first question's time is the begin itself.
        let now = if passed > 0.0 { ((passed * RATE as f64) as u64 + 1).min(all) } else { 0 };
        due.add_permits((now - given) as usize);
        given = now;
    }
    due.add_permits(CONNECTIONS);
}
