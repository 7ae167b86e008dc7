//! Conditions of a filter in SQL. Every value is bound; only numbers of our own stand in the text.

use sqlx::{QueryBuilder, Sqlite};

use crate::entry::{Level, flag};
use crate::id::{PartitionId, ROWS_PER_PARTITION};
use crate::query::{ContextIs, Cursor, Filter, Order, Text, TextKind};

/// A stretch of a segment: times, and the place after which it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) low: i64,
    pub(super) high: i64,
    /// Time and row that were seen last; the row may be one that no entry has.
    pub(super) after: Option<(i64, i64)>,
    pub(super) order: Order,
}

impl Stretch {
    pub(super) fn new(filter: &Filter, order: Order, after: Option<Cursor>, partition: PartitionId) -> Self {
        let mut stretch = Self {
            low: filter.since.unwrap_or(i64::MIN),
            // Nothing is before the first moment: then low is above high.
            high: filter.until.map_or(i64::MAX, |until| until.saturating_sub(1)),
            after: None,
            order,
        };
        if filter.until == Some(i64::MIN) {
            (stretch.low, stretch.high) = (i64::MAX, i64::MIN);
        }
        if let Some(after) = after {
            let (first, end) = partition.ids();
            let row = if after.id < first {
                -1
            } else if after.id >= end {
                i64::from(ROWS_PER_PARTITION)
            } else {
                i64::from(after.id.row())
            };
            stretch.go_on(after.at, row);
        }
        stretch
    }

    /// Begins after this place.
    pub(super) fn go_on(&mut self, at: i64, row: i64) {
        self.after = Some((at, row));
        match self.order {
            Order::Newest => self.high = self.high.min(at),
            Order::Oldest => self.low = self.low.max(at),
        }
    }

    /// `... AND in this stretch`; `e` is put before columns.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Sqlite>, e: &str) {
        if self.low > i64::MIN {
            sql.push(format_args!(" AND {e}at >= ")).push_bind(self.low);
        }
        if self.high < i64::MAX {
            sql.push(format_args!(" AND {e}at <= ")).push_bind(self.high);
        }
        if let Some((at, row)) = self.after {
            let than = match self.order {
                Order::Newest => '<',
                Order::Oldest => '>',
            };
            sql.push(format_args!(" AND ({e}at <> ")).push_bind(at);
            sql.push(format_args!(" OR {e}row {than} ")).push_bind(row).push(")");
        }
    }

    /// `ORDER BY` this.
    pub(super) fn push_order(&self, sql: &mut QueryBuilder<Sqlite>, e: &str) {
        let way = match self.order {
            Order::Newest => " DESC",
            Order::Oldest => "",
        };
        sql.push(format_args!(" ORDER BY {e}at{way}, {e}row{way}"));
    }
}

/// Whether a filter asks for more than services, levels and times: then any number of entries may be looked at for one that fits.
pub(super) fn looks_inside(filter: &Filter) -> bool {
    let Filter {
        services: _,
        levels: _,
        since: _,
        until: _,
        trace,
        user,
        source,
        context,
        texts,
        twins: _,
        instances: _,
    } = filter;
    trace.is_some() || user.is_some() || source.is_some() || !context.is_empty() || !texts.is_empty()
}

/// `... AND` everything but times.
pub(super) fn push_filter(sql: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    if !filter.services.is_empty() {
        sql.push(" AND e.service IN (SELECT id FROM service WHERE name IN (");
        let mut names = sql.separated(", ");
        for name in &filter.services {
            names.push_bind(name.clone());
        }
        sql.push("))");
    }
    if let Some(levels) = filter.levels {
        sql.push(" AND e.level IN (");
        let mut numbers = sql.separated(", ");
        for level in Level::ALL.into_iter().filter(|level| levels.has(*level)) {
            numbers.push(level.number());
        }
        sql.push(")");
    }
    if !filter.twins {
        sql.push(format_args!(" AND e.flags & {} = 0", flag::TWIN));
    }
    if let Some(source) = filter.source {
        sql.push(format_args!(" AND e.source = {}", source as u8));
    }
    for (column, value) in [("trace", &filter.trace), ("user", &filter.user)] {
        if let Some(value) = value {
            sql.push(format_args!(" AND e.{column} = ")).push_bind(value.clone());
        }
    }
    for text in &filter.texts {
        push_text(sql, text);
    }
    for is in &filter.context {
        push_context(sql, is);
    }
}

/// Regular expressions run in linear time: sqlx lends SQLite the `regex` crate. Words are looked for as parts, the reader does the rest.
fn push_text(sql: &mut QueryBuilder<Sqlite>, text: &Text) {
    // A line of a message begins and ends where `^` and `$` say, as the reader has it.
    let case = if text.case { "(?m)" } else { "(?im)" };
    let pattern = match text.kind {
        TextKind::Word if text.not => return,
        TextKind::Word | TextKind::Substring => format!("{case}{}", regex::escape(&text.pattern)),
        TextKind::Regex => format!("{case}{}", text.pattern),
    };
    sql.push(if text.not { " AND NOT regexp(" } else { " AND regexp(" });
    sql.push_bind(pattern).push(", coalesce(e.plain, e.message))");
}

/// The value is looked for as it is before JSON is read: where it stands so in the text, or might stand in another spelling.
fn push_context(sql: &mut QueryBuilder<Sqlite>, is: &ContextIs) {
    sql.push(" AND CASE WHEN e.context IS NULL THEN 0");
    let plain = |c: char| c.is_ascii_alphanumeric() || " -_.:".contains(c);
    if !is.value.is_empty() && is.value.chars().all(plain) {
        sql.push(" WHEN instr(e.context, ").push_bind(is.value.clone());
        sql.push(") = 0 AND instr(e.context, '\\u') = 0 THEN 0");
    }
    sql.push(" WHEN NOT json_valid(e.context) THEN 0 ELSE ");
    for (nth, keys) in is.readings().iter().enumerate() {
        // A key that is not there makes it unknown, which is not true.
        sql.push(if nth == 0 { "(" } else { " OR " });
        push_keys(sql, keys, &is.value);
    }
    sql.push(") END");
}

/// Whether the value that these keys lead to, one within the other, is this one.
fn push_keys(sql: &mut QueryBuilder<Sqlite>, keys: &[String], value: &str) {
    if keys.iter().any(|key| key.contains(['"', '\\'])) {
        return push_odd_keys(sql, keys, value);
    }
    let path = keys.iter().fold("$".to_owned(), |path, key| path + ".\"" + key + "\"");
    sql.push("CASE json_type(e.context, ").push_bind(path.clone());
    sql.push(") WHEN 'text' THEN e.context ->> ").push_bind(path.clone());
    sql.push(" ELSE e.context -> ").push_bind(path);
    sql.push(" END = ").push_bind(value.to_owned());
}

/// Keys that a path of SQLite's cannot hold: object by object.
fn push_odd_keys(sql: &mut QueryBuilder<Sqlite>, keys: &[String], value: &str) {
    sql.push("EXISTS (SELECT 1 FROM ");
    for at in 0..keys.len() {
        match at {
            0 => sql.push("json_each(e.context) j0"),
            _ => sql.push(format_args!(
                ", json_each(CASE j{before}.type WHEN 'object' THEN j{before}.value ELSE '{{}}' END) j{at}",
                before = at - 1
            )),
        };
    }
    for (at, key) in keys.iter().enumerate() {
        sql.push(if at == 0 { " WHERE " } else { " AND " });
        sql.push(format_args!("j{at}.key = ")).push_bind(key.clone());
    }
    let last = keys.len() - 1;
    sql.push(format_args!(
        " AND CASE WHEN j{last}.type IN ('true', 'false', 'null') THEN j{last}.type ELSE j{last}.value || '' END = "
    ));
    sql.push_bind(value.to_owned()).push(")");
}
