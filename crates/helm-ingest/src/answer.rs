//! What senders hear.

use helm_lines::json;

use crate::Rejected;

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

/// Most rejected entries that an answer names one by one.
pub const NAMED: usize = 100;

/// `POST /api/logs/ingest`: always 200, with the seed's three keys; `rejected` where there is any.
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
