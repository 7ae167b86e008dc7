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
    let Some(mut value) = context.and_then(|c| serde_json::from_str::<serde_json::Value>(c).ok()) else {
        return false;
    };
    for key in is.key.split('.') {
        match value.get_mut(key) {
            Some(inner) => value = inner.take(),
            None => return false,
        }
    }
    value.as_str().map_or_else(|| value.to_string(), str::to_owned) == is.value
}

fn finds(text: &Text, searched: &str) -> bool {
    if text.case {
        searched.contains(&text.pattern)
    } else {
        searched.to_lowercase().contains(&text.pattern.to_lowercase())
    }
}
