//! What senders hear.

use helm_lines::json;

use crate::{Rejected, wire};

/// What became of a body, after helmd's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Entries of the body.
    pub total: u32,
    /// Entries that are kept (also such that were kept before, for a repeated batch).
    pub ingested: u32,
    /// The others, by index.
    pub rejected: Vec<Rejected>,
}

/// What a document of `_bulk` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `index`.
    Index,
    /// `create`.
    Create,
    /// `update`: refused.
    Update,
    /// `delete`: refused.
    Delete,
}

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// Most rejected entries that an answer names one by one.
pub const NAMED: usize = 100;

/// `POST /api/logs/ingest`, and lines: always 200, with the seed's three keys; `rejected` where there is any.
pub fn hivematrix(outcome: &Outcome) -> String {
    let n = outcome.ingested;
    let mut out =
        format!(r#"{{"ingested":{n},"message":"Successfully ingested {n} log entries","success":true"#);
    if !outcome.rejected.is_empty() {
        out.push_str(r#","rejected":["#);
        for (at, rejected) in outcome.rejected.iter().take(NAMED).enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            out.push_str(&format!(r#"{{"index":{},"reason":"#, rejected.index));
            json::quote(&mut out, &rejected.reason);
            out.push('}');
        }
        out.push(']');
        if outcome.rejected.len() > NAMED {
            out.push_str(&format!(r#","rejected_total":{}"#, outcome.rejected.len()));
        }
    }
    out.push('}');
    out
}

/// The body of OTLP's answer: success, with `partial_success` where entries were refused (they are not to be sent again).
pub fn otlp(json: bool, outcome: &Outcome) -> Vec<u8> {
    let rejected = u64::try_from(outcome.rejected.len()).unwrap_or(u64::MAX);
    let words = summary(outcome);
    if json {
        let mut out = String::from("{");
        if let Some(words) = &words {
            out.push_str(&format!(r#""partialSuccess":{{"rejectedLogRecords":"{rejected}","errorMessage":"#));
            json::quote(&mut out, words);
            out.push('}');
        }
        out.push('}');
        return out.into_bytes();
    }
    let mut out = Vec::new();
    if let Some(words) = &words {
        let mut partial = Vec::new();
        wire::put_number(&mut partial, 1, rejected);
        wire::put_bytes(&mut partial, 2, words.as_bytes());
        wire::put_bytes(&mut out, 1, &partial);
    }
    out
}

/// The body of OTLP's answer that nothing was taken: a `google.rpc.Status`, whose code is that of the HTTP status.
pub fn otlp_error(json: bool, status: u16, words: &str) -> Vec<u8> {
    let code = match status {
        400 | 413 | 415 => 3,
        401 => 16,
        403 => 7,
        429 => 8,
        _ => 14,
    };
    if json {
        let mut out = format!(r#"{{"code":{code},"message":"#);
        json::quote(&mut out, words);
        out.push('}');
        return out.into_bytes();
    }
    let mut out = Vec::new();
    wire::put_number(&mut out, 1, code);
    wire::put_bytes(&mut out, 2, words.as_bytes());
    out
}

/// The body of `_bulk`'s answer: an item for each document, in their order.
pub fn bulk(verbs: &[Verb], outcome: &Outcome) -> String {
    let mut out = format!(r#"{{"took":0,"errors":{},"items":["#, !outcome.rejected.is_empty());
    let mut rejected = outcome.rejected.iter().peekable();
    for (verb, index) in verbs.iter().zip(0_u32..) {
        out.push_str(if index == 0 { "" } else { "," });
        out.push_str(&format!(r#"{{"{}":{{"_index":"helm","#, verb.word()));
        match rejected.next_if(|rejected| rejected.index == index) {
            None => out.push_str(r#""status":201,"result":"created"}}"#),
            Some(rejected) => {
                out.push_str(r#""status":400,"error":{"type":"illegal_argument_exception","reason":"#);
                json::quote(&mut out, &rejected.reason);
                out.push_str("}}}");
            }
        }
    }
    out.push_str("]}");
    out
}

/// What `_bulk` answers where nothing was taken.
pub fn bulk_error(status: u16, words: &str) -> String {
    let kind = match status {
        401 | 403 => "security_exception",
        429 => "es_rejected_execution_exception",
        503 => "unavailable_shards_exception",
        _ => "illegal_argument_exception",
    };
    let mut out = format!(r#"{{"error":{{"type":"{kind}","reason":"#);
    json::quote(&mut out, words);
    out.push_str(&format!(r#"}},"status":{status}}}"#));
    out
}

/// What was refused, in one sentence.
fn summary(outcome: &Outcome) -> Option<String> {
    let first = outcome.rejected.first()?;
    let (count, total) = (outcome.rejected.len(), outcome.total);
    Some(format!(
        "{count} of {total} log records were refused; the first is number {}: {}",
        first.index, first.reason
    ))
}
