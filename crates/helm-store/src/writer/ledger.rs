//! What is written next, as a function of values: numbers, ids, chain, counts, and when a partition is closed.
//!
//! [`Ledger::plan`] changes nothing; [`Ledger::opened`] and [`Ledger::committed`] take in what the database has done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::chain::{Chain, Head};
use crate::commit::{ClassState, Commit, CountKey, Once, Position};
use crate::counts::minute_of;
use crate::entry::{Entry, NewEntry, flag};
use crate::id::{Instance, PartitionId};
use crate::once::{KEYS, Keys, Numbers, OWN, SENDER_AGE, Seen};
use crate::partition::{Class, Contents, Partition, RollPolicy, Seal};
use crate::writer::twins::{Paired, Pairing, Twins};
use crate::writer::{Append, AppendError, Part, Queued, Receipt, Refusal};

/// Distinct services in one partition: what a hostile sender can make the counts cost.
pub const SERVICES: usize = 2_000;
/// Senders with numbered batches in one class.
pub const SENDERS: usize = 10_000;
/// A clock that goes back by more was ahead before: times of arrival begin anew, in a new partition. Nanoseconds.
const SET_BACK: i64 = 86_400 * 1_000_000_000;
/// Weight of one entry; what comes is cut long before.
const ENTRY_WEIGHT: usize = 8 << 20;
/// Bytes of a service's name.
const NAME: usize = 255;

/// What an instance knows of its classes.
#[derive(Debug, Clone)]
pub struct Ledger {
    instance: Instance,
    roll: RollPolicy,
    next: u32,
    books: BTreeMap<Class, Book>,
    twins: Twins,
}

/// What is known of one class.
#[derive(Debug, Clone)]
struct Book {
    number: u64,
    head: Head,
    arrived: i64,
    open: Option<Arc<Partition>>,
    cursors: BTreeMap<String, Position>,
    senders: BTreeMap<String, Numbers>,
    keys: Keys,
    queue: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub enum Step {
    /// Begin a partition; ask again then.
    Open(Box<Partition>, Option<(PartitionId, Seal)>),
    /// Write, then answer.
    Write(Box<Planned>),
}

/// A transaction and the answers that it gives.
#[derive(Debug)]
pub struct Planned {
    /// `None`: there is nothing to write.
    pub commit: Option<Commit>,
    /// Of the appends that were taken, in order.
    pub answers: Vec<Result<Receipt, AppendError>>,
    /// Which of the entries are twins of others.
    pub paired: Paired,
}

impl Ledger {
    /// From what the database has.
    pub fn load(
        instance: Instance,
        roll: RollPolicy,
        classes: Vec<ClassState>,
        partitions: &[Partition],
    ) -> Self {
        let own = || partitions.iter().filter(|p| p.id.instance == instance);
        let next = own().map(|p| p.id.number + 1).max().unwrap_or(0);
        let open = |id| own().find(|p| p.id == id).cloned().map(Arc::new);
        let book = |state: ClassState| {
            let mut keys = Keys::default();
            state.keys.iter().for_each(|(key, at)| keys.add(key, *at));
            let book = Book {
                number: state.number,
                head: state.head,
                arrived: state.arrived,
                open: state.open.and_then(open),
                cursors: state.cursors,
                senders: state.senders,
                keys,
                queue: state.queue,
            };
            (state.class, book)
        };
        let books = classes.into_iter().map(book).collect();
        Self { instance, roll, next, books, twins: Twins::default() }
    }

    /// Reads anew what the database has. What waits for its twin was written all the same.
    pub(super) fn reload(&mut self, read: Ledger) {
        let twins = std::mem::take(&mut self.twins);
        *self = Ledger { twins, ..read };
    }

    /// How many classes there are, and whether this is one.
    pub fn knows(&self, class: &Class) -> (usize, bool) {
        (self.books.len(), self.books.contains_key(class))
    }

    /// Where the capture of a service stands: the furthest of all classes that it was in.
    pub fn cursor(&self, service: &str) -> Option<Position> {
        self.books.values().filter_map(|book| book.cursors.get(service)).max().copied()
    }

    /// Position of the local queue.
    pub fn queue(&self) -> u64 {
        self.books.values().map(|book| book.queue).max().unwrap_or(0)
    }

    /// Where the chain of a class ends, and what its open partition holds.
    pub(super) fn end(&self, class: &Class) -> Option<(Head, Contents)> {
        let book = self.books.get(class)?;
        Some((book.head, book.open.as_ref()?.contents.clone()))
    }

    /// The open partitions.
    pub fn open(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.books.values().filter_map(|book| book.open.as_ref())
    }

    /// Takes as many of `appends` from the front as go into one transaction. `appends` is as it was where a partition must be opened first.
    pub fn plan(&self, class: &Class, appends: &mut VecDeque<Append>, now: i64) -> Step {
        let none = Book::none();
        let book = self.books.get(class).unwrap_or(&none);
        let (arrived, set_back) = (book.arrives(now), book.is_ahead_of(now));
        let empty = Contents::empty();
        let mut draft = Draft::of(book, &self.twins);
        while let Some(append) = appends.front_mut() {
            draft.without_known(append);
            if let Some(answer) = draft.known(append, arrived) {
                draft.answers.push(answer);
                appends.pop_front();
                continue;
            }
            let contents = draft.contents.as_ref().unwrap_or(&empty);
            let services = if append.queue.is_some() { usize::MAX } else { SERVICES };
            let (refused, keeps) = examine(contents, &append.entries, services);
            if keeps == 0 && append.cursors.is_empty() && append.once.is_none() && append.queue.is_none() {
                draft.answers.push(Ok(Receipt { ids: None, refused, duplicate: false }));
                appends.pop_front();
                continue;
            }
            match &book.open {
                Some(open) if !set_back && self.roll.takes(open.opened, contents, keeps, arrived) => {
                    let Some(append) = appends.pop_front() else { break };
                    draft.take(open.id, append, refused, arrived);
                }
                // What is taken already is written first.
                Some(_) | None if !draft.is_empty() => break,
                Some(_) | None => return self.opening(class, book, arrived),
            }
        }
        Step::Write(Box::new(draft.finish(class, book, arrived)))
    }

    /// A new partition for a class, unless the open one is empty.
    pub fn roll(&self, class: &Class, now: i64) -> Option<(Partition, Option<(PartitionId, Seal)>)> {
        let book = self.books.get(class)?;
        book.open.as_ref().filter(|open| open.contents.rows > 0)?;
        match self.opening(class, book, book.arrives(now)) {
            Step::Open(partition, seal) => Some((*partition, seal)),
            Step::Write(_) => None,
        }
    }

    fn opening(&self, class: &Class, book: &Book, arrived: i64) -> Step {
        let id = PartitionId { instance: self.instance, number: self.next.min(PartitionId::MAX) };
        let partition = Partition {
            id,
            class: class.clone(),
            opened: arrived,
            before: book.head,
            seal: None,
            contents: Contents::empty(),
            disk: 0,
        };
        // When its last entry arrived, not when somebody closed it: retention counts from there.
        let closed = |open: &Partition| book.arrived.max(open.opened);
        let seal = book.open.as_ref().map(|open| (open.id, Seal { closed: closed(open), head: book.head }));
        Step::Open(Box::new(partition), seal)
    }

    /// The database has opened this partition.
    pub fn opened(&mut self, partition: Partition) {
        self.next = self.next.max(partition.id.number + 1);
        let book = self.books.entry(partition.class.clone()).or_insert_with(Book::none);
        book.arrived = partition.opened;
        book.senders.retain(|_, numbers| numbers.at >= partition.opened.saturating_sub(SENDER_AGE));
        book.open = Some(Arc::new(partition));
    }

    /// The database has carried out this transaction. Returns the partition as it is now.
    pub fn committed(&mut self, commit: &mut Commit, paired: Paired) -> Option<Arc<Partition>> {
        self.twins.apply(paired);
        let book = self.books.get_mut(&commit.class)?;
        book.number = commit.number;
        book.head = commit.head;
        book.arrived = commit.arrived;
        book.cursors.append(&mut commit.cursors);
        book.queue = commit.queue.unwrap_or(book.queue);
        book.senders.append(&mut commit.senders);
        commit.keys.drain(..).for_each(|key| book.keys.add(&key, commit.arrived));
        let contents = std::mem::replace(&mut commit.contents, Contents::empty());
        let open = book.open.as_ref()?;
        let partition = Arc::new(Partition { contents, ..Partition::clone_bare(open) });
        book.open = Some(partition.clone());
        Some(partition)
    }
}

impl Partition {
    /// All but the contents, which are dear to copy.
    fn clone_bare(&self) -> Partition {
        Partition {
            id: self.id,
            class: self.class.clone(),
            opened: self.opened,
            before: self.before,
            seal: self.seal,
            contents: Contents::empty(),
            disk: self.disk,
        }
    }
}

impl Book {
    /// When what comes now arrives: never before what came already, unless that was a lie.
    fn arrives(&self, now: i64) -> i64 {
        if self.is_ahead_of(now) { now } else { self.arrived.max(now) }
    }

    fn is_ahead_of(&self, now: i64) -> bool {
        now < self.arrived.saturating_sub(SET_BACK)
    }

    fn none() -> Self {
        Self {
            number: 0,
            head: Head::GENESIS,
            arrived: i64::MIN,
            open: None,
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            keys: Keys::default(),
            queue: 0,
        }
    }
}

/// Which of the entries cannot be kept, and how many can.
fn examine(contents: &Contents, entries: &[NewEntry], services: usize) -> (Vec<Refusal>, u32) {
    let mut refused = Vec::new();
    let mut new: HashSet<&str> = HashSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let known = contents.services.contains_key(&entry.service) || new.contains(entry.service.as_str());
        let why = fault(entry).or_else(|| {
            (!known && contents.services.len() + new.len() >= services).then(|| {
                format!(
                    "too many services: {SERVICES} names in this partition of the log already; a new one begins within a day"
                )
            })
        });
        match why {
            Some(reason) => refused.push(Refusal { index, reason }),
            None if known => {}
            None => {
                new.insert(&entry.service);
            }
        }
    }
    let keeps = entries.len() - refused.len();
    (refused, u32::try_from(keeps).unwrap_or(u32::MAX))
}

/// What no engine can keep. Whoever takes entries in mends them before; here one bad entry must not take a whole transaction with it.
pub(crate) fn fault(entry: &NewEntry) -> Option<String> {
    let texts = [&entry.plain, &entry.context, &entry.trace, &entry.user, &entry.hostname];
    let mut all = [&entry.service, &entry.message].into_iter().chain(texts.into_iter().flatten());
    if entry.service.is_empty() || entry.service.len() > NAME {
        Some(format!("the name of a service has 1 to {NAME} bytes"))
    } else if entry.weight() > ENTRY_WEIGHT {
        Some(format!("an entry has at most {ENTRY_WEIGHT} bytes"))
    } else if all.any(|text| text.as_bytes().contains(&0)) {
        Some("a text holds the character NUL".to_owned())
    } else {
        None
    }
}

/// A transaction in the making.
struct Draft<'a> {
    book: &'a Book,
    contents: Option<Contents>,
    chain: Chain,
    pairing: Pairing<'a>,
    entries: Vec<Entry>,
    cursors: BTreeMap<String, Position>,
    senders: BTreeMap<String, Numbers>,
    /// How many of them the book does not have.
    new_senders: usize,
    keys: BTreeSet<String>,
    queue: Option<u64>,
    writes: bool,
    answers: Vec<Result<Receipt, AppendError>>,
}

impl<'a> Draft<'a> {
    fn of(book: &'a Book, twins: &'a Twins) -> Self {
        Self {
            book,
            contents: book.open.as_ref().map(|open| open.contents.clone()),
            chain: Chain::from(book.head),
            pairing: Pairing::beside(twins),
            entries: Vec::new(),
            cursors: BTreeMap::new(),
            senders: BTreeMap::new(),
            new_senders: 0,
            keys: BTreeSet::new(),
            queue: None,
            writes: false,
            answers: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// The answer to what was kept before, or can never be.
    fn known(&self, append: &Append, now: i64) -> Option<Result<Receipt, AppendError>> {
        let there = |queued: &Queued| queued.position <= self.queue.unwrap_or(self.book.queue);
        let kept = Some(Ok(Receipt { ids: None, refused: Vec::new(), duplicate: true }));
        if append.queue.as_ref().is_some_and(there) {
            return kept;
        }
        let once = append.once.as_ref()?;
        match (self.seen(once), once) {
            (Seen::Kept, _) => kept,
            (Seen::Unknown, Once::Sequence { number, .. }) => {
                Some(Err(AppendError::Below { number: *number }))
            }
            (Seen::No, Once::Sequence { sender, .. }) => {
                let many = self.book.senders.len() + self.new_senders >= SENDERS;
                (many && self.numbers(sender).is_none())
                    .then_some(Err(AppendError::Senders { most: SENDERS }))
            }
            (Seen::No | Seen::Unknown, Once::Key(key)) if key.starts_with(OWN) => None,
            (Seen::No | Seen::Unknown, Once::Key(_)) => {
                let after = self.book.keys.waits(self.keys.len() + 1, now)?;
                Some(Err(AppendError::Keys { most: KEYS, after }))
            }
        }
    }

    fn numbers(&self, sender: &str) -> Option<&Numbers> {
        self.senders.get(sender).or_else(|| self.book.senders.get(sender))
    }

    fn seen(&self, once: &Once) -> Seen {
        match once {
            Once::Sequence { sender, number } => {
                self.numbers(sender).map_or(Seen::No, |numbers| numbers.seen(*number))
            }
            Once::Key(key) if self.keys.contains(key) || self.book.keys.has(key) => Seen::Kept,
            Once::Key(_) => Seen::No,
        }
    }

    /// What comes from the queue may have been written before it came there, and only the answer was late. It was acknowledged: what is in
    /// doubt is kept.
    fn without_known(&self, append: &mut Append) {
        let Some(queued) = &mut append.queue else { return };
        let mut from = 0;
        for part in &mut queued.parts {
            if part.once.as_ref().is_some_and(|once| self.seen(once) == Seen::Kept) {
                append.entries.drain(from..from + part.entries);
                *part = Part { entries: 0, once: None };
            }
            from += part.entries;
        }
    }

    fn remember(&mut self, once: Once, now: i64) {
        match once {
            Once::Sequence { sender, number } => match self.senders.get_mut(&sender) {
                Some(numbers) => numbers.add(number, now),
                None => {
                    let mut numbers = self.book.senders.get(&sender).copied();
                    let first = Numbers::first(number, now);
                    self.new_senders += usize::from(numbers.is_none());
                    numbers.iter_mut().for_each(|numbers| numbers.add(number, now));
                    self.senders.insert(sender, numbers.unwrap_or(first));
                }
            },
            Once::Key(key) => drop(self.keys.insert(key)),
        }
    }

    fn take(&mut self, partition: PartitionId, append: Append, refused: Vec<Refusal>, now: i64) {
        let contents = self.contents.get_or_insert_with(Contents::empty);
        let mut skip = refused.iter().map(|refusal| refusal.index).peekable();
        let mut ids = None;
        for (index, mut body) in append.entries.into_iter().enumerate() {
            if skip.next_if_eq(&index).is_some() {
                continue;
            }
            // Before it is chained: from then on nothing of it changes.
            if self.pairing.is_twin(&body) {
                body.flags |= flag::TWIN;
            }
            let id = partition.entry(contents.rows);
            contents.add(&body);
            let digest = self.chain.push(id, &body).short();
            ids = Some((ids.map_or(id, |(first, _)| first), id));
            self.entries.push(Entry { id, digest, body });
        }
        self.cursors.extend(append.cursors);
        let mut parts = Vec::new();
        if let Some(queued) = append.queue {
            self.queue = Some(queued.position);
            parts = queued.parts;
        }
        let onces = append.once.into_iter().chain(parts.into_iter().filter_map(|part| part.once));
        onces.for_each(|once| self.remember(once, now));
        self.writes = true;
        self.answers.push(Ok(Receipt { ids, refused, duplicate: false }));
    }

    fn finish(self, class: &Class, book: &Book, arrived: i64) -> Planned {
        let commit = match (&book.open, self.contents) {
            (Some(open), Some(contents)) if self.writes => Some(Commit {
                class: class.clone(),
                partition: open.id,
                number: book.number + 1,
                counts: count(&self.entries),
                entries: self.entries,
                head: self.chain.head(),
                arrived,
                contents,
                cursors: self.cursors,
                senders: self.senders,
                keys: self.keys.into_iter().collect(),
                queue: self.queue,
            }),
            _ => None,
        };
        Planned { commit, answers: self.answers, paired: self.pairing.finish() }
    }
}

/// Twins are not counted (see [`crate::counts`]).
pub(crate) fn count(entries: &[Entry]) -> BTreeMap<CountKey, u64> {
    let mut counts: HashMap<(i64, &str, crate::entry::Level), u64> = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.body.flags & flag::TWIN == 0) {
        *counts.entry((minute_of(entry.body.at), &entry.body.service, entry.body.level)).or_default() += 1;
    }
    let key =
        |(minute, service, level): (i64, &str, _)| CountKey { minute, service: service.to_owned(), level };
    counts.into_iter().map(|(at, count)| (key(at), count)).collect()
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
