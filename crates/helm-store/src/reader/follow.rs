//! What is appended, as it comes: in the order of ids in each class, nothing missed, nothing twice.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::matcher::Matcher;
use super::{ReadError, Reader};
use crate::engine::{LogEngine, Rows};
use crate::entry::Entry;
use crate::id::EntryId;
use crate::live::{Live, News, Places};
use crate::partition::Class;
use crate::query::Filter;

/// Where following begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// With what comes now.
    Now,
    /// After these places; a class without a place from its beginning.
    After(Places),
}

/// What a follower gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// The next ones of a class.
    Entries(Class, Vec<Entry>),
    /// The follower was too slow; what it missed can be had by [`Reader::range`].
    Gap(Range),
}

/// Entries of one class by id, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Of which class.
    pub class: Class,
    /// First id that may be there.
    pub from: EntryId,
    /// Last id.
    pub to: EntryId,
}

/// Follows; see [`Reader::follow`].
#[derive(Debug)]
pub struct Follow {
    history: History,
    news: broadcast::Receiver<News>,
    /// Last ids that were dealt with.
    places: Places,
    gaps: VecDeque<Range>,
    /// There may be history that was not asked for yet.
    behind: bool,
}

/// Entries in the order of ids.
#[derive(Debug)]
pub struct History {
    engine: Arc<dyn LogEngine>,
    live: Arc<Live>,
    matcher: Arc<Matcher>,
    todo: VecDeque<Range>,
    open: Option<(Range, Rows)>,
}

impl Reader {
    /// What is appended by this helmd after a place, first what is there, then what comes.
    pub fn follow(&self, filter: Filter, from: From) -> Result<Follow, ReadError> {
        // First the news, then the places: what comes in between is seen twice and told apart by its id.
        let news = self.live.subscribe();
        let (places, behind) = match from {
            From::Now => (self.live.places(self.engine.instance()), false),
            From::After(places) => (places, true),
        };
        Ok(Follow {
            history: self.history(filter, VecDeque::new())?,
            news,
            places,
            gaps: VecDeque::new(),
            behind,
        })
    }

    /// What lies in a range of ids.
    pub fn range(&self, filter: Filter, range: Range) -> Result<History, ReadError> {
        self.history(filter, VecDeque::from([range]))
    }

    fn history(&self, filter: Filter, todo: VecDeque<Range>) -> Result<History, ReadError> {
        let matcher = Arc::new(Matcher::new(filter)?);
        Ok(History { engine: self.engine.clone(), live: self.live.clone(), matcher, todo, open: None })
    }
}

impl Follow {
    /// Last ids that were dealt with: [`From::After`] these goes on without loss or doubling.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What comes next, as soon as it comes. It waits on though the writer has ended: who closes a store ends what follows it. Nothing is lost if
    /// the future is dropped before its end.
    pub async fn next(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            if let Some(gap) = self.gaps.pop_front() {
                return Ok(Some(Item::Gap(gap)));
            }
            if let Some((class, last, entries)) = self.history.piece().await? {
                self.places.insert(class.clone(), last);
                if !entries.is_empty() {
                    return Ok(Some(Item::Entries(class, entries)));
                }
                continue;
            }
            if self.behind {
                // While history was read more came, perhaps more than the news holds.
                self.news = self.history.live.subscribe();
                self.history.todo = self.missed().into();
                self.behind = !self.history.todo.is_empty();
                continue;
            }
            match self.news.recv().await {
                Ok(News::Added(class, entries)) => {
                    if let Some(item) = self.take(class, &entries) {
                        return Ok(Some(item));
                    }
                }
                Ok(News::Look) => self.behind = true,
                Err(RecvError::Lagged(_)) => {
                    // What the news still holds lies in the gap too.
                    self.news = self.history.live.subscribe();
                    self.gaps = self.missed().into();
                    let ends = self.gaps.iter().map(|gap| (gap.class.clone(), gap.to));
                    self.places.extend(ends.collect::<Vec<_>>());
                }
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    fn take(&mut self, class: Class, added: &[Entry]) -> Option<Item> {
        let last = added.last()?.id;
        let known = self.places.get(&class).copied();
        if known.is_none_or(|known| known < last) {
            self.places.insert(class.clone(), last);
        }
        let wanted =
            |entry: &&Entry| known.is_none_or(|known| entry.id > known) && self.history.matcher.wants(entry);
        let entries: Vec<Entry> = added.iter().filter(wanted).cloned().collect();
        (!entries.is_empty()).then_some(Item::Entries(class, entries))
    }

    /// What is there after the places.
    fn missed(&self) -> Vec<Range> {
        let instance = self.history.engine.instance();
        let range = |(class, to): (Class, EntryId)| {
            let from = match self.places.get(&class) {
                Some(last) => EntryId(last.0 + 1),
                None => crate::id::PartitionId { instance, number: 0 }.entry(0),
            };
            Range { class, from, to }
        };
        self.history.live.places(instance).into_iter().map(range).filter(|r| r.from <= r.to).collect()
    }
}

impl History {
    /// The next ones that are wanted; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, ReadError> {
        while let Some((_, _, entries)) = self.piece().await? {
            if !entries.is_empty() {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    /// The next piece: class, the last id that it deals with, and what is wanted of it.
    async fn piece(&mut self) -> Result<Option<(Class, EntryId, Vec<Entry>)>, ReadError> {
        loop {
            if let Some((range, rows)) = &mut self.open {
                match rows.recv().await {
                    Some(Ok(piece)) => {
                        let here = || piece.iter().filter(|entry| entry.id <= range.to);
                        let Some(last) = here().next_back().map(|entry| entry.id) else {
                            match self.end() {
                                Some(done) => return Ok(Some(done)),
                                None => continue,
                            }
                        };
                        let wanted = here().filter(|entry| self.matcher.wants(entry)).cloned().collect();
                        range.from = EntryId(last.0 + 1);
                        return Ok(Some((range.class.clone(), last, wanted)));
                    }
                    Some(Err(error)) => {
                        // Whoever asks again goes on where it broke off.
                        self.todo.push_front(range.clone());
                        self.open = None;
                        return Err(error.into());
                    }
                    None => match self.end() {
                        Some(done) => return Ok(Some(done)),
                        None => continue,
                    },
                }
            }
            let Some(range) = self.todo.pop_front() else { return Ok(None) };
            if let Some(done) = self.begin(range) {
                return Ok(Some(done));
            }
        }
    }

    /// The rows of a range have ended. What is missing at its end is dealt with, too: nobody asks for it again and again.
    fn end(&mut self) -> Option<(Class, EntryId, Vec<Entry>)> {
        let (range, _rows) = self.open.take()?;
        (range.from <= range.to).then_some((range.class, range.to, Vec::new()))
    }

    /// Opens the first partition of a range, and puts the rest back. What is passed over as a whole is returned as done.
    fn begin(&mut self, range: Range) -> Option<(Class, EntryId, Vec<Entry>)> {
        let manifest = self.live.manifest();
        let holds = |p: &crate::partition::Partition| {
            let (first, end) = p.id.ids();
            p.class == range.class && first <= range.to && end > range.from && p.contents.rows > 0
        };
        let partition = manifest.values().find(|p| holds(p))?;
        let (first, end) = partition.id.ids();
        if end <= range.to {
            self.todo.push_front(Range { from: end, ..range.clone() });
        }
        let last = EntryId(range.to.0.min(end.0 - 1));
        if !self.matcher.may_be_in(partition) {
            return Some((range.class, last, Vec::new()));
        }
        let from = if range.from > first { range.from.row() } else { 0 };
        self.open = Some((Range { to: last, ..range }, self.engine.rows(partition.id, from)));
        None
    }
}
