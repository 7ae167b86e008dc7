//! Exports: as they are found, oldest first. Through Nexus, which reads answers whole and waits 30 s at most, they come in pieces.

mod carried;
mod form;

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use helm_client::Logs;
use helm_proto::v1::{LogFilter, SearchLogsRequest};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use utoipa::IntoParams;

use super::asked::{LIMIT, Wanted, What};
use crate::app::App;
use crate::auth::Person;
use crate::auth::credential::Credential;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::request::Arrival;
use crate::routes::input::Params;
use crate::serve::Client;
use form::Form;

/// A piece ends behind so many entries, or bytes.
const PIECE: (u64, usize) = (10_000, 8 << 20);
/// ... or after so long, where little is found: Nexus gives up after 30 s.
const PIECE_WITHIN: Duration = Duration::from_secs(15);
/// Where the next piece begins; absent behind the last one.
pub const NEXT: &str = "x-helm-cursor";

/// In which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// ndjson (default), csv or text; with .gz behind it as a compressed file: ndjson.gz
    format: Option<String>,
    /// Most entries; default: all, and 10,000 through a proxy
    limit: Option<u64>,
    /// Where the last piece ended: its header X-Helm-Cursor
    cursor: Option<String>,
}

/// Entries of the log as a file, oldest first.
///
/// Behind Nexus one answer is a piece: the header `X-Helm-Cursor` says where the next one begins, and is absent behind the last one.
#[utoipa::path(get, path = "/api/v1/logs/export", tag = "logs", params(What, Asked,
    ("context.KEY" = Option<String>, Query, description = "With this value at KEY of the context")),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"), (String = "text/plain"), (String = "application/gzip"))),
    (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody), (status = 404, body = ProblemBody, description = "There is no such service"), (status = 503, body = ProblemBody)))]
pub async fn export(
    State(app): State<App>,
    Person(caller): Person,
    arrival: Arrival,
    headers: HeaderMap,
    Extension(client): Extension<Client>,
    Wanted(filter): Wanted,
    Params(asked): Params<Asked>,
) -> Result<Response> {
    let form = Form::named(asked.format.as_deref())?;
    if asked.limit == Some(0) {
        return Err(Problem::bad_request("limit is at least 1").plain());
    }
    let cursor = asked.cursor.unwrap_or_default();
    let logs = app.backend.logs(&caller.principal).await?;
    let (body, next) = if arrival.prefix.is_empty() {
        let credential = Credential::of(&app, caller, headers, client).await?;
        (whole(&logs, filter, cursor, asked.limit.unwrap_or(0), form, credential).await?, None)
    } else {
        let limit = asked.limit.unwrap_or(PIECE.0).min(PIECE.0);
        let (piece, next) = piece(&logs, filter, cursor, limit, form).await?;
        (Body::from(piece), next)
    };
    let mut response = Response::new(body);
    let (media, name) = form.kind();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(name));
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        headers.insert(NEXT, next);
    }
    Ok(response)
}

/// Everything, as it is found. What goes wrong on the way breaks the answer off: it is not taken for whole.
async fn whole(
    logs: &Logs,
    filter: LogFilter,
    cursor: String,
    limit: u64,
    form: Form,
    credential: Credential,
) -> Result<Body> {
    let head = if cursor.is_empty() { form.head() } else { "" };
    let request =
        SearchLogsRequest { filter: Some(filter), oldest_first: true, cursor, limit, ..Default::default() };
    let found = logs.search(request).await?;
    Ok(carried::body(found, form, head, credential))
}

/// As much as one answer holds, and where the next one begins.
async fn piece(
    logs: &Logs,
    filter: LogFilter,
    mut cursor: String,
    limit: u64,
    form: Form,
) -> Result<(Vec<u8>, Option<String>)> {
    let until = Instant::now() + PIECE_WITHIN;
    let (mut packer, mut bytes, mut read) = (form.packer(), Vec::new(), 0);
    if cursor.is_empty() {
        bytes.extend(packer.take(form.head().to_owned()).map_err(unpackable)?);
    }
    let mut left = limit;
    let next = loop {
        let rest = until.saturating_duration_since(Instant::now()).as_millis();
        let request = SearchLogsRequest {
            filter: Some(filter.clone()),
            oldest_first: true,
            cursor,
            limit: left.min(LIMIT.1.into()),
            time_limit_ms: u64::try_from(rest).unwrap_or(u64::MAX).max(1),
            ..Default::default()
        };
        let mut found = logs.search(request).await?;
        // Where nothing was found in time, the place to go on is told by itself.
        let (mut end, mut at) = (String::new(), String::new());
        while let Some(message) = found.next().await {
            let message = message?;
            left = left.saturating_sub(message.entries.len() as u64);
            let lines = form.lines(message.entries);
            read += lines.len();
            bytes.extend(packer.take(lines).map_err(unpackable)?);
            (end, at) = (message.end, message.cursor);
        }
        let has_room = left > 0 && read < PIECE.1 && Instant::now() < until;
        match then(&end, at, has_room) {
            Then::Over => break None,
            Then::On(at) => cursor = at,
            Then::Rest(at) => break Some(at),
            Then::Nowhere => {
                let words = "the search ended before it reached a place to go on behind: ask again, or for less, by start_time, end_time or service";
                return Err(Problem::unavailable(words, PIECE_WITHIN));
            }
        }
    };
    bytes.extend(packer.end().map_err(unpackable)?);
    Ok((bytes, next))
}

/// Memory takes everything: this does not come.
fn unpackable(e: std::io::Error) -> Problem {
    Problem::unavailable(format!("the export cannot be packed: {e}"), PIECE_WITHIN)
}

/// What follows a search within a piece.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    /// There is nothing further.
    Over,
    /// The piece has room: on behind this place.
    On(String),
    /// The piece is full, or late: the next one begins behind this place.
    Rest(String),
    /// It is late, or helmd has left, and no place was reached.
    Nowhere,
}

/// `end`: what helmd says of a search; `at`: the place that it reached.
fn then(end: &str, at: String, has_room: bool) -> Then {
    match end {
        "complete" => Then::Over,
        _ if at.is_empty() => Then::Nowhere,
        "limit" if has_room => Then::On(at),
        _ => Then::Rest(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_when_it_is_full_or_late_and_says_where_the_next_one_begins() {
        let at = || "7".to_owned();
        for (end, place, has_room, follows) in [
            ("complete", String::new(), true, Then::Over),
            ("complete", at(), false, Then::Over),
            ("limit", at(), true, Then::On(at())),
            ("limit", at(), false, Then::Rest(at())),
            ("time", at(), true, Then::Rest(at())),
            ("time", String::new(), true, Then::Nowhere),
            ("", String::new(), true, Then::Nowhere),
        ] {
            assert_eq!(then(end, place.clone(), has_room), follows, "{end} {place:?} {has_room}");
        }
    }
}
