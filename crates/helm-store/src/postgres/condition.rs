//! A filter in SQL. Only binds: nothing of a filter is ever part of a statement's text.
//!
//! SQL says as much as it can say surely: it may let through too much, never too little. [`Exact`] tests the rest.

use sqlx::{Postgres, QueryBuilder};

use crate::entry::{Entry, flag};
use crate::query::{ContextIs, Cursor, Filter, Levels, Order, Text, TextKind};

/// Appends the conditions of `filter` but those on `at`, each with AND before it; `trigrams`: in words that an index of texts answers.
pub(super) fn push(
    sql: &mut QueryBuilder<Postgres>,
    (filter, trigrams): (&Filter, bool),
    services: Option<&[i32]>,
    order: Order,
    after: Option<Cursor>,
) {
    if let Some(services) = services {
        sql.push(" AND service = ANY(").push_bind(services.to_vec()).push(")");
    }
    if let Some(levels) = filter.levels {
        push_levels(sql, levels);
    }
    if let Some(trace) = &filter.trace {
        sql.push(" AND trace_id = ").push_bind(trace.clone());
    }
    if let Some(user) = &filter.user {
        sql.push(" AND user_id = ").push_bind(user.clone());
    }
    if let Some(source) = filter.source {
        sql.push(" AND source = ").push_bind(source as i16);
    }
    if !filter.twins {
        sql.push(" AND flags & ").push_bind(flag::TWIN.cast_signed()).push(" = 0");
    }
    for pattern in filter.context.iter().flat_map(context_pattern) {
        sql.push(" AND (context LIKE ").push_bind(pattern);
        sql.push(" OR context LIKE ").push_bind(ESCAPED).push(")");
    }
    for text in filter.texts.iter().filter(|text| !text.not) {
        push_text(sql, text, trigrams);
    }
    if let Some(after) = after {
        sql.push(match order {
            Order::Newest => " AND (at, id) < (",
            Order::Oldest => " AND (at, id) > (",
        });
        sql.push_bind(after.at).push(", ").push_bind(after.id.0).push(")");
    }
}

/// Without an index a plain part is looked for by `strpos`, which passes over several characters at once; LIKE tries each.
fn push_text(sql: &mut QueryBuilder<Postgres>, text: &Text, trigrams: bool) {
    let searched = if text.case { TEXT } else { FOLDED };
    match part(text) {
        Some(part) if !trigrams => {
            sql.push(" AND strpos(").push(searched).push(", ").push_bind(part).push(") > 0");
        }
        Some(_) | None => {
            if let Some(pattern) = like(text) {
                sql.push(" AND ").push(searched).push(" LIKE ").push_bind(pattern);
            }
        }
    }
}

/// Appends the conditions on `at`.
pub(super) fn push_times(sql: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if let Some(since) = filter.since {
        sql.push(" AND at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        sql.push(" AND at < ").push_bind(until);
    }
}

/// Appends the condition on `level`.
pub(super) fn push_levels(sql: &mut QueryBuilder<Postgres>, levels: Levels) {
    let (operator, level) = match levels {
        Levels::AtLeast(level) => (" AND level >= ", level),
        Levels::Exactly(level) => (" AND level = ", level),
    };
    sql.push(operator).push_bind(i16::from(level.number()));
}

/// What is searched; in collation C, where comparing is comparing bytes and folding touches ASCII alone, whatever the database's own is.
const TEXT: &str = r#"coalesce(plain, message) COLLATE "C""#;
/// The same, as an optional trigram index has it (`helm_finish_partition`).
const FOLDED: &str = r#"lower(coalesce(plain, message) COLLATE "C")"#;
/// JSON that writes characters by number or with a backslash: what it holds cannot be found by comparing texts.
const ESCAPED: &str = r"%\\%";

/// A part of a pattern that is long enough to be looked for alone: plain parts are found faster than ones with gaps.
const LONG: usize = 5;

/// A plain part (folded, unless case counts) that every text has in which `text` is found. `None` where there is none that is long enough.
fn part(text: &Text) -> Option<String> {
    if text.kind == TextKind::Regex || text.pattern.contains('\0') {
        return None;
    }
    if text.case {
        return (!text.pattern.is_empty()).then(|| text.pattern.clone());
    }
    let folded = text.pattern.to_ascii_lowercase();
    let part = folded.split(folds_from_outside).max_by_key(|part| part.len())?;
    (part.len() >= LONG).then(|| part.to_owned())
}

/// A LIKE pattern that finds at least what `text` finds. `None` if that would be everything.
fn like(text: &Text) -> Option<String> {
    if text.kind == TextKind::Regex || text.pattern.contains('\0') {
        return None;
    }
    if let Some(part) = part(text) {
        return Some(format!("%{}%", escaped(&part)));
    }
    if text.case {
        return None;
    }
    let folded = text.pattern.to_ascii_lowercase();
    let part = folded.split(folds_from_outside).max_by_key(|part| part.len())?;
    let mut pattern = String::from("%");
    for c in folded.chars() {
        match c {
            _ if !c.is_ascii() => pattern.push('%'), // Folding may change even its length.
            _ if folds_from_outside(c) => pattern.push('_'),
            _ => pattern.push_str(&escaped(c.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('%');
    (!part.is_empty()).then_some(pattern)
}

/// Whether characters outside ASCII fold to this one (İ, the Kelvin sign, ſ), or it is one of these.
fn folds_from_outside(c: char) -> bool {
    !c.is_ascii() || matches!(c, 'i' | 'k' | 's')
}

fn escaped(plain: &str) -> String {
    plain.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// A LIKE pattern for a context that has this value written plainly. `None` where the value may be written in other ways (`1.5`, `1.50`).
fn context_pattern(is: &ContextIs) -> Option<String> {
    let number = is.value.parse::<f64>().is_ok() && !is.value.bytes().all(|b| b.is_ascii_digit());
    let structure = is.value.starts_with(['{', '[']);
    let apart = is.value.contains(['"', '\\', '\0']) || is.value.chars().any(char::is_control);
    if number || structure || apart || is.value.is_empty() {
        return Some("%".to_owned());
    }
    Some(format!("%{}%", escaped(&is.value)))
}

/// The conditions that SQL only narrows down.
pub(super) struct Exact<'a> {
    texts: Vec<(&'a Text, String)>,
    context: &'a [ContextIs],
}

impl<'a> Exact<'a> {
    pub(super) fn of(filter: &'a Filter) -> Self {
        let texts = filter.texts.iter().filter(|text| text.kind == TextKind::Substring);
        let texts = texts
            .map(|text| (text, if text.case { text.pattern.clone() } else { text.pattern.to_lowercase() }));
        Self { texts: texts.collect(), context: &filter.context }
    }

    /// Whether counts say nothing about how many entries are wanted.
    pub(super) fn opaque(filter: &Filter) -> bool {
        !filter.texts.is_empty() || !filter.context.is_empty() || filter.source.is_some()
    }

    pub(super) fn holds(&self, entry: &Entry) -> bool {
        let searched = entry.body.searched();
        let found = |(text, pattern): &(&Text, String)| {
            let found = match text.case {
                true => searched.contains(pattern.as_str()),
                false => searched.to_lowercase().contains(pattern.as_str()),
            };
            found != text.not
        };
        self.texts.iter().all(found) && (self.context.is_empty() || self.context_holds(entry))
    }

    fn context_holds(&self, entry: &Entry) -> bool {
        let context = entry.body.context.as_deref();
        let Some(context) = context.and_then(|c| serde_json::from_str::<serde_json::Value>(c).ok()) else {
            return false;
        };
        self.context.iter().all(|is| is.holds(&context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(pattern: &str, case: bool) -> Option<String> {
        like(&Text { pattern: pattern.into(), kind: TextKind::Substring, case, not: false })
    }

    #[test]
    fn patterns_find_at_least_what_is_looked_for() {
        assert_eq!(pattern("Time OUT", false).unwrap(), "%me out%");
        assert_eq!(pattern("Disk", false).unwrap(), "%d___%");
        assert_eq!(pattern("100% a_b", true).unwrap(), r"%100\% a\_b%");
        assert_eq!(pattern(r"a\b_c%d", false).unwrap(), r"%a\\b\_c\%d%");
        assert_eq!(pattern("größe", false).unwrap(), "%gr%%e%");
        assert_eq!(pattern("ÄÖ", false), None);
        assert_eq!(pattern("sk", false), None);
        assert_eq!(pattern("sk", true).unwrap(), "%sk%");
    }

    #[test]
    fn values_that_may_be_written_in_other_ways_are_not_compared() {
        let value =
            |value: &str| context_pattern(&ContextIs { key: "k".into(), value: value.into() }).unwrap();
        assert_eq!(value("500"), "%500%");
        assert_eq!(value("a_b"), r"%a\_b%");
        for anything in ["1.5", "1e3", "", "a\"b", "{}", "[1]"] {
            assert_eq!(value(anything), "%", "{anything}");
        }
    }
}
