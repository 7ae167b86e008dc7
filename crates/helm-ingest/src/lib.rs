//! Bodies of what the world sends become batches of entries, with a verdict for each.
//!
//! ```text
//!  bytes --> unpack (gzip, zstd; bounded) --> decode (one of the formats) --> Decoded --> helmd's Append --> Outcome --> answer
//! ```
//!
//! No IO and no clock. Nothing here decides who may send, or what is kept: helmd judges each entry again. What is known about
//! each format, and the bounds: docs/ingest.md. No body, however made, costs more memory than a few times its own size: nothing
//! is built of what is not kept.

pub mod answer;
mod body;
mod bulk;
pub mod elastic;
mod explain;
mod hivematrix;
mod lines;
mod loki;
mod otlp;
mod record;
mod shared;
pub mod unpack;
mod wire;

use std::borrow::Cow;

use helm_core::time::Wall;

pub use body::{BodyError, Door, Format};
pub use explain::explain;
pub use record::{Record, Refusal};

/// Most entries of one body in HiveMatrix's own format (contract 4.5); also most entries of one `Append`.
pub const ENTRIES_MAX: usize = 10_000;

/// Most entries of a body in any other format: their senders make batches by bytes.
pub const FOREIGN_MAX: usize = 100_000;

/// What a request says beside its body.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whose the entries are that name no service: from the token or from `?service=`. A valid name.
    pub service: Option<&'a str>,
    /// The index in the path of `_bulk` (`/es/INDEX/_bulk`): whose documents are that say nothing, if nobody else does.
    pub index: Option<&'a str>,
    /// When it arrived: what a time without a year or a day is read by.
    pub arrived: Wall,
}

/// What was read of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// The service of all records that name none. Empty only where all do.
    pub service: String,
    /// What can be passed on, in the order of the body: at most [`ENTRIES_MAX`] in HiveMatrix's format, [`FOREIGN_MAX`] in others
    /// (more than one `Append` takes: [`Decoded::pieces`]).
    pub records: Vec<Record>,
    /// What cannot, and why.
    pub rejected: Vec<Rejected>,
    /// Entries of the body: those above together.
    pub total: u32,
    /// Bytes that are no UTF-8 were replaced by U+FFFD.
    pub invalid_utf8: bool,
    /// What each document of a `_bulk` body asked for, by index; empty for other formats.
    pub verbs: Vec<answer::Verb>,
}

/// One entry that is not passed on, or was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its place in the body, counted from 0.
    pub index: u32,
    /// In words.
    pub reason: Cow<'static, str>,
}

impl Decoded {
    /// The records in pieces that one `Append` takes each: at most [`ENTRIES_MAX`] records and about 4 MiB of text.
    pub fn pieces(records: Vec<Record>) -> impl Iterator<Item = Vec<Record>> {
        let mut left = records.into_iter().peekable();
        std::iter::from_fn(move || {
            let (mut piece, mut bytes) = (Vec::new(), 0);
            while piece.len() < ENTRIES_MAX && bytes < PIECE {
                let Some(record) = left.next() else { break };
                bytes += record.message.len() + record.context_json.len();
                piece.push(record);
            }
            (!piece.is_empty()).then_some(piece)
        })
    }

    fn reject(&mut self, index: u32, why: Refusal) {
        self.rejected.push(Rejected { index, reason: Cow::Owned(why.to_string()) });
    }

    /// Takes what became of the entry with this index.
    fn take(&mut self, index: u32, result: Result<Record, Refusal>) {
        match result {
            Ok(record) => self.records.push(Record { index, ..record }),
            Err(why) => self.reject(index, why),
        }
    }
}

/// Bytes of text behind which a piece ends.
const PIECE: usize = 4 << 20;

/// Reads a body. It is unpacked already ([`unpack::unpack`]).
pub fn decode(format: Format, asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    match format {
        Format::HiveMatrix => hivematrix::decode(asked, body),
        Format::Lines => lines::decode(asked, body),
        Format::OtlpProtobuf => otlp::proto::decode(asked, body),
        Format::OtlpJson => otlp::json::decode(asked, body),
        Format::LokiProtobuf => loki::proto::decode(asked, body),
        Format::LokiJson => loki::json::decode(asked, body),
        Format::Bulk => bulk::decode(asked, body),
    }
}

/// A body as text, and whether bytes of it were replaced.
fn text(body: &[u8]) -> (Cow<'_, str>, bool) {
    match String::from_utf8_lossy(body) {
        Cow::Borrowed(text) => (Cow::Borrowed(text), false),
        Cow::Owned(text) => (Cow::Owned(text), true),
    }
}
