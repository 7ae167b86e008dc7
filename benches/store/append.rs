//! Appends: batches of a thousand beside their limits, and many clients with one entry each.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use helm_store::id::EntryId;
use helm_store::writer::WriterHandle;

use crate::Plan;
use crate::limits::{self, Bare};
use crate::site::{Ground, Site, append, append_to, now};
use shared::figures::{Times, grouped, median};
use shared::report::{Row, progress};
use shared::{Engine, Result, lines};

const BATCH: usize = 1000;
const ROUNDS: usize = 5;
const COLUMNS: &str = "id, at, seen, digest, service, flags, process_id, level, source, stream, message, plain, context, trace_id, user_id, hostname";

/// Batches of 1,000, one after the other, each a commit; by turns with the limit, so that both meet the same noise.
pub(crate) async fn batches(site: &Site, dir: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let per_round = plan.batches * BATCH;
    let mut peer = Peer::of(site, dir).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let rows = (round * per_round)..((round + 1) * per_round);
        let batches: Vec<_> = rows
            .step_by(BATCH)
            .map(|from| (from..from + BATCH).map(|n| lines::line(n as u64, now())).collect::<Vec<_>>())
            .collect();
        let begun = Instant::now();
        let mut first = None;
        for batch in batches {
            let receipt = append(&site.writer, batch).await?;
            first = first.or(receipt.ids.map(|ids| ids.0));
        }
        ours.push(per_round as f64 / begun.elapsed().as_secs_f64());
        let first = first.ok_or("nothing was kept")?;
        theirs.push(per_round as f64 / peer.round(first, per_round)?);
        progress(&format!(
            "round {round}: Helm {} rows/s, limit {}",
            grouped(ours[round]),
            grouped(theirs[round])
        ));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let (name, part) = match site.engine {
        Engine::Sqlite => ("bare sqlx program", 0.8),
        Engine::Postgres => ("\\copy by psql", 0.7),
    };
    let row = Row::new(site.engine, "append, batches of 1,000")
        .limit(format!("{name} {} rows/s", grouped(theirs)))
        .helm(format!("{} rows/s ({:.0} %)", grouped(ours), 100.0 * ours / theirs))
        .asked(format!("{:.0} % of the limit", 100.0 * part), ours >= part * theirs)
        .figure("helm_rows_per_s", ours)
        .figure("limit_rows_per_s", theirs);
    Ok(vec![row])
}

/// Who does the same with plain tools.
enum Peer {
    Bare(Bare),
    /// psql, and the tables from and to which it copies: partitions with the same indexes.
    Copy {
        url: String,
        dir: tempfile::TempDir,
        shift: i64,
    },
}

impl Peer {
    async fn of(site: &Site, dir: &Path) -> Result<Self> {
        match &site.ground {
            Ground::Sqlite(_) => Ok(Peer::Bare(Bare::start(&shared::bins()?, &dir.join("bare.db"))?)),
            Ground::Postgres(url) => {
                // One entry in each: then both partitions are there.
                let helm = append(&site.writer, vec![lines::line(0, now())]).await?;
                let other = append_to(&site.writer, "limit", vec![lines::line(0, now())]).await?;
                let partition = |ids: Option<(EntryId, EntryId)>| {
                    let first = ids.and_then(|(first, _)| first.partition());
                    first.map(|partition| partition.ids().0.0).ok_or("nothing was kept")
                };
                let shift = partition(other.ids)? - partition(helm.ids)?;
                Ok(Peer::Copy { url: url.clone(), dir: tempfile::tempdir_in(dir)?, shift })
            }
        }
    }

    /// Seconds for the `rows` entries from `first` on.
    fn round(&mut self, first: EntryId, rows: usize) -> Result<f64> {
        let (url, dir, shift) = match self {
            Peer::Bare(bare) => return bare.round(rows, BATCH),
            Peer::Copy { url, dir, shift } => (url, dir, *shift),
        };
        let table = |id: i64| format!("entry_{}_{}", id >> 44, (id >> 20) & 0xff_ffff);
        let (source, target) = (table(first.0), table(first.0 + shift));
        let columns = COLUMNS.replacen("id", &format!("id + {shift}"), 1);
        let (mut export, mut import) = (String::new(), String::new());
        for from in (0..rows).step_by(BATCH) {
            let (from, file) = (first.0 + from as i64, dir.path().join(from.to_string()));
            let (to, file) = (from + BATCH as i64, file.display());
            writeln!(
                export,
                "\\copy (SELECT {columns} FROM {source} WHERE id >= {from} AND id < {to} ORDER BY id) TO '{file}' WITH (FORMAT binary)"
            )?;
            writeln!(import, "\\copy {target} ({COLUMNS}) FROM '{file}' WITH (FORMAT binary)")?;
        }
        limits::psql(url, &export)?;
        Ok(limits::psql(url, &import)?.0.as_secs_f64())
    }
}

/// One entry an append, from so many clients at once, each waiting for its answer.
pub(crate) async fn clients(site: &Site, dir: &Path, plan: &Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for clients in [1, 8, 64, 256] {
        let commit = limits::disk(dir, 300)?;
        let (times, seconds) = flood(&site.writer, clients, plan.flood).await?;
        let rate = times.many() as f64 / seconds;
        let ack = 3.0 * commit.mean() + 10.0;
        let row = Row::new(site.engine, format!("append, one entry, {clients} clients: acknowledgement"))
            .limit(format!("disk's commit {:.2} ms (mean)", commit.mean()))
            .helm(format!("{}, {} acknowledged/s", times.said(), grouped(rate)))
            .asked(format!("p99 below {ack:.1} ms"), times.p99() < ack)
            .figure("p50_ms", times.p50())
            .figure("p99_ms", times.p99())
            .figure("acknowledged_per_s", rate)
            .figure("disk_commit_ms", commit.mean());
        rows.push(row);
        if clients == 64 {
            let could = 0.8 * 64e3 / commit.mean();
            let most = match site.engine {
                Engine::Sqlite => 30_000.0,
                Engine::Postgres => 20_000.0,
            };
            let asked = could.min(most);
            let row = Row::new(site.engine, "append, one entry, 64 clients: rate")
                .limit(format!("64 a commit of the disk: {}/s", grouped(64e3 / commit.mean())))
                .helm(format!("{} acknowledged/s", grouped(rate)))
                .asked(format!("{}/s", grouped(asked)), rate >= asked)
                .figure("acknowledged_per_s", rate);
            rows.push(row);
        }
    }
    Ok(rows)
}

async fn flood(writer: &WriterHandle, clients: usize, time: Duration) -> Result<(Times, f64)> {
    let next = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (writer, next) = (writer.clone(), next.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < time {
                let entry = lines::line(lines::OTHERS + next.fetch_add(1, Ordering::Relaxed), now());
                let asked = Instant::now();
                append(&writer, vec![entry]).await?;
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

/// Appends of 100 entries every 20 ms until `stop`: what they take while something else is done.
pub(crate) async fn beside(writer: WriterHandle, stop: tokio_util::sync::CancellationToken) -> Result<Times> {
    let (mut times, mut next) = (Vec::new(), lines::OTHERS);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let batch = (next..next + 100).map(|n| lines::line(n, now())).collect();
        next += 100;
        let asked = Instant::now();
        append(&writer, batch).await?;
        times.push(asked.elapsed());
    }
    Ok(Times::of(times))
}
