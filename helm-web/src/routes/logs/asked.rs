//! What of the log is asked for: a query becomes a filter.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use helm_proto::v1::{ContextIs, LogFilter, LogText};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::{Problem, Result};
use crate::routes::input::{self, Params};
use crate::routes::when;

/// Most entries of a page, and as many as where nobody says.
pub(super) const LIMIT: (u32, u32) = (100, 1000);
/// Most entries to pass over.
const OFFSET: u64 = 10_000;
/// Before the keys of an entry's context.
const CONTEXT: &str = "context.";

/// What of the log is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct What {
    /// Of these services, separated by commas
    service: Option<String>,
    /// Of exactly this level: DEBUG, INFO, WARNING, ERROR or CRITICAL
    level: Option<String>,
    /// Of at least this level
    min_level: Option<String>,
    /// Of this trace
    trace_id: Option<String>,
    /// Of this user
    user_id: Option<String>,
    /// The same as user_id
    user: Option<String>,
    /// From this time on, ISO 8601; UTC where it has no zone
    start_time: Option<String>,
    /// Up to this time
    end_time: Option<String>,
    /// With this in the message, in capitals or not
    search: Option<String>,
    /// With a message that this regular expression matches
    regex: Option<String>,
    /// Without this in the message
    exclude: Option<String>,
    /// captured (printed by services), sent (over HTTP), helm, or former (taken over from the Python Helm)
    source: Option<String>,
    /// Also what was both printed and sent: each is shown once otherwise
    twins: Option<bool>,
}

/// Which part of what is found.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most entries: 1 to 1000, default 100
    limit: Option<u64>,
    /// Entries to pass over: at most 10,000; beyond that use `cursor`
    offset: Option<u64>,
    /// Where the last page ended: its `cursor`
    cursor: Option<String>,
    /// Only what is later than this entry, the oldest first: for those who ask again and again
    after_id: Option<i64>,
    /// newest (default) or oldest: what comes first
    order: Option<String>,
    /// false: `total` is not counted
    total: Option<bool>,
}

/// A page, as helmd is asked for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: u32,
    pub(super) offset: u32,
    pub(super) cursor: String,
    pub(super) after_id: Option<i64>,
    pub(super) oldest_first: bool,
    pub(super) total: bool,
}

impl What {
    /// As helmd understands it.
    fn filter(self, context: Vec<ContextIs>) -> Result<LogFilter> {
        let (since, until) = when::range(self.start_time.as_deref(), self.end_time.as_deref())?;
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (exact, least) = (filled(self.level), filled(self.min_level));
        if exact.is_some() && least.is_some() {
            return Err(Problem::bad_request("level and min_level exclude each other").plain());
        }
        let text = |pattern: Option<String>, kind: &str, not: bool| {
            let pattern = filled(pattern)?;
            Some(LogText { pattern, kind: kind.to_owned(), case_sensitive: false, not })
        };
        let texts = [
            text(self.search, "substring", false),
            text(self.regex, "regex", false),
            text(self.exclude, "substring", true),
        ];
        Ok(LogFilter {
            services: input::names(self.service.as_deref()),
            level_exact: exact.is_some(),
            level: exact.or(least).unwrap_or_default(),
            since,
            until,
            trace_id: self.trace_id.unwrap_or_default(),
            user_id: filled(self.user_id).or(self.user).unwrap_or_default(),
            context,
            texts: texts.into_iter().flatten().collect(),
            source: self.source.unwrap_or_default(),
            twins: self.twins.unwrap_or(false),
            hosts: Vec::new(),
        })
    }
}

impl Paging {
    /// Within its bounds.
    pub(super) fn page(self) -> Result<Page> {
        let bad = |words: String| Err(Problem::bad_request(words).plain());
        let limit = match self.limit {
            None => LIMIT.0,
            Some(0) => return bad("limit is 1 to 1000".to_owned()),
            Some(limit) => u32::try_from(limit).unwrap_or(u32::MAX).min(LIMIT.1),
        };
        let offset = self.offset.unwrap_or(0);
        if offset > OFFSET {
            return bad(format!("offset is at most {OFFSET}: go on with the `cursor` of the answer before"));
        }
        let oldest_first = match self.order.as_deref().unwrap_or_default() {
            "" => self.after_id.is_some(),
            "newest" if self.after_id.is_none() => false,
            "oldest" => true,
            _ => return bad("order is newest or oldest, and oldest with after_id".to_owned()),
        };
        let cursor = self.cursor.unwrap_or_default();
        if !cursor.is_empty() && (offset > 0 || self.after_id.is_some()) {
            return bad("a cursor goes on where a page ended: leave out offset and after_id".to_owned());
        }
        let total = self.total.unwrap_or(true);
        Ok(Page {
            limit,
            offset: u32::try_from(offset).unwrap_or(0),
            cursor,
            after_id: self.after_id,
            oldest_first,
            total,
        })
    }
}

/// The filter of a query.
#[derive(Debug)]
pub struct Wanted(pub LogFilter);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Params(what) = Params::<What>::from_request_parts(parts, state).await?;
        let context = input::keyed(parts, CONTEXT)?;
        let context = context.into_iter().map(|(key, value)| ContextIs { key, value }).collect();
        what.filter(context).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn wanted(query: &str) -> Result<LogFilter> {
        let request = axum::http::Request::get(format!("/api/logs?{query}")).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        Wanted::from_request_parts(&mut parts, &()).await.map(|Wanted(filter)| filter)
    }

    #[tokio::test]
    async fn a_query_becomes_a_filter() {
        let filter = wanted(
            "service=core,%20web&level=ERROR&user=u1&search=a&exclude=b&context.http.status=500&limit=x",
        )
        .await
        .unwrap();
        assert_eq!(filter.services, ["core", "web"]);
        assert!(filter.level_exact && filter.level == "ERROR" && filter.user_id == "u1");
        assert_eq!(filter.context, [ContextIs { key: "http.status".into(), value: "500".into() }]);
        let texts: Vec<_> = filter.texts.iter().map(|text| (text.pattern.as_str(), text.not)).collect();
        assert_eq!(texts, [("a", false), ("b", true)]);
        let least = wanted("min_level=warn").await.unwrap();
        assert!(!least.level_exact && least.level == "warn");
        assert_eq!(wanted("service=&level=&search=").await.unwrap(), LogFilter::default());
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        for query in [
            "level=INFO&level=ERROR",
            "context.a=1&context.a=2",
            "level=INFO&min_level=INFO",
            "start_time=now",
            "start_time=2026-02-01&end_time=2026-01-01",
            "twins=maybe",
            "search=a%00b",
            "search=a%00b&context.a=%00",
        ] {
            assert_eq!(wanted(query).await.unwrap_err().status(), 400, "{query}");
        }
    }

    #[test]
    fn pages_have_bounds() {
        let page = Paging::default().page().unwrap();
        assert_eq!((page.limit, page.offset, page.oldest_first, page.total), (100, 0, false, true));
        let many = Paging { limit: Some(1 << 40), offset: Some(OFFSET), ..Paging::default() };
        assert_eq!(many.page().unwrap().limit, 1000);
        let beyond = Paging { offset: Some(OFFSET + 1), ..Paging::default() };
        assert!(beyond.page().unwrap_err().detail().contains("cursor"));
        assert!(Paging { after_id: Some(7), ..Paging::default() }.page().unwrap().oldest_first);
        for wrong in [
            Paging { limit: Some(0), ..Paging::default() },
            Paging { order: Some("up".into()), ..Paging::default() },
            Paging { order: Some("newest".into()), after_id: Some(1), ..Paging::default() },
            Paging { cursor: Some("a-b".into()), offset: Some(1), ..Paging::default() },
        ] {
            assert_eq!(wrong.page().unwrap_err().status(), 400);
        }
    }
}
