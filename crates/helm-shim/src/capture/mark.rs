//! The capture record: what is being rendered from where to where. See docs/keeper.md, "The capture protocol".

use helm_core::status::RunId;
use helm_core::time::Wall;
use serde::{Deserialize, Serialize};

/// Bytes of one slot of the capture record.
pub(crate) const MARK_SLOT: usize = 2 << 10;

/// An intent: the batch that is (or was, or is to be) written at `offset` of `segment`. All of the batch follows from
/// this and the spools, byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// A segment of another boot is never appended to.
    pub(crate) boot_id: String,
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Where the batch begins in it.
    pub(crate) offset: u64,
    /// The time that all lines of the batch carry.
    pub(crate) at: Wall,
    /// What is rendered of each stream.
    pub(crate) spans: [Span; 2],
    /// The run whose output is not drained yet.
    pub(crate) open_run: Option<RunId>,
    /// A line of our own, in front of the batch.
    pub(crate) notice: Option<String>,
}

/// The part of one stream in a batch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Begin in the spool.
    pub(crate) from: u64,
    /// End in the spool: everything before it is rendered once the batch is written.
    pub(crate) to: u64,
    /// The last piece was not the end of its line.
    pub(crate) mid_line: bool,
    /// The spool is being emptied: whatever is in it was rendered.
    #[serde(default)]
    pub(crate) resetting: bool,
    /// Dropped and not announced yet.
    #[serde(default)]
    pub(crate) dropped: Dropped,
    /// Announced in this batch.
    #[serde(default)]
    pub(crate) announced: Dropped,
}

/// Output that had to be thrown away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    /// Line ends among it.
    pub(crate) lines: u64,
    /// Bytes.
    pub(crate) bytes: u64,
    /// Why (errno).
    pub(crate) errno: i32,
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[helm] {} lines ({} bytes) dropped: {}", self.lines, self.bytes, reason(self.errno))
    }
}

/// The words for an errno, as perror would say them.
pub(crate) fn reason(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}
