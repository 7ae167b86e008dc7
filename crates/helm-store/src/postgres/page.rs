//! A page of one partition, without reading what it does not show.
//!
//! Grave levels have an index of their own. For the others the counts per minute say where entries of a service and level are. A page is taken from
//! these minutes of these services, by the index on service and time, newest first: few at a time where they are many, more each time that the page is
//! not full. What the counts cannot see through (texts, context) is looked for in the whole span that is asked for, which the server may do in
//! parallel; the reader asks for short ones first. Every statement has bounds in time: without them the planner may read everything.

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder};

use super::condition::{self, Exact};
use super::{Shared, encode, key, read, table};
use crate::counts::{MINUTE, minute_of, minute_start};
use crate::engine::{EngineError, Scan};
use crate::entry::{Entry, Level};
use crate::query::{Cursor, Filter, Order};

/// Counts that are read at once: at first, and at most; four times as many each time that the page is not full.
const CELLS: (i64, i64) = (128, 8192);
/// Levels from which on there is an index of them alone: `entry_grave`.
const GRAVE: Level = Level::Warning;

/// Where to look.
enum Place {
    /// All of the partition.
    Whole,
    /// Between two times, both inclusive.
    Span(i64, i64),
    /// Minutes of services: numbers, first and last nanosecond.
    Cells(Vec<i32>, Vec<i64>, Vec<i64>),
    /// All of the partition, through the index of grave levels: levels, and with each a service, if only some are wanted.
    Grave(Vec<i16>, Option<Vec<i32>>),
}

/// Services that are looked for one by one in the index of grave levels; of more, entries of others are passed over.
const ONE_BY_ONE: usize = 8;

/// A page in the order of an index ends where it is full. Without this the planner, who takes a minute of a service for a row, reads it whole and
/// sorts it.
const ORDERED: &str = "BEGIN; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off";

/// A page that is being filled.
struct Page<'a> {
    shared: &'a Shared,
    scan: &'a Scan,
    services: Option<Vec<i32>>,
    exact: Exact<'a>,
    after: Option<Cursor>,
    found: Vec<Entry>,
}

pub(super) async fn scan(shared: &Shared, scan: &Scan) -> Result<Vec<Entry>, EngineError> {
    let filter = &scan.filter;
    let mut services = None;
    if !filter.services.is_empty() {
        let names = shared.names.look_up(&shared.readers, &filter.services).await;
        services = Some(names.map_err(|e| shared.fault("looking up services", e))?);
    }
    let none = services.as_ref().is_some_and(Vec::is_empty) || scan.rows.as_ref().is_some_and(Vec::is_empty);
    if none || scan.limit == 0 {
        return Ok(Vec::new());
    }
    let mut page =
        Page { shared, scan, services, exact: Exact::of(filter), after: scan.after, found: Vec::new() };
    if scan.rows.is_some() || filter.trace.is_some() || filter.user.is_some() || filter.twins {
        page.take(&Place::Whole).await?;
    } else if let Some(levels) = grave(filter) {
        let place = page.grave_place(&levels);
        page.take(&place).await?;
    } else {
        page.walk().await?;
    }
    Ok(page.found)
}

/// The levels that are wanted, if they have an index and nothing must be looked into: it leads to them however rare they are.
fn grave(filter: &Filter) -> Option<Vec<i16>> {
    let wanted = filter.levels.filter(|_| !Exact::opaque(filter))?;
    let levels: Vec<Level> = Level::ALL.into_iter().filter(|level| wanted.has(*level)).collect();
    let grave = levels.iter().all(|level| *level >= GRAVE);
    grave.then(|| levels.iter().map(|level| i16::from(level.number())).collect())
}

fn last_of(minute: i64) -> i64 {
    minute_start(minute).saturating_add(MINUTE - 1)
}

/// How far to go in `cells` for `wanted` entries: the last minute, and how many cells that are.
fn enough(cells: &[(i64, i32, i64)], wanted: i64) -> Option<(i64, usize)> {
    let mut last = cells.first()?.0;
    let (mut sum, mut upto) = (0_i64, 0);
    for (minute, _, n) in cells {
        if sum >= wanted && *minute != last {
            break;
        }
        (sum, last, upto) = (sum.saturating_add(*n), *minute, upto + 1);
    }
    Some((last, upto))
}

impl Page<'_> {
    fn wants(&self) -> usize {
        (self.scan.limit as usize).saturating_sub(self.found.len())
    }

    /// Goes through the minutes that have entries, in the order of the page.
    async fn walk(&mut self) -> Result<(), EngineError> {
        let filter = &self.scan.filter;
        let mut low = filter.since.unwrap_or(i64::MIN);
        let mut high = filter.until.map_or(i64::MAX, |until| until.saturating_sub(1));
        match (self.scan.order, self.after) {
            (Order::Newest, Some(after)) => high = high.min(after.at),
            (Order::Oldest, Some(after)) => low = low.max(after.at),
            (Order::Newest | Order::Oldest, None) => {}
        }
        if Exact::opaque(filter) {
            return self.take(&Place::Span(low, high)).await;
        }
        let mut exact = i64::from(self.scan.limit) * 2;
        let mut many = CELLS.0;
        while self.wants() > 0 && low <= high {
            let cells = self.cells(minute_of(low), minute_of(high), many).await?;
            let Some((place, end)) = self.place(cells, exact, low, high) else { return Ok(()) };
            self.take(&place).await?;
            // Where the place ended at the very end of time, there is no more.
            let next = match self.scan.order {
                Order::Newest => end.checked_sub(1).map(|before| high = before),
                Order::Oldest => end.checked_add(1).map(|behind| low = behind),
            };
            if next.is_none() {
                return Ok(());
            }
            exact = exact.saturating_mul(4);
            many = CELLS.1.min(many * 4);
        }
        Ok(())
    }

    /// Minutes with entries that may be wanted: minute, service, how many; in the order of the page. Whether there may be more.
    async fn cells(
        &self,
        low: i64,
        high: i64,
        many: i64,
    ) -> Result<(Vec<(i64, i32, i64)>, bool), EngineError> {
        // In the order of the primary key, forwards or backwards: it is read no further than it is wanted. Summed up here, for the server might
        // rather sum up everything first.
        let order = match self.scan.order {
            Order::Newest => "minute DESC, service DESC, level DESC",
            Order::Oldest => "minute, service, level",
        };
        let mut sql: QueryBuilder<Postgres> =
            QueryBuilder::new("SELECT minute, service, n FROM count_minute WHERE partition = ");
        sql.push_bind(key(self.scan.partition)).push(" AND minute >= ").push_bind(low);
        sql.push(" AND minute <= ").push_bind(high);
        if let Some(services) = &self.services {
            sql.push(" AND service = ANY(").push_bind(services.clone()).push(")");
        }
        if let Some(levels) = self.scan.filter.levels {
            condition::push_levels(&mut sql, levels);
        }
        sql.push(format!(" ORDER BY {order} LIMIT {many}"));
        let rows: Vec<(i64, i32, i64)> = sql
            .build_query_as()
            .fetch_all(&self.shared.readers)
            .await
            .map_err(|e| self.shared.fault("reading counts", e))?;
        let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == many);
        let mut cells: Vec<(i64, i32, i64)> = Vec::new();
        for (minute, service, n) in rows {
            match cells.last_mut().filter(|(m, s, _)| (*m, *s) == (minute, service)) {
                Some((_, _, sum)) => *sum = sum.saturating_add(n),
                None => cells.push((minute, service, n)),
            }
        }
        Ok((cells, full))
    }

    /// Where to look for the next `wanted` entries between `low` and `high`, and where that ends. A minute that has far more is cut into slices.
    fn place(
        &self,
        (mut cells, full): (Vec<(i64, i32, i64)>, bool),
        wanted: i64,
        low: i64,
        high: i64,
    ) -> Option<(Place, i64)> {
        let first = cells.first()?.0;
        if full {
            // The last minute may have been cut off in its middle.
            let cut = cells.last()?.0;
            if cut == first {
                let (from, to) = (minute_start(first).max(low), last_of(first).min(high));
                return Some((Place::Span(from, to), self.end_of(from, to)));
            }
            cells.retain(|(minute, _, _)| *minute != cut);
        }
        let in_first = cells.iter().take_while(|(minute, _, _)| *minute == first);
        let dense = in_first.map(|(_, _, n)| *n).fold(0, i64::saturating_add) / wanted.max(1);
        let (last, upto) = enough(&cells, wanted)?;
        cells.truncate(upto);
        let (mut from, mut to) = (minute_start(first.min(last)).max(low), last_of(first.max(last)).min(high));
        if dense > 1 {
            match self.scan.order {
                Order::Newest => from = from.max(to.saturating_sub(MINUTE / dense)),
                Order::Oldest => to = to.min(from.saturating_add(MINUTE / dense)),
            }
        }
        let services = cells.iter().map(|(_, service, _)| *service).collect();
        let lows = cells.iter().map(|(minute, _, _)| minute_start(*minute).max(from)).collect();
        let highs = cells.iter().map(|(minute, _, _)| last_of(*minute).min(to)).collect();
        Some((Place::Cells(services, lows, highs), self.end_of(from, to)))
    }

    /// Levels, and with each of them each service: as an array the services would cost the order of the index.
    fn grave_place(&self, levels: &[i16]) -> Place {
        let few = self.services.as_ref().filter(|services| services.len() <= ONE_BY_ONE);
        let Some(services) = few else { return Place::Grave(levels.to_vec(), None) };
        let pairs = levels.iter().flat_map(|level| services.iter().map(|service| (*level, *service)));
        let (levels, services) = pairs.unzip();
        Place::Grave(levels, Some(services))
    }

    /// The last nanosecond of a span, in the order of the page.
    fn end_of(&self, from: i64, to: i64) -> i64 {
        match self.scan.order {
            Order::Newest => from,
            Order::Oldest => to,
        }
    }

    /// Takes what is wanted from a place, until the page is full.
    async fn take(&mut self, place: &Place) -> Result<(), EngineError> {
        loop {
            // Where SQL only narrows down, a small page is not fetched in drops.
            let fetch = if Exact::opaque(&self.scan.filter) { self.wants().max(200) } else { self.wants() };
            let query = self.statement(place, i64::try_from(fetch).unwrap_or(i64::MAX));
            let rows = match self.rows(place, query).await {
                Err(e) if read::is_gone(&e) => return Ok(()),
                rows => rows.map_err(|e| self.shared.fault("reading a page", e))?,
            };
            let entries = read::entries(self.shared, &rows).await?;
            self.after = entries.last().map(Cursor::of).or(self.after);
            let ended = entries.len() < fetch;
            let wants = self.wants();
            let exact = &self.exact;
            self.found.extend(entries.into_iter().filter(|entry| exact.holds(entry)).take(wants));
            if ended || self.wants() == 0 {
                return Ok(());
            }
        }
    }

    async fn rows(
        &self,
        place: &Place,
        mut query: QueryBuilder<Postgres>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let readers = &self.shared.readers;
        match place {
            Place::Whole | Place::Span(..) => query.build().fetch_all(readers).await,
            Place::Cells(..) | Place::Grave(..) => {
                let mut ordered = readers.begin_with(ORDERED).await?;
                let rows = query.build().fetch_all(&mut *ordered).await?;
                ordered.rollback().await?;
                Ok(rows)
            }
        }
    }

    fn statement(&self, place: &Place, limit: i64) -> QueryBuilder<Postgres> {
        let (columns, table) = (encode::COLUMNS, table(self.scan.partition));
        let mut sql = match place {
            Place::Cells(..) | Place::Grave(..) => {
                QueryBuilder::new(format!("SELECT {columns} FROM unnest("))
            }
            Place::Whole | Place::Span(..) => {
                QueryBuilder::new(format!("SELECT {columns} FROM {table} WHERE true"))
            }
        };
        match place {
            Place::Whole => {}
            Place::Span(low, high) => {
                sql.push(" AND at >= ").push_bind(*low).push(" AND at <= ").push_bind(*high);
            }
            Place::Cells(services, lows, highs) => {
                sql.push_bind(services.clone())
                    .push("::int[], ")
                    .push_bind(lows.clone())
                    .push("::bigint[], ");
                sql.push_bind(highs.clone())
                    .push("::bigint[]) AS c(c_service, c_low, c_high) CROSS JOIN LATERAL ");
                // The limit inside: of each service no more than the page can show, and no join over the whole table.
                sql.push(format!(
                    "(SELECT {columns} FROM {table} WHERE service = c_service AND at >= c_low AND at <= c_high"
                ));
            }
            Place::Grave(levels, one_by_one) => {
                sql.push_bind(levels.clone()).push("::smallint[]");
                match one_by_one {
                    Some(services) => {
                        sql.push(", ").push_bind(services.clone()).push("::int[]) AS c(c_level, c_service)")
                    }
                    None => sql.push(") AS c(c_level)"),
                };
                // Said as the index says it, or the planner would not see that it serves.
                sql.push(format!(
                    " CROSS JOIN LATERAL (SELECT {columns} FROM {table} WHERE level = c_level AND level >= {}",
                    GRAVE.number()
                ));
                match (one_by_one, &self.services) {
                    (Some(_), _) => sql.push(" AND service = c_service"),
                    // As a sum, so that the index does not take it for its own.
                    (None, Some(many)) => {
                        sql.push(" AND service + 0 = ANY(").push_bind(many.clone()).push(")")
                    }
                    (None, None) => &mut sql,
                };
            }
        }
        if let Some(rows) = &self.scan.rows {
            let ids: Vec<i64> = rows.iter().map(|row| self.scan.partition.entry(*row).0).collect();
            sql.push(" AND id = ANY(").push_bind(ids).push(")");
        }
        let services = match place {
            Place::Cells(..) | Place::Grave(..) => None,
            Place::Whole | Place::Span(..) => self.services.as_deref(),
        };
        // The other places lie between the same times, and each row is held against them once.
        if matches!(place, Place::Whole | Place::Grave(..)) {
            condition::push_times(&mut sql, &self.scan.filter);
        }
        let asked = (&self.scan.filter, self.shared.options.trigrams());
        condition::push(&mut sql, asked, services, self.scan.order, self.after);
        let order = match self.scan.order {
            Order::Newest => " ORDER BY at DESC, id DESC LIMIT ",
            Order::Oldest => " ORDER BY at, id LIMIT ",
        };
        if matches!(place, Place::Cells(..) | Place::Grave(..)) {
            sql.push(order).push_bind(limit).push(") AS e");
        }
        sql.push(order).push_bind(limit);
        sql
    }
}
