//! What a database must be able to do with numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rollup::{HOUR, MINUTE, Rollup};
use crate::engine::Answer;

/// What a series measures.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// Name of the service; `host` is the host.
    pub service: String,
    /// Name of the metric.
    pub metric: String,
    /// What tells it from others of that name.
    pub tags: BTreeMap<String, String>,
}

/// Number of a series, unique in its instance.
pub type SeriesId = u32;

/// Coarser tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Tier {
    /// Length of its steps, nanoseconds.
    pub fn step(self) -> i64 {
        match self {
            Tier::Minute => MINUTE,
            Tier::Hour => HOUR,
        }
    }

    /// Name of its table.
    pub(crate) fn table(self) -> &'static str {
        match self {
            Tier::Minute => "metric_minute",
            Tier::Hour => "metric_hour",
        }
    }
}

/// Rows that are taken away in one transaction.
pub(crate) const PIECE: u32 = 5_000;

/// Tags as a database keeps them.
pub(crate) fn tags_text(tags: &BTreeMap<String, String>) -> String {
    serde_json::json!(tags).to_string()
}

/// From [`tags_text`].
pub(crate) fn tags_of(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Raw samples of one series and one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Whose.
    pub series: SeriesId,
    /// Beginning of the hour, nanoseconds since 1970.
    pub hour: i64,
    /// See [`super::block`].
    pub bytes: Vec<u8>,
}

/// One transaction. Whatever is there under the same key is replaced: carrying it out twice changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Series that are new.
    pub series: Vec<(SeriesId, SeriesKey)>,
    /// Blocks.
    pub blocks: Vec<Block>,
    /// Minutes.
    pub minutes: Vec<(SeriesId, Rollup)>,
    /// Hours.
    pub hours: Vec<(SeriesId, Rollup)>,
}

impl Batch {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.blocks.is_empty() && self.minutes.is_empty() && self.hours.is_empty()
    }
}

/// What a restart goes on with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unrolled {
    /// The newest hour that is rolled up. Hours are rolled up in order, all series at once: this one and all before it are whole.
    pub rolled: Option<i64>,
    /// Blocks of all series that are newer than that, by hour.
    pub blocks: Vec<Block>,
}

/// What is too old, nanoseconds since 1970: all before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff {
    /// Blocks whose hour begins before this.
    pub raw: i64,
    /// Minutes.
    pub minutes: i64,
    /// Hours.
    pub hours: i64,
}

/// A database of numbers. All calls are about this helmd's instance.
pub trait MetricEngine: Send + Sync + std::fmt::Debug {
    /// All series.
    fn series(&self) -> Answer<'_, Vec<(SeriesId, SeriesKey)>>;
    /// Blocks that have not gone into hours yet.
    fn unrolled(&self) -> Answer<'_, Unrolled>;
    /// Keeps a batch, all or nothing.
    fn put<'a>(&'a self, batch: &'a Batch) -> Answer<'a, ()>;
    /// Blocks of a series whose hours begin in `from` (inclusive) to `to` (exclusive), oldest first.
    fn blocks(&self, series: SeriesId, from: i64, to: i64) -> Answer<'_, Vec<Block>>;
    /// Roll-ups of a series in that range, oldest first.
    fn rollups(&self, series: SeriesId, tier: Tier, from: i64, to: i64) -> Answer<'_, Vec<Rollup>>;
    /// Takes away what is too old, in pieces that do not hold up others; tells how many rows went.
    fn forget(&self, cutoff: Cutoff) -> Answer<'_, u64>;
}
