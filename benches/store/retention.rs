//! Retention on the filled store: what it takes, what it gives back, and what appends feel of it.

use std::time::Instant;

use helm_store::retention::{self, Disk, Policies, Policy};

use crate::limits;
use crate::reads::while_appending;
use crate::site::{Ground, Site, bytes_in, now};
use shared::Result;
use shared::figures::grouped;
use shared::report::Row;

/// First by bytes (a quarter goes), then by age (half of the rest).
pub(crate) async fn retention(site: &Site, dir: &std::path::Path) -> Result<Vec<Row>> {
    let quiet = while_appending(site, async {
        shared::pause(std::time::Duration::from_secs(4)).await;
        Ok(())
    })
    .await?;
    let mut rows = Vec::new();
    for what in ["by bytes", "by age"] {
        let commit = limits::disk(dir, 200)?;
        let policy = policy(site, what).await?;
        let policies = Policies { default: policy, ..Policies::default() };
        let partitions = site.log.partitions().await?;
        let own = site.log.instance();
        let removals = retention::decide(&partitions, own, &policies, Disk::default(), now());
        let gone: u64 = partitions
            .iter()
            .filter(|p| removals.iter().any(|r| r.partition == p.id))
            .map(|p| u64::from(p.contents.rows))
            .sum();
        let before = size(site)?;
        let (begun, mut seconds) = (Instant::now(), 0.0);
        let busy = while_appending(site, async {
            let carried = retention::carry_out(&*site.log, &site.writer, &removals, now()).await;
            if let Some(error) = carried.failed.into_iter().next() {
                return Err(error.into());
            }
            seconds = begun.elapsed().as_secs_f64();
            // What is given back behind it is part of it.
            shared::pause(std::time::Duration::from_secs(3)).await;
            Ok(())
        })
        .await?;
        let back = before.saturating_sub(size(site)?) as f64 / 1e6;
        let most = quiet.p99() + 3.0 * commit.mean() + 10.0;
        let row = Row::new(site.engine, format!("retention {what}: {} entries", grouped(gone as f64)))
            .limit(format!("appends without it {}", quiet.said()))
            .helm(format!("{seconds:.2} s, {} MB back; appends {}", grouped(back), busy.said()))
            .asked(
                format!("appends' p99 below {most:.0} ms: without it, 3 commits and 10 ms"),
                busy.p99() < most,
            )
            .figure("seconds", seconds)
            .figure("megabytes_back", back)
            .figure("append_p99_ms", busy.p99())
            .figure("quiet_p99_ms", quiet.p99());
        rows.push(row);
    }
    Ok(rows)
}

async fn policy(site: &Site, what: &str) -> Result<Policy> {
    let partitions = site.log.partitions().await?;
    let own = partitions.iter();
    if what == "by bytes" {
        let bytes: u64 = own.map(retention::size).sum();
        return Ok(Policy { age: None, bytes: Some(bytes * 3 / 4), yields: true });
    }
    let mut closed: Vec<i64> = own.filter_map(|p| p.seal).map(|seal| seal.closed).collect();
    closed.sort_unstable();
    let middle = *closed.get(closed.len() / 2).ok_or("no partition is sealed: more entries are needed")?;
    Ok(Policy { age: Some(now() - middle), bytes: None, yields: true })
}

/// Bytes of the whole store on disk.
fn size(site: &Site) -> Result<u64> {
    match &site.ground {
        Ground::Sqlite(dir) => Ok(bytes_in(dir)),
        Ground::Postgres(url) => {
            Ok(limits::psql(url, "SELECT pg_database_size(current_database());")?.1.parse()?)
        }
    }
}
