//! What a filter means, said a second time and as plainly as can be: the engines are compared with it.

use helm_store::entry::{Entry, flag};
use helm_store::query::{ContextIs, Cursor, Filter, Order, Text, TextKind};

/// What a scan must give.
pub(crate) fn wanted(
    all: &[Entry],
    filter: &Filter,
    order: Order,
    after: Option<Cursor>,
    limit: usize,
) -> Vec<Entry> {
    let mut found: Vec<Entry> = all.iter().filter(|e| matches(filter, e)).cloned().collect();
    found.sort_by_key(Cursor::of);
    if order == Order::Newest {
        found.reverse();
    }
    found.retain(|e| {
        after.is_none_or(|after| match order {
            Order::Newest => Cursor::of(e) < after,
            Order::Oldest => Cursor::of(e) > after,
        })
    });
    found.truncate(limit);
    found
}

/// Whether an entry is wanted. Words and regular expressions are passed over: they are the reader's.
fn matches(filter: &Filter, entry: &Entry) -> bool {
    let body = &entry.body;
    (filter.services.is_empty() || filter.services.contains(&body.service))
        && filter.levels.is_none_or(|levels| levels.has(body.level))
        && filter.since.is_none_or(|since| body.at >= since)
        && filter.until.is_none_or(|until| body.at < until)
        && filter.trace.as_ref().is_none_or(|trace| body.trace.as_ref() == Some(trace))
        && filter.user.as_ref().is_none_or(|user| body.user.as_ref() == Some(user))
        && filter.source.is_none_or(|source| body.source == source)
        && (filter.twins || body.flags & flag::TWIN == 0)
        && filter.context.iter().all(|is| has(is, body.context.as_deref()))
        && filter
            .texts
            .iter()
            .filter(|t| t.kind == TextKind::Substring)
            .all(|t| finds(t, body.searched()) != t.not)
}

fn has(is: &ContextIs, context: Option<&str>) -> bool {
    let context = context.and_then(|c| serde_json::from_str::<serde_json::Value>(c).ok());
    context.is_some_and(|context| reaches(&context, &is.key, &is.value))
}

/// A dot is part of a name, or stands between two.
fn reaches(within: &serde_json::Value, key: &str, value: &str) -> bool {
    let Some(object) = within.as_object() else { return false };
    object.iter().any(|(name, inner)| match key.strip_prefix(name.as_str()) {
        Some("") => inner.as_str().map_or_else(|| inner.to_string(), str::to_owned) == value,
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| reaches(inner, rest, value)),
        None => false,
    })
}

fn finds(text: &Text, searched: &str) -> bool {
    if text.case {
        searched.contains(&text.pattern)
    } else {
        searched.to_lowercase().contains(&text.pattern.to_lowercase())
    }
}
