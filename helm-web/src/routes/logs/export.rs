//! Exports: as they are found, oldest first. Through Nexus, which reads answers whole and waits 30 s at most, they come in pieces.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use helm_client::Logs;
use helm_proto::v1::{LogEntry, LogFilter, QueryLogsRequest, SearchLogsRequest, SearchLogsResponse};
use helm_shapes::csv::{CSV_HEAD, Formulas, csv};
use helm_shapes::printed::{Messages, printed};
use helm_shapes::time::utc_nanos;
use serde::Deserialize;
use tokio_stream::StreamExt;
use utoipa::IntoParams;

use super::asked::{LIMIT, Wanted, What};
use super::entry::Log;
use crate::app::App;
use crate::auth::Person;
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::request::Arrival;
use crate::routes::input::Params;

/// A piece ends behind so many entries, or bytes.
const PIECE: (u64, usize) = (10_000, 8 << 20);
/// Where the next piece begins; absent behind the last one.
pub const NEXT: &str = "x-helm-cursor";

/// In which form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// ndjson (default), csv or text
    format: Option<String>,
    /// Most entries; default: all, and 10,000 through a proxy
    limit: Option<u64>,
    /// Where the last piece ended: its header X-Helm-Cursor
    cursor: Option<String>,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Ndjson,
    Csv,
    Text,
}

impl Form {
    fn named(name: Option<&str>) -> Result<Self> {
        match name.unwrap_or_default() {
            "" | "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            "text" => Ok(Self::Text),
            _ => Err(Problem::bad_request("format is ndjson, csv or text").plain()),
        }
    }

    /// Media type, and the name of the file.
    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Ndjson => ("application/x-ndjson", "attachment; filename=\"helm-logs.ndjson\""),
            Self::Csv => ("text/csv; charset=utf-8", "attachment; filename=\"helm-logs.csv\""),
            Self::Text => ("text/plain; charset=utf-8", "attachment; filename=\"helm-logs.txt\""),
        }
    }

    fn head(self) -> &'static str {
        if self == Self::Csv { CSV_HEAD } else { "" }
    }

    fn line(self, entry: LogEntry) -> String {
        match self {
            Self::Ndjson => {
                let id = entry.id;
                let json = serde_json::to_string(&Log::from(entry));
                json.unwrap_or_else(|e| format!("{{\"id\":{id},\"error\":\"{e}\"}}")) + "\n"
            }
            Self::Csv => csv(&entry, Messages::Plain, Formulas::Defused),
            Self::Text => text(&entry),
        }
    }

    fn lines(self, entries: Vec<LogEntry>) -> String {
        entries.into_iter().map(|entry| self.line(entry)).collect()
    }
}

/// One entry; further lines of its message stand indented below.
fn text(entry: &LogEntry) -> String {
    let lines = entry.message.trim_end_matches(['\n', '\r']).split('\n');
    let message: Vec<String> = lines.map(|line| printed(line, Messages::Plain)).collect();
    format!("{} {:8} {} {}\n", utc_nanos(entry.at), entry.level, entry.service, message.join("\n    "))
}

/// Entries of the log as a file, oldest first.
///
/// Behind Nexus one answer is a piece: the header `X-Helm-Cursor` says where the next one begins, and is absent behind the last one.
#[utoipa::path(get, path = "/api/v1/logs/export", tag = "logs", params(What, Asked,
    ("context.KEY" = Option<String>, Query, description = "With this value at KEY of the context")),
    responses((status = 200, content((String = "application/x-ndjson"), (String = "text/csv"), (String = "text/plain"))),
    (status = 400, body = PlainBody, description = "Something makes no sense; as problem+json where a number or a key cannot be read"),
    (status = 401, body = ProblemBody), (status = 403, body = PlainBody), (status = 404, body = ProblemBody, description = "There is no such service"), (status = 503, body = ProblemBody)))]
pub async fn export(
    State(app): State<App>,
    Person(caller): Person,
    arrival: Arrival,
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
        (whole(&logs, filter, cursor, asked.limit.unwrap_or(0), form).await?, None)
    } else {
        let limit = asked.limit.unwrap_or(PIECE.0).min(PIECE.0);
        let (piece, next) = piece(logs, filter, cursor, limit, form).await?;
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
async fn whole(logs: &Logs, filter: LogFilter, cursor: String, limit: u64, form: Form) -> Result<Body> {
    let head = if cursor.is_empty() { form.head() } else { "" };
    let request =
        SearchLogsRequest { filter: Some(filter), oldest_first: true, cursor, limit, ..Default::default() };
    let found = logs.search(request).await?;
    let lines = move |message: std::result::Result<SearchLogsResponse, helm_client::ClientError>| {
        message.map(|message| Bytes::from(form.lines(message.entries)))
    };
    let head = tokio_stream::once(Ok(Bytes::from_static(head.as_bytes())));
    Ok(Body::from_stream(head.chain(found.map(lines))))
}

/// As much as one answer holds, and where the next one begins.
async fn piece(
    mut logs: Logs,
    filter: LogFilter,
    mut cursor: String,
    limit: u64,
    form: Form,
) -> Result<(String, Option<String>)> {
    let mut text = if cursor.is_empty() { form.head().to_owned() } else { String::new() };
    let mut left = limit;
    loop {
        let request = QueryLogsRequest {
            filter: Some(filter.clone()),
            oldest_first: true,
            cursor,
            limit: u32::try_from(left).unwrap_or(u32::MAX).min(LIMIT.1),
            ..Default::default()
        };
        let page = logs.query(request).await?;
        left = left.saturating_sub(page.entries.len() as u64);
        text.push_str(&form.lines(page.entries));
        cursor = page.cursor;
        if cursor.is_empty() {
            return Ok((text, None));
        }
        if left == 0 || text.len() >= PIECE.1 {
            return Ok((text, Some(cursor)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_keeps_entries_apart() {
        let entry = LogEntry {
            service: "core".into(),
            level: "ERROR".into(),
            message: "=1\n\x1b[31mb".into(),
            ..Default::default()
        };
        assert_eq!(Form::Ndjson.line(entry.clone()).lines().count(), 1);
        assert!(Form::Csv.line(entry.clone()).contains("\"'=1\nb\""));
        let text = Form::Text.line(entry);
        assert_eq!(text, "1970-01-01T00:00:00.000000000Z ERROR    core =1\n    b\n");
        assert!(Form::named(Some("xml")).is_err());
    }
}
