//! The newest hundred entries of the log, by each kind of filter, in a store that is filled over gRPC.

use std::time::{Instant, SystemTime};

use helm_proto::v1::{AppendRequest, NewLogEntry};
use shared::figures::{Times, grouped};
use shared::report::{Row, progress};
use shared::{Result, lines};

use crate::Plan;
use crate::ingest::beside;
use crate::load::{Connection, get};
use crate::world::World;

const BATCH: u64 = 5000;

/// The known entries: the `n`th came `n` steps after the first, and the last of all a moment ago.
pub(crate) struct Filled {
    rows: u64,
    begin: i64,
}

impl Filled {
    /// Nothing yet, of `most` in the end.
    pub(crate) fn new(most: u64) -> Result<Self> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        Ok(Self { rows: 0, begin: i64::try_from(now)? - most.cast_signed() * lines::STEP })
    }

    fn at(&self, n: u64) -> i64 {
        self.begin + n.cast_signed() * lines::STEP
    }

    fn entry(&self, n: u64) -> NewLogEntry {
        let line = lines::line(n, self.at(n));
        NewLogEntry {
            service: line.service,
            at: Some(line.at),
            level: line.level.word().to_owned(),
            message: line.message,
            context: line.context.unwrap_or_default(),
            trace_id: line.trace,
            user_id: line.user,
            process_id: line.process,
            ..NewLogEntry::default()
        }
    }

    /// The time of the `n`th, as a query has it.
    fn iso(&self, n: u64) -> String {
        jiff::Timestamp::from_nanosecond(self.at(n).into())
            .map_or_else(|_| String::new(), |at| at.to_string())
    }

    async fn up_to(&mut self, world: &World, rows: u64) -> Result<()> {
        let mut logs = world.logs().await?;
        let begun = Instant::now();
        let had = self.rows;
        while self.rows < rows {
            let to = rows.min(self.rows + BATCH);
            let entries = (self.rows..to).map(|n| self.entry(n)).collect();
            logs.append(AppendRequest { service: "filler".into(), entries, ..AppendRequest::default() })
                .await?;
            self.rows = to;
        }
        let rate = (self.rows - had) as f64 / begun.elapsed().as_secs_f64();
        progress(&format!("{} entries, {} a second", grouped(self.rows as f64), grouped(rate)));
        Ok(())
    }
}

/// A kind of filter: its name, and the query of the `n`th question.
type Kind = (&'static str, fn(&Filled, u64) -> String);

const KINDS: [Kind; 10] = [
    ("no filter", |_, _| String::new()),
    ("service", |_, random| format!("&service=service-{}", random % lines::SERVICES)),
    ("level", |_, _| "&level=ERROR".into()),
    ("service and level", |_, random| format!("&service=service-{}&level=WARNING", random % lines::SERVICES)),
    ("least level", |_, _| "&min_level=WARNING".into()),
    ("trace", |filled, random| format!("&trace_id={}", lines::trace(random % filled.rows / 8 * 8))),
    ("user", |_, random| format!("&user_id={}", lines::user(random))),
    ("time", |filled, random| {
        let end = random % filled.rows;
        format!("&start_time={}&end_time={}", filled.iso(end / 2), filled.iso(end))
    }),
    ("text, without a total", |_, random| format!("&total=false&search=in%20{}%20ms", random % 97)),
    ("text", |_, random| format!("&search=in%20{}%20ms", random % 97)),
];

pub(crate) async fn pages(world: &World, plan: &Plan, filled: &mut Filled, rows: u64) -> Result<Vec<Row>> {
    filled.up_to(world, rows).await?;
    let (host, token) = (world.site.address(), world.site.user("admin"));
    let mut connection = Connection::open(host).await?;
    let mut told = Vec::new();
    for (kind, query) in KINDS {
        let mut times = Vec::new();
        for n in 0..=plan.questions {
            let path = format!("/api/logs?limit=100{}", query(filled, lines::mixed(n)));
            let request = get(host, &path, &token)?;
            let asked = Instant::now();
            connection.ask(request).await?;
            times.push(asked.elapsed());
        }
        // The first of a kind reads what is not in memory yet; said, not counted.
        let first = times.remove(0).as_secs_f64() * 1e3;
        let times = Times::of(times);
        let row = world.row(format!("/api/logs, newest 100, {} M entries, {kind}", rows / 1_000_000));
        told.push(
            row.limit(beside(world.engine, "about 6 s; service and level 217, trace 8.5 ms"))
                .helm(format!("{}; the very first {first:.1} ms", times.said()))
                .asked("p99 below 20 ms", times.p99() < 20.0)
                .figure("p50_ms", times.p50())
                .figure("p99_ms", times.p99()),
        );
    }
    Ok(told)
}
