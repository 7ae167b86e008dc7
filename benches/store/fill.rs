//! Fills a store with entries whose number is known, and looks on the way whether it becomes slower.

use std::path::Path;
use std::time::{Duration, Instant};

use helm_store::query::{Filter, Order, Page};

use serde::{Deserialize, Serialize};

use crate::Plan;
use crate::site::{Site, append, now};
use shared::figures::{Times, grouped};
use shared::report::{Row, progress};
use shared::{Result, lines};

const MILLION: u64 = 1_000_000;
/// Appends are timed in batches of this size.
const BATCH: u64 = 1000;

/// The known entries: the `n`th came at `begin + n * STEP`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Filled {
    pub(crate) begin: i64,
    pub(crate) rows: u64,
}

impl Filled {
    pub(crate) fn at(&self, n: u64) -> i64 {
        self.begin + n.cast_signed() * lines::STEP
    }

    /// What an earlier run noted, or nothing yet.
    fn known(note: &Path, plan: &Plan) -> Result<Self> {
        let minute = 60_000_000_000;
        let begin = (now() - plan.rows.cast_signed() * lines::STEP).div_euclid(minute) * minute;
        match std::fs::read(note) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(_) => Ok(Self { begin, rows: 0 }),
        }
    }

    pub(crate) fn end(&self) -> i64 {
        self.at(self.rows)
    }
}

/// Fills up to the rows that are wanted; a store that has some goes on from there. Rows: what an append and the first page cost at some sizes.
pub(crate) async fn fill(site: &Site, dir: &Path, plan: &Plan) -> Result<(Filled, Vec<Row>)> {
    let note = dir.join(format!("{}.filled", site.engine));
    let mut filled = Filled::known(&note, plan)?;
    let (mut rows, begun, had) = (Vec::new(), Instant::now(), filled.rows);
    while filled.rows < plan.rows {
        let look = [1, 5, 10, 20].map(|n| n * MILLION).into_iter().find(|at| *at > filled.rows);
        let to = plan.rows.min(look.unwrap_or(u64::MAX));
        // The last ones one by one, and timed.
        let timed = to.saturating_sub(200 * BATCH).max(filled.rows);
        quickly(site, &mut filled, timed).await?;
        let times = slowly(site, &mut filled, to).await?;
        std::fs::write(&note, serde_json::to_vec(&filled)?)?;
        if look == Some(to) {
            rows.push(growth(site, &filled, &times).await?);
        }
    }
    let rate = (filled.rows - had) as f64 / begun.elapsed().as_secs_f64();
    progress(&format!(
        "{}: {} entries, {} a second",
        site.engine,
        grouped(filled.rows as f64),
        grouped(rate)
    ));
    Ok((filled, rows))
}

fn batch(filled: &Filled, many: u64) -> Vec<helm_store::entry::NewEntry> {
    (filled.rows..filled.rows + many).map(|n| lines::line(n, filled.at(n))).collect()
}

async fn quickly(site: &Site, filled: &mut Filled, to: u64) -> Result<()> {
    while filled.rows < to {
        let many = (5 * BATCH).min(to - filled.rows);
        append(&site.writer, batch(filled, many)).await?;
        filled.rows += many;
        if filled.rows.is_multiple_of(MILLION) {
            progress(&format!("{}: {} entries", site.engine, grouped(filled.rows as f64)));
        }
    }
    Ok(())
}

async fn slowly(site: &Site, filled: &mut Filled, to: u64) -> Result<Times> {
    let mut times = Vec::new();
    while filled.rows < to {
        let entries = batch(filled, BATCH.min(to - filled.rows));
        let many = entries.len() as u64;
        let asked = Instant::now();
        append(&site.writer, entries).await?;
        times.push(asked.elapsed());
        filled.rows += many;
    }
    Ok(Times::of(times))
}

async fn growth(site: &Site, filled: &Filled, appends: &Times) -> Result<Row> {
    let mut pages = Vec::new();
    for _ in 0..200 {
        let page = Page { filter: Filter::default(), order: Order::Newest, after: None, limit: 100 };
        let asked = Instant::now();
        let found = site.reader.page(&page, Duration::from_secs(5)).await?.entries.len();
        pages.push(asked.elapsed());
        if found != 100 {
            return Err(format!("a page of 100 has {found} entries").into());
        }
    }
    let pages = Times::of(pages);
    let millions = filled.rows / MILLION;
    Ok(Row::new(site.engine, format!("at {millions} M entries: append of 1,000; first page of 100"))
        .helm(format!("{}; {}", appends.said(), pages.said()))
        .figure("entries", filled.rows as f64)
        .figure("append_p50_ms", appends.p50())
        .figure("append_p99_ms", appends.p99())
        .figure("page_p50_ms", pages.p50())
        .figure("page_p99_ms", pages.p99()))
}

/// Bytes on disk of the known entries, sealed and open.
pub(crate) async fn disk(site: &Site) -> Result<Vec<Row>> {
    let mut row = Row::new(site.engine, "bytes an entry on disk").limit("known 245 to 290");
    let mut said = Vec::new();
    let manifest = site.writer.live().manifest();
    for (what, sealed) in [("sealed and indexed", true), ("open", false)] {
        let of = manifest.values().filter(|p| p.seal.is_some() == sealed);
        let (mut bytes, mut rows, mut weight) = (0, 0_u64, 0);
        for partition in of {
            bytes += site.log.disk(partition.id).await?;
            rows += u64::from(partition.contents.rows);
            weight += partition.contents.bytes;
        }
        if rows > 0 {
            let each = bytes as f64 / rows as f64;
            // A weight has 160 bytes for what is not text.
            said.push(format!("{what} {each:.0} ({:.0} of them texts)", weight as f64 / rows as f64 - 160.0));
            row = row.figure(if sealed { "sealed_bytes" } else { "open_bytes" }, each);
        }
    }
    Ok(vec![row.helm(said.join(", "))])
}
