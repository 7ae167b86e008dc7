//! A real helmd on the filled store: the questions over gRPC, and the output of fifty chatty services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{AppendRequest, LogFacetsRequest, LogFilter, NewLogEntry, QueryLogsRequest};
use serde_json::{Map, Value, json};

use crate::Plan;
use crate::fill::Filled;
use crate::site::{Ground, now};
use shared::figures::{Times, grouped};
use shared::report::{Row, progress};
use shared::{Engine, Result, lines, process};

const SERVICES: usize = 50;
/// Lines a second of each.
const RATE: u64 = 200;

/// A home with a helmd; it is stopped on drop.
struct Daemon {
    bins: PathBuf,
    home: PathBuf,
    engine: Engine,
    client: Client,
}

impl Daemon {
    async fn start(ground: &Ground, dir: &Path, count: u64) -> Result<Self> {
        let bins = shared::bins()?;
        let home = match ground {
            Ground::Sqlite(store) => store.ancestors().nth(2).ok_or("the store lies in no home")?.to_owned(),
            Ground::Postgres(url) => {
                let home = dir.join("postgres-home");
                std::fs::create_dir_all(home.join("instance"))?;
                let conf = format!("[database]\nconnection_string = {url}\n");
                std::fs::write(home.join("instance/helm.conf"), conf)?;
                home
            }
        };
        let chatty = bins.join("chatty").display().to_string();
        let words =
            [format!("rate={RATE}"), format!("count={count}"), "streams=stdout".into(), "width=100".into()];
        let command: Vec<String> = std::iter::once(chatty).chain(words).collect();
        let services: Map<String, Value> =
            (0..SERVICES).map(|n| (name(n), json!({"command": command.clone()}))).collect();
        std::fs::write(home.join("services.json"), Value::Object(services).to_string())?;
        ctl(&bins, &home, &["daemon", "start"])?;
        let client = Client::of(&Home::find(Some(&home))?).await?;
        Ok(Self { bins, home, engine: ground.engine(), client })
    }

    fn pid(&self) -> Result<u64> {
        let lock: Value =
            serde_json::from_str(&std::fs::read_to_string(self.home.join("instance/helmd.lock"))?)?;
        Ok(lock["pid"].as_u64().ok_or("helmd.lock names no process")?)
    }

    fn processor(&self) -> Result<f64> {
        process::processor(self.pid()?)
    }

    fn memory(&self) -> Result<f64> {
        process::memory(self.pid()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What cannot be stopped is said, and there is nothing else to be done.
        for words in [&["down"][..], &["daemon", "stop"]] {
            if let Err(error) = ctl(&self.bins, &self.home, words) {
                progress(&error.to_string());
            }
        }
    }
}

fn name(n: usize) -> String {
    format!("chatty-{n:02}")
}

fn ctl(bins: &Path, home: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new(bins.join("helmctl"));
    let output = command.arg("--home").arg(home).args(words).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("helmctl {} ended with {}: {}", words.join(" "), output.status, said.trim()).into())
}

/// The questions and appends over gRPC.
pub(crate) async fn over_grpc(ground: &Ground, dir: &Path, filled: &Filled, plan: &Plan) -> Result<Vec<Row>> {
    let daemon = Daemon::start(ground, dir, 1).await?;
    let mut logs = Logs::of(&daemon.client).await?;
    let row = |what: &str| Row::new(daemon.engine, format!("over gRPC: {what}"));
    let (mut pages, mut traces) = (Vec::new(), Vec::new());
    for n in 1..=plan.questions {
        let random = lines::mixed(n);
        let services = vec![format!("service-{}", random % lines::SERVICES)];
        let of_service = LogFilter { services, level: "WARNING".into(), ..LogFilter::default() };
        let by_trace =
            LogFilter { trace_id: lines::trace(random % filled.rows / 8 * 8), ..LogFilter::default() };
        for (filter, times) in [(of_service, &mut pages), (by_trace, &mut traces)] {
            let request =
                QueryLogsRequest { filter: Some(filter), limit: 100, ..QueryLogsRequest::default() };
            let asked = Instant::now();
            logs.query(request).await?;
            times.push(asked.elapsed());
        }
    }
    let mut rows = Vec::new();
    for (what, times) in
        [("newest 100 with service and level", Times::of(pages)), ("trace look-up", Times::of(traces))]
    {
        rows.push(row(what).helm(times.said()).figure("p50_ms", times.p50()).figure("p99_ms", times.p99()));
    }
    let mut times = Vec::new();
    let begun = Instant::now();
    for batch in 0..50 {
        let entries = (batch * 1000..(batch + 1) * 1000).map(new_entry).collect();
        let asked = Instant::now();
        logs.append(AppendRequest { service: "grpc".into(), entries, ..AppendRequest::default() }).await?;
        times.push(asked.elapsed());
    }
    let rate = 50_000.0 / begun.elapsed().as_secs_f64();
    let times = Times::of(times);
    rows.push(
        row("append, batches of 1,000")
            .helm(format!("{} entries/s; {} a batch", grouped(rate), times.said()))
            .figure("entries_per_s", rate),
    );
    let (times, seconds) = flood(&daemon.client, 64, plan.flood).await?;
    let rate = times.many() as f64 / seconds;
    rows.push(
        row("append, one entry, 64 clients")
            .helm(format!("{} acknowledged/s; {}", grouped(rate), times.said()))
            .figure("acknowledged_per_s", rate)
            .figure("p99_ms", times.p99()),
    );
    Ok(rows)
}

fn new_entry(n: u64) -> NewLogEntry {
    let line = lines::line(n, now());
    NewLogEntry {
        at: Some(line.at),
        level: line.level.word().to_owned(),
        message: line.message,
        context: line.context.unwrap_or_default(),
        trace_id: line.trace,
        ..NewLogEntry::default()
    }
}

async fn flood(client: &Client, clients: u64, time: Duration) -> Result<(Times, f64)> {
    let mut tasks = tokio::task::JoinSet::new();
    let begun = Instant::now();
    for of in 0..clients {
        let mut logs = Logs::of(client).await?;
        tasks.spawn(async move {
            let (mut times, mut n) = (Vec::new(), of << 32);
            while begun.elapsed() < time {
                let entries = vec![new_entry(n)];
                n += 1;
                let asked = Instant::now();
                logs.append(AppendRequest { service: "grpc".into(), entries, ..AppendRequest::default() })
                    .await?;
                times.push(asked.elapsed());
            }
            Ok::<_, shared::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok((Times::of(times), begun.elapsed().as_secs_f64()))
}

/// Fifty services with 200 lines a second each: what is lost, how far the store is behind, and what helmd costs meanwhile.
pub(crate) async fn capture(ground: &Ground, dir: &Path, filled: &Filled, plan: &Plan) -> Result<Vec<Row>> {
    let seconds = plan.capture.as_secs();
    let count = RATE * seconds;
    let since = now();
    let daemon = Daemon::start(ground, dir, count).await?;
    ctl(&daemon.bins, &daemon.home, &["up"])?;
    let mut logs = Logs::of(&daemon.client).await?;
    let begun = Instant::now();
    // Its beginnings are not what is measured.
    shared::pause(Duration::from_secs(3)).await;
    let (before, from) = (daemon.processor()?, Instant::now());
    let (mut lags, mut memory, mut n) = (Vec::new(), Vec::new(), 0);
    while begun.elapsed() + Duration::from_secs(3) < plan.capture {
        shared::pause(Duration::from_millis(200)).await;
        lags.push(age_of_newest(&mut logs, &name(n % SERVICES), since).await?);
        n += 1;
        memory.push(daemon.memory()?);
    }
    let processor = 100.0 * (daemon.processor()? - before) / from.elapsed().as_secs_f64();
    let lost = lost(&mut logs, since, count).await?;
    let (lags, most) = (Times::of(lags), memory.iter().copied().fold(0.0, f64::max));
    let pss = memory.last().copied().ok_or("--capture-seconds is too short")?;
    let row = |what: String| Row::new(daemon.engine, what);
    let all = grouped((count * SERVICES as u64) as f64);
    Ok(vec![
        row(format!("capture: {SERVICES} services, {RATE} lines/s each, {seconds} s: lost"))
            .helm(format!("{lost} of {all}"))
            .asked("0", lost == 0)
            .figure("lost", lost as f64),
        row("capture: age of a service's newest stored line".into())
            .helm(format!("{}, most {:.0} ms", lags.said(), lags.most()))
            .asked("below 1 s", lags.most() < 1000.0)
            .figure("p99_ms", lags.p99())
            .figure("most_ms", lags.most()),
        row("capture: helmd's processor time".into())
            .helm(format!("{processor:.1} % of a core"))
            .asked("below 25 %", processor < 25.0)
            .figure("percent", processor),
        row(format!("PSS of helmd, {} entries stored, capture running", grouped(filled.rows as f64)))
            .helm(format!("{pss:.1} MB at the end, most {most:.1}"))
            .asked("at most 40 MB", most <= 40.0)
            .figure("pss_mb", pss)
            .figure("most_mb", most),
    ])
}

/// How old the newest stored line of a service is: it prints one every 5 ms.
async fn age_of_newest(logs: &mut Logs, service: &str, since: i64) -> Result<Duration> {
    let filter = LogFilter { services: vec![service.to_owned()], since: Some(since), ..LogFilter::default() };
    let answer = logs
        .query(QueryLogsRequest { filter: Some(filter), limit: 1, ..QueryLogsRequest::default() })
        .await?;
    let newest = answer.entries.first().map_or(since, |entry| entry.at);
    Ok(Duration::from_nanos(u64::try_from(now() - newest).unwrap_or(0)))
}

/// Lines that are not stored once all have been printed, or too many of.
async fn lost(logs: &mut Logs, since: i64, count: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let services = (0..SERVICES).map(name).collect();
        let filter = LogFilter { services, since: Some(since), ..LogFilter::default() };
        let answer = logs.facets(LogFacetsRequest { filter: Some(filter) }).await?;
        let kept: BTreeMap<String, u64> = answer
            .services
            .into_iter()
            .map(|of| (of.service, of.debug + of.info + of.warning + of.error + of.critical))
            .collect();
        let lost = (0..SERVICES).map(|n| kept.get(&name(n)).copied().unwrap_or(0).abs_diff(count)).sum();
        if lost == 0 || begun.elapsed() > Duration::from_secs(30) {
            return Ok(lost);
        }
        shared::pause(Duration::from_millis(100)).await;
    }
}
