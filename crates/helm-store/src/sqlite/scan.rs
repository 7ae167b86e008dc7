//! Pages of one segment, in order.
//!
//! While entries come they are indexed by time, by service and time, and, from WARNING on, by service, level and time. A page of some
//! services or of grave levels is a merge of ranges, one for each service or each pair that has entries (SQLite merges lazily, so that a
//! page costs its own length, however rare the level). What looks inside entries walks the same keys first, for what is common is found at
//! once; where much remains after that, one pass through the rows it lies in is cheaper than a look-up for each key. Two connections make it, each
//! half, where nobody else wants them.

use std::sync::Arc;

use sqlx::{QueryBuilder, Sqlite};

use super::condition::{Stretch, looks_inside, push_filter};
use super::connect::{Reader, Readers};
use super::read::{COLUMNS, entry, failed};
use super::segment::Segment;
use crate::engine::{EngineError, Scan};
use crate::entry::{Entry, Level};
use crate::partition::{Contents, level_slot};
use crate::query::{Order, names};

/// Ranges that are merged; where there are more, the time index is walked.
const RANGES: usize = 160;
/// Keys that are walked one by one for each entry that is wanted, before the table is passed through.
const NEAR: i64 = 4;
/// A look-up by a key costs as much as passing through so many rows.
const LOOKUP: i64 = 6;
/// Rows from which on two pass through them.
const HALVES: i64 = 20_000;

/// Which keys lead to the entries.
enum Keys {
    /// All, by time.
    Time,
    /// Those of some services; their level is looked up.
    Services(Vec<String>),
    /// Those of some services at some levels that the index of grave ones has.
    Grave(Vec<(String, Level)>),
}

/// Levels that have an index: `entry_grave`.
const GRAVE: Level = Level::Warning;

pub(super) async fn scan(
    readers: &Arc<Readers>,
    segment: &Arc<Segment>,
    scan: &Scan,
) -> Result<Vec<Entry>, EngineError> {
    let stretch = Stretch::new(&scan.filter, scan.order, scan.after, scan.partition);
    let Some((keys, many)) = segment.with(|record| keys(scan, &record.contents)) else {
        return Ok(Vec::new());
    };
    if stretch.low > stretch.high || scan.limit == 0 {
        return Ok(Vec::new());
    }
    let mut page = Page { reader: readers.get(segment).await?, readers, segment, scan, found: Vec::new() };
    if let Some(rows) = &scan.rows {
        page.named(rows, &stretch).await?;
    } else if let Some(index) = dear_index(segment, scan) {
        page.by_dear_index(index, &stretch).await?;
    } else if !looks_inside(&scan.filter) {
        page.walk(&keys, &stretch, None).await?;
    } else {
        page.look_inside(&keys, stretch, many).await?;
    }
    page.reader.rest();
    Ok(page.found)
}

/// Which keys lead to what is wanted, and to how many entries; `None` where there are none.
fn keys(scan: &Scan, contents: &Contents) -> Option<(Keys, u64)> {
    let filter = &scan.filter;
    if filter.twins {
        // Twins are not counted.
        return Some((Keys::Time, u64::from(contents.rows)));
    }
    let wanted = |name: &String| names(&filter.services, name);
    let (mut services, mut pairs, mut many) = (Vec::new(), Vec::new(), 0);
    for (name, levels) in contents.services.iter().filter(|(name, _)| wanted(name)) {
        let before = pairs.len();
        for level in Level::ALL {
            let n = levels[level_slot(level)];
            if n > 0 && filter.levels.is_none_or(|levels| levels.has(level)) {
                pairs.push((name.clone(), level));
                many += n;
            }
        }
        if pairs.len() > before {
            services.push(name.clone());
        }
    }
    let all = u64::from(contents.rows);
    match (services.len(), pairs.len()) {
        (0, _) => None,
        (_, n) if n <= RANGES && pairs.iter().all(|(_, level)| *level >= GRAVE) => {
            Some((Keys::Grave(pairs), many))
        }
        (n, _) if n <= RANGES && n < contents.services.len() => Some((Keys::Services(services), many)),
        _ => Some((Keys::Time, all)),
    }
}

/// The index that a finished segment has for what is asked.
fn dear_index(segment: &Segment, scan: &Scan) -> Option<&'static str> {
    match &scan.filter {
        _ if !segment.is_finished() => None,
        filter if filter.trace.is_some() => Some("entry_trace"),
        filter if filter.user.is_some() => Some("entry_user"),
        _ => None,
    }
}

struct Page<'a> {
    reader: Reader,
    readers: &'a Arc<Readers>,
    segment: &'a Arc<Segment>,
    scan: &'a Scan,
    found: Vec<Entry>,
}

/// What a statement gives.
async fn fetch(
    reader: &mut Reader,
    (segment, scan): (&Segment, &Scan),
    mut sql: QueryBuilder<Sqlite>,
) -> Result<Vec<Entry>, EngineError> {
    let failed = |e| failed(segment, e);
    let rows = sql.build().persistent(false).fetch_all(reader.ask()?).await.map_err(failed)?;
    rows.iter().map(|row| entry(row, scan.partition).map_err(failed)).collect()
}

/// `SELECT … FROM entry e … WHERE everything ORDER BY … LIMIT`, after `from`.
fn select(
    scan: &Scan,
    from: &str,
    stretch: &Stretch,
    limit: i64,
    more: impl FnOnce(&mut QueryBuilder<Sqlite>),
) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(format!("SELECT {COLUMNS} FROM entry e {from} WHERE 1"));
    more(&mut sql);
    stretch.push(&mut sql, "e.");
    push_filter(&mut sql, &scan.filter);
    stretch.push_order(&mut sql, "e.");
    sql.push(" LIMIT ").push_bind(limit);
    sql
}

impl Page<'_> {
    fn missing(&self) -> i64 {
        i64::from(self.scan.limit) - i64::try_from(self.found.len()).unwrap_or(i64::MAX)
    }

    async fn take(&mut self, sql: QueryBuilder<Sqlite>) -> Result<(), EngineError> {
        self.found.append(&mut fetch(&mut self.reader, (self.segment, self.scan), sql).await?);
        Ok(())
    }

    async fn named(&mut self, rows: &[u32], stretch: &Stretch) -> Result<(), EngineError> {
        let list = format!("{rows:?}");
        let sql = select(self.scan, "", stretch, self.missing(), |sql| {
            sql.push(" AND e.row IN (SELECT value FROM json_each(").push_bind(list).push("))");
        });
        self.take(sql).await
    }

    async fn by_dear_index(&mut self, index: &str, stretch: &Stretch) -> Result<(), EngineError> {
        let from = format!("INDEXED BY {index}");
        self.take(select(self.scan, &from, stretch, self.missing(), |_| {})).await
    }

    /// Follows the keys in order, at most `keys_at_most` of them.
    async fn walk(
        &mut self,
        keys: &Keys,
        stretch: &Stretch,
        keys_at_most: Option<i64>,
    ) -> Result<(), EngineError> {
        let mut sql = QueryBuilder::new(format!("SELECT {COLUMNS} FROM ("));
        push_keys(&mut sql, keys, stretch);
        stretch.push_order(&mut sql, "");
        // A limit, even none, keeps the order of what is inside.
        match keys_at_most {
            Some(n) => sql.push(format_args!(" LIMIT {n}")),
            None => sql.push(" LIMIT -1"),
        };
        sql.push(") k CROSS JOIN entry e ON e.row = k.row WHERE 1");
        push_filter(&mut sql, &self.scan.filter);
        sql.push(" LIMIT ").push_bind(self.missing());
        self.take(sql).await
    }

    async fn look_inside(&mut self, keys: &Keys, mut stretch: Stretch, many: u64) -> Result<(), EngineError> {
        let near = self.missing().saturating_mul(NEAR);
        self.walk(keys, &stretch, Some(near)).await?;
        if self.missing() == 0 {
            return Ok(());
        }
        let Some((at, row)) = self.last_of_near(keys, &stretch, near).await? else { return Ok(()) };
        stretch.go_on(at, row);
        let Some((first, last, all)) = self.rows_between(&stretch).await? else { return Ok(()) };
        let worth = u64::try_from((last - first) / LOOKUP).unwrap_or(0);
        let dense = match keys {
            Keys::Time => all.cast_unsigned() > worth,
            Keys::Services(_) | Keys::Grave(_) => {
                many > worth && self.has_more_than(worth, keys, &stretch).await?
            }
        };
        if dense { self.pass(&stretch, first, last).await } else { self.walk(keys, &stretch, None).await }
    }

    /// Passes through the rows `first` to `last`.
    async fn pass(&mut self, stretch: &Stretch, first: i64, last: i64) -> Result<(), EngineError> {
        let (asked, missing) = ((&**self.segment, self.scan), self.missing());
        let rows = |from: i64, to: i64| {
            select(self.scan, "NOT INDEXED", stretch, missing, |sql| {
                sql.push(" AND e.row >= ").push_bind(from).push(" AND e.row <= ").push_bind(to);
            })
        };
        let second = if last - first < HALVES { None } else { self.readers.second(self.segment).await? };
        let Some(mut second) = second else {
            self.found.append(&mut fetch(&mut self.reader, asked, rows(first, last)).await?);
            return Ok(());
        };
        let middle = first + (last - first) / 2;
        let (mut found, mut others) = tokio::try_join!(
            fetch(&mut self.reader, asked, rows(first, middle)),
            fetch(&mut second, asked, rows(middle + 1, last)),
        )?;
        second.rest();
        found.append(&mut others);
        let place = |entry: &Entry| (entry.body.at, entry.id);
        match self.scan.order {
            Order::Newest => found.sort_by_key(|entry| std::cmp::Reverse(place(entry))),
            Order::Oldest => found.sort_by_key(place),
        }
        found.truncate(usize::try_from(missing).unwrap_or(0));
        self.found.append(&mut found);
        Ok(())
    }

    /// The lowest and the highest row of a stretch, and how many there are.
    async fn rows_between(&mut self, stretch: &Stretch) -> Result<Option<(i64, i64, i64)>, EngineError> {
        let mut sql =
            QueryBuilder::new("SELECT min(row), max(row), count(*) FROM entry INDEXED BY entry_at WHERE 1");
        stretch.push(&mut sql, "");
        let failed = |e| failed(self.segment, e);
        let (first, last, all): (Option<i64>, Option<i64>, i64) =
            sql.build_query_as().persistent(false).fetch_one(self.reader.ask()?).await.map_err(failed)?;
        Ok(first.zip(last).map(|(first, last)| (first, last, all)))
    }

    /// The place where the first walk ended; `None` where it came to the end.
    async fn last_of_near(
        &mut self,
        keys: &Keys,
        stretch: &Stretch,
        near: i64,
    ) -> Result<Option<(i64, i64)>, EngineError> {
        let mut sql = QueryBuilder::new("SELECT at, row FROM (");
        push_keys(&mut sql, keys, stretch);
        stretch.push_order(&mut sql, "");
        sql.push(format_args!(" LIMIT 1 OFFSET {})", near - 1));
        let failed = |e| failed(self.segment, e);
        sql.build_query_as().persistent(false).fetch_optional(self.reader.ask()?).await.map_err(failed)
    }

    async fn has_more_than(&mut self, n: u64, keys: &Keys, stretch: &Stretch) -> Result<bool, EngineError> {
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (");
        push_keys(&mut sql, keys, stretch);
        sql.push(format_args!(" LIMIT {})", n + 1));
        let failed = |e| failed(self.segment, e);
        let count: i64 =
            sql.build_query_scalar().persistent(false).fetch_one(self.reader.ask()?).await.map_err(failed)?;
        Ok(count.cast_unsigned() > n)
    }
}

fn push_keys(sql: &mut QueryBuilder<Sqlite>, keys: &Keys, stretch: &Stretch) {
    match keys {
        Keys::Time => {
            sql.push("SELECT at, row FROM entry INDEXED BY entry_at WHERE 1");
            stretch.push(sql, "");
        }
        Keys::Services(names) => {
            for (i, name) in names.iter().enumerate() {
                sql.push(if i == 0 { "" } else { " UNION ALL " });
                sql.push("SELECT at, row FROM entry INDEXED BY entry_service");
                push_service(sql, name);
                stretch.push(sql, "");
            }
        }
        Keys::Grave(pairs) => {
            for (i, (name, level)) in pairs.iter().enumerate() {
                sql.push(if i == 0 { "" } else { " UNION ALL " });
                sql.push("SELECT at, row FROM entry INDEXED BY entry_grave");
                push_service(sql, name);
                // Said as the index says it, or SQLite would not see that it serves.
                sql.push(format_args!(" AND level >= {} AND level = {}", GRAVE.number(), level.number()));
                stretch.push(sql, "");
            }
        }
    }
}

fn push_service(sql: &mut QueryBuilder<Sqlite>, name: &str) {
    sql.push(" WHERE service = (SELECT id FROM service WHERE name = ").push_bind(name.to_owned()).push(")");
}
