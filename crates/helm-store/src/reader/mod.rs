//! Reads: order, merging, texts.
//!
//! ```text
//!  page, search, context   histogram, facets, total   follow
//!          |                          |                  |
//!        walk (windows of time)    counts (cached)    history, then news
//!          |
//!        merge (partitions in one order) --- matcher (what engines leave to test)
//! ```
//!
//! Nothing here runs by itself: who asks pulls, and whoever stops pulling has ended it.

mod cache;
mod count;
mod follow;
pub mod matcher;
mod merge;
mod walk;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

pub use count::{Bucket, Facets, Histogram, Total};
pub use follow::{Follow, From, History, Item, Range};

use crate::engine::{EngineError, LogEngine};
use crate::entry::Entry;
use crate::id::EntryId;
use crate::live::Live;
use crate::query::{Cursor, Filter, Order, Page};
use cache::Cache;
use matcher::{FilterError, Matcher, is_direct};
use walk::{Step, Walk};

/// Most entries of a page, and on each side of an entry with its context.
pub const PAGE: u32 = 10_000;
/// Weight after which a page ends early.
const PAGE_BYTES: usize = 16 << 20;
/// Entries of one piece of a search.
const PIECE: usize = 256;
/// Weight of one piece of a search.
const PIECE_BYTES: usize = 1 << 20;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The question is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The database does not answer.
    #[error("the log cannot be read")]
    Engine(#[from] EngineError),
}

/// Part of a list.
#[derive(Debug)]
pub struct Entries {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// Where to go on. `None`: that was all.
    pub next: Option<Cursor>,
    /// How far was looked, as a time: `None` where everything was.
    pub looked_to: Option<i64>,
}

/// What a search gives.
#[derive(Debug)]
pub enum Found {
    /// The next ones.
    Entries(Vec<Entry>),
    /// Everything up to this time has been looked at.
    Looked(i64),
    /// It is over.
    End(End),
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything has been looked at.
    Complete,
    /// As many as were asked for; go on after this place.
    Limit(Cursor),
    /// The time is over; go on after this place.
    Time(Option<Cursor>),
}

/// What a search may cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    /// How long it may take.
    pub time: Option<Duration>,
    /// How many are wanted.
    pub limit: Option<u64>,
}

/// How long the neighbours of an entry are looked for.
const CONTEXT: Duration = Duration::from_secs(10);

/// Reads what an engine has. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    engine: Arc<dyn LogEngine>,
    live: Arc<Live>,
    cache: Arc<Mutex<Cache>>,
}

impl Reader {
    /// `live` is that of the writer.
    pub fn new(engine: Arc<dyn LogEngine>, live: Arc<Live>) -> Self {
        Self { engine, live, cache: Arc::default() }
    }

    fn walk(&self, matcher: Matcher, order: Order, after: Option<Cursor>) -> Walk {
        Walk::new(self.engine.clone(), self.live.clone(), Arc::new(matcher), order, after)
    }

    /// One page. It takes at most `time`: then it may be short, or empty, and `next` says where to go on.
    pub async fn page(&self, page: &Page, time: Duration) -> Result<Entries, ReadError> {
        self.pages(page, 0, Some(Instant::now() + time)).await
    }

    async fn pages(
        &self,
        page: &Page,
        mut skip: u64,
        deadline: Option<Instant>,
    ) -> Result<Entries, ReadError> {
        let limit = page.limit.min(PAGE) as usize;
        let direct = is_direct(&page.filter);
        let mut walk = self.walk(Matcher::new(page.filter.clone())?, page.order, page.after);
        let mut entries: Vec<Entry> = Vec::new();
        let mut weight = 0;
        let after_last = |entries: &[Entry]| entries.last().map(Cursor::of).or(page.after);
        loop {
            // One more than is wanted tells whether there are more, where that is cheap.
            if entries.len() > limit || (entries.len() == limit && !direct) || weight > PAGE_BYTES {
                entries.truncate(limit);
                let next = after_last(&entries);
                return Ok(Entries { looked_to: next.map(|next| next.at), next, entries });
            }
            match walk.next(deadline).await? {
                Step::Entry(_) if skip > 0 => skip -= 1,
                Step::Entry(entry) => {
                    weight += entry.body.weight();
                    entries.push(*entry);
                }
                Step::Looked(_) => {}
                Step::End => return Ok(Entries { entries, next: None, looked_to: None }),
                Step::Time(place) => {
                    let next = place.or_else(|| after_last(&entries));
                    return Ok(Entries { looked_to: next.map(|next| next.at), next, entries });
                }
            }
        }
    }

    /// A page that begins after `offset` entries: whole partitions, days, hours and minutes are passed over by their counts where the filter
    /// allows that, else entry by entry.
    pub async fn offset(&self, page: &Page, offset: u64, time: Duration) -> Result<Entries, ReadError> {
        let deadline = Instant::now() + time;
        let (after, rest) = self.pass(&page.filter, page.order, page.after, offset, deadline).await?;
        self.pages(&Page { after, ..page.clone() }, rest, Some(deadline)).await
    }

    /// Everything that is wanted, piece by piece; an export without limits, a search with some.
    pub fn search(
        &self,
        filter: Filter,
        order: Order,
        after: Option<Cursor>,
        budget: Budget,
    ) -> Result<Search, ReadError> {
        let walk = self.walk(Matcher::new(filter)?, order, after);
        let deadline = budget.time.map(|time| Instant::now() + time);
        Ok(Search {
            walk,
            deadline,
            left: budget.limit,
            held: Vec::new(),
            weight: 0,
            given: false,
            end: None,
            over: false,
        })
    }

    /// One entry.
    pub async fn get(&self, id: EntryId) -> Result<Option<Entry>, ReadError> {
        Ok(self.engine.get(id).await?)
    }

    /// An entry with those of its service before and after it, oldest first, and its place among them.
    pub async fn context_around(
        &self,
        id: EntryId,
        before: u32,
        after: u32,
    ) -> Result<Option<(Vec<Entry>, usize)>, ReadError> {
        let Some(entry) = self.get(id).await? else { return Ok(None) };
        let filter = Filter { services: vec![entry.body.service.clone()], ..Filter::default() };
        let side =
            |order, limit| Page { filter: filter.clone(), order, after: Some(Cursor::of(&entry)), limit };
        // Found by an index: where even that takes so long, fewer are better than none.
        let deadline = Some(Instant::now() + CONTEXT);
        let mut all = self.pages(&side(Order::Newest, before), 0, deadline).await?.entries;
        all.reverse();
        let place = all.len();
        let later = self.pages(&side(Order::Oldest, after), 0, deadline).await?.entries;
        all.push(entry);
        all.extend(later);
        Ok(Some((all, place)))
    }
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    walk: Walk,
    deadline: Option<Instant>,
    left: Option<u64>,
    held: Vec<Entry>,
    weight: usize,
    /// Whether a hit was given: the first goes out alone.
    given: bool,
    end: Option<Found>,
    over: bool,
}

impl Search {
    /// What comes next; `None` after the end. The future must be awaited to its end, or the search be dropped.
    pub async fn next(&mut self) -> Result<Option<Found>, ReadError> {
        loop {
            if self.over {
                return Ok(None);
            }
            if let Some(end) = self.end.take() {
                if !self.held.is_empty() {
                    self.end = Some(end);
                    return Ok(Some(self.give()));
                }
                self.over = matches!(end, Found::End(_));
                return Ok(Some(end));
            }
            match self.walk.next(self.deadline).await? {
                Step::Entry(entry) => {
                    self.weight += entry.body.weight();
                    let place = Cursor::of(&entry);
                    self.held.push(*entry);
                    self.left = self.left.map(|left| left.saturating_sub(1));
                    if self.left == Some(0) {
                        self.end = Some(Found::End(End::Limit(place)));
                    } else if !self.given || self.held.len() >= PIECE || self.weight >= PIECE_BYTES {
                        return Ok(Some(self.give()));
                    }
                }
                Step::Looked(to) => self.end = Some(Found::Looked(to)),
                Step::End => self.end = Some(Found::End(End::Complete)),
                Step::Time(place) => self.end = Some(Found::End(End::Time(place))),
            }
        }
    }

    fn give(&mut self) -> Found {
        self.given = true;
        self.weight = 0;
        Found::Entries(std::mem::take(&mut self.held))
    }
}
