//! A page of one partition, without reading what it does not show.
//!
//! The counts per minute say where entries of a service and level are. A filter that the counts know all of is answered from exactly those
//! minutes of exactly those services (the index on service and time leads there). One that they do not (texts, context) looks at spans of
//! minutes that grow, newest first: a page that is soon full reads little, a rare word is looked for in large pieces. Either way each statement has
//! bounds in time: without them the planner may read everything.

use sqlx::{Postgres, QueryBuilder};

use super::condition::{self, Exact};
use super::{Shared, encode, key, read, table};
use crate::engine::{EngineError, Scan};
use crate::entry::Entry;
use crate::query::{Cursor, Order};

const MINUTE: i64 = 60_000_000_000;
/// Counts that are read at once.
const CELLS: i64 = 1024;
/// Rows of the first span that is searched, and how large spans become.
const FIRST_SPAN: i64 = 5_000;
const LARGEST_SPAN: i64 = 500_000;

/// Where to look.
enum Place {
    /// All of the partition.
    Whole,
    /// Between two times, both inclusive.
    Span(i64, i64),
    /// Minutes of services: numbers, first and last nanosecond.
    Cells(Vec<i32>, Vec<i64>, Vec<i64>),
}

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
    if scan.rows.is_some() || filter.trace.is_some() || filter.user.is_some() {
        page.take(&Place::Whole).await?;
    } else {
        page.walk().await?;
    }
    Ok(page.found)
}

fn minute(at: i64) -> i64 {
    at.div_euclid(MINUTE)
}

fn first_of(minute: i64) -> i64 {
    minute.saturating_mul(MINUTE)
}

fn last_of(minute: i64) -> i64 {
    first_of(minute).saturating_add(MINUTE - 1)
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
        let opaque = Exact::opaque(filter);
        let mut low = filter.since.unwrap_or(i64::MIN);
        let mut high = filter.until.map_or(i64::MAX, |until| until.saturating_sub(1));
        match (self.scan.order, self.after) {
            (Order::Newest, Some(after)) => high = high.min(after.at),
            (Order::Oldest, Some(after)) => low = low.max(after.at),
            (Order::Newest | Order::Oldest, None) => {}
        }
        let mut span = FIRST_SPAN;
        while self.wants() > 0 && low <= high {
            let cells = self.cells(minute(low), minute(high), opaque).await?;
            let place = match opaque {
                true => self.span(&cells, span, low, high),
                false => self.minutes(cells),
            };
            let Some((place, end)) = place else { return Ok(()) };
            self.take(&place).await?;
            // Where the place ended at the very end of time, there is no more.
            let next = match self.scan.order {
                Order::Newest => end.checked_sub(1).map(|before| high = before),
                Order::Oldest => end.checked_add(1).map(|behind| low = behind),
            };
            if next.is_none() {
                return Ok(());
            }
            span = (span * 4).min(LARGEST_SPAN);
        }
        Ok(())
    }

    /// Minutes with entries that may be wanted: minute, service (0 where it does not matter), how many; in the order of the page.
    async fn cells(&self, low: i64, high: i64, opaque: bool) -> Result<Vec<(i64, i32, i64)>, EngineError> {
        // In the order of the primary key, forwards or backwards: it is read no further than it is wanted.
        let (columns, group, order) = match (opaque, self.scan.order) {
            (true, Order::Newest) => ("minute, 0", "minute", "minute DESC"),
            (true, Order::Oldest) => ("minute, 0", "minute", "minute"),
            (false, Order::Newest) => ("minute, service", "minute, service", "minute DESC, service DESC"),
            (false, Order::Oldest) => ("minute, service", "minute, service", "minute, service"),
        };
        let mut sql: QueryBuilder<Postgres> = QueryBuilder::new(format!(
            "SELECT {columns}, sum(n)::bigint FROM count_minute WHERE partition = "
        ));
        sql.push_bind(key(self.scan.partition)).push(" AND minute >= ").push_bind(low);
        sql.push(" AND minute <= ").push_bind(high);
        if let Some(services) = &self.services {
            sql.push(" AND service = ANY(").push_bind(services.clone()).push(")");
        }
        if let Some(levels) = self.scan.filter.levels {
            condition::push_levels(&mut sql, levels);
        }
        sql.push(format!(" GROUP BY {group} ORDER BY {order} LIMIT {CELLS}"));
        let rows = sql.build_query_as().fetch_all(&self.shared.readers).await;
        rows.map_err(|e| self.shared.fault("reading counts", e))
    }

    /// The next minutes of services to look at, whole minutes, with as many entries as the page wants if there are as many; and where they end.
    fn minutes(&self, mut cells: Vec<(i64, i32, i64)>) -> Option<(Place, i64)> {
        let wanted = i64::try_from(self.wants()).unwrap_or(i64::MAX);
        let first = cells.first()?.0;
        if cells.len() == usize::try_from(CELLS).unwrap_or(usize::MAX) {
            // The last minute may have been cut off in its middle.
            let cut = cells.last()?.0;
            if cut == first {
                return Some((Place::Span(first_of(first), last_of(first)), self.end_of(first)));
            }
            cells.retain(|(minute, _, _)| *minute != cut);
        }
        let (last, upto) = enough(&cells, wanted)?;
        cells.truncate(upto);
        let services = cells.iter().map(|(_, service, _)| *service).collect();
        let lows = cells.iter().map(|(minute, _, _)| first_of(*minute)).collect();
        let highs = cells.iter().map(|(minute, _, _)| last_of(*minute)).collect();
        Some((Place::Cells(services, lows, highs), self.end_of(last)))
    }

    /// The next span with about `wanted` entries between `low` and `high`, and where it ends. A minute that has far more is cut into slices.
    fn span(&self, cells: &[(i64, i32, i64)], wanted: i64, low: i64, high: i64) -> Option<(Place, i64)> {
        let (first, _, n) = *cells.first()?;
        let (last, _) = enough(cells, wanted)?;
        let (mut from, mut to) = (first_of(first.min(last)).max(low), last_of(first.max(last)).min(high));
        if n > wanted {
            let slice = MINUTE / (n / wanted + 1);
            match self.scan.order {
                Order::Newest => from = from.max(to.saturating_sub(slice)),
                Order::Oldest => to = to.min(from.saturating_add(slice)),
            }
        }
        let end = match self.scan.order {
            Order::Newest => from,
            Order::Oldest => to,
        };
        Some((Place::Span(from, to), end))
    }

    /// The last nanosecond of a minute, in the order of the page.
    fn end_of(&self, minute: i64) -> i64 {
        match self.scan.order {
            Order::Newest => first_of(minute),
            Order::Oldest => last_of(minute),
        }
    }

    /// Takes what is wanted from a place, until the page is full.
    async fn take(&mut self, place: &Place) -> Result<(), EngineError> {
        loop {
            // Where SQL only narrows down, a small page is not fetched in drops.
            let fetch = if Exact::opaque(&self.scan.filter) { self.wants().max(200) } else { self.wants() };
            let query = self.statement(place, i64::try_from(fetch).unwrap_or(i64::MAX));
            let rows = match { query }.build().fetch_all(&self.shared.readers).await {
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

    fn statement(&self, place: &Place, limit: i64) -> QueryBuilder<Postgres> {
        let (columns, table) = (encode::COLUMNS, table(self.scan.partition));
        let mut sql = match place {
            Place::Cells(..) => QueryBuilder::new(format!("SELECT {columns} FROM unnest(")),
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
        }
        if let Some(rows) = &self.scan.rows {
            let ids: Vec<i64> = rows.iter().map(|row| self.scan.partition.entry(*row).0).collect();
            sql.push(" AND id = ANY(").push_bind(ids).push(")");
        }
        let services = match place {
            Place::Cells(..) => None,
            Place::Whole | Place::Span(..) => self.services.as_deref(),
        };
        condition::push(&mut sql, &self.scan.filter, services, self.scan.order, self.after);
        let order = match self.scan.order {
            Order::Newest => " ORDER BY at DESC, id DESC LIMIT ",
            Order::Oldest => " ORDER BY at, id LIMIT ",
        };
        if matches!(place, Place::Cells(..)) {
            sql.push(order).push_bind(limit).push(") AS e");
        }
        sql.push(order).push_bind(limit);
        sql
    }
}
