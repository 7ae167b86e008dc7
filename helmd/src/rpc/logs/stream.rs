//! What comes piece by piece: searches, followers, the proof. Whoever stops listening has ended it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use helm_proto::v1::{FollowLogsResponse, SearchLogsResponse, VerifyLogsResponse, VerifyOutcome};
use helm_store::entry::Entry;
use helm_store::id::PartitionId;
use helm_store::live::Places;
use helm_store::query::{Cursor, Filter, Order, Page};
use helm_store::reader::{End, Follow, Found, Item, Range, ReadError, Search};
use helm_store::verify::{self, Anchor, Report};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, interval, sleep_until};
use tonic::Status;

use super::{PIECE_BYTES, READ_WITHIN, convert, read_error};
use crate::store::told::Outages;
use crate::store::{Opened, Store, in_words};

/// Between two words about how far a proof is.
const PROGRESS: Duration = Duration::from_millis(200);
/// Between two tries to read the past for a follower, while the database is away.
const READ_AGAIN: Duration = Duration::from_secs(1);
/// One proof at a time: each reads everything.
static PROOFS: Semaphore = Semaphore::const_new(1);

type Sink<T> = mpsc::Sender<Result<T, Status>>;

/// `false`: nobody listens any more.
async fn tell<T>(sink: &Sink<T>, message: T) -> bool {
    sink.send(Ok(message)).await.is_ok()
}

/// What lies up to a follower's place: the rest it is told as it comes.
pub(super) struct UpTo {
    opened: Arc<Opened>,
    places: Places,
}

impl UpTo {
    pub(super) fn new(opened: &Arc<Opened>, places: Places) -> Self {
        Self { opened: opened.clone(), places }
    }

    /// Leaves out what comes behind the place. Entries of other instances are never told.
    fn keep(&self, entries: &mut Vec<Entry>) {
        let manifest = self.opened.writer.live().manifest();
        let own = self.opened.engine.instance();
        entries.retain(|entry| {
            let partition =
                entry.id.partition().filter(|id| id.instance == own).and_then(|id| manifest.get(&id));
            partition.is_none_or(|p| self.places.get(&p.class).is_some_and(|place| entry.id <= *place))
        });
    }
}

/// Streams what a search finds.
pub(super) async fn search(
    store: Store,
    mut search: Search,
    place: Option<UpTo>,
    sink: Sink<SearchLogsResponse>,
) {
    loop {
        let found = tokio::select! {
            found = search.next() => found,
            () = sink.closed() => return,
        };
        let message = match found {
            Ok(Some(Found::Entries(mut entries))) => {
                if let Some(place) = &place {
                    place.keep(&mut entries);
                }
                SearchLogsResponse { entries: convert::log_entries(entries), ..Default::default() }
            }
            Ok(Some(Found::Looked(to))) => SearchLogsResponse { looked_to: Some(to), ..Default::default() },
            Ok(Some(Found::End(end))) => {
                let (word, cursor) = match end {
                    End::Complete => ("complete", None),
                    End::Limit(cursor) => ("limit", Some(cursor)),
                    End::Time(cursor) => ("time", cursor),
                };
                let cursor = cursor.map(Cursor::token).unwrap_or_default();
                let notes = store.unstored().into_iter().collect();
                SearchLogsResponse { end: word.to_owned(), cursor, notes, ..Default::default() }
            }
            Ok(None) => return,
            Err(error) => return drop(sink.send(Err(read_error(&store, &error))).await),
        };
        if !tell(&sink, message).await {
            return;
        }
    }
}

/// The last entries, as soon as they can be read, then what comes after `follow`'s places. The first message names the place, so that there is one from the begin.
pub(super) async fn follow(
    store: Store,
    opened: Arc<Opened>,
    mut follow: Follow,
    filter: Filter,
    last: u32,
    sink: Sink<FollowLogsResponse>,
) {
    let mut outages = store.outages(opened.writer.health());
    let places = follow.places().clone();
    if !begin((&store, &opened), &places, (filter, last), &mut outages, &sink).await {
        return;
    }
    loop {
        let cursor = convert::places_token(follow.places());
        let Some(item) = next(&mut follow, &mut outages, &cursor, &sink).await else { return };
        let told = match item {
            Ok(Some(Item::Entries(class, entries))) => {
                let mut places = follow.places().clone();
                let end = places.clone();
                let mut pieces = pieces(entries).peekable();
                loop {
                    let Some(piece) = pieces.next() else { break true };
                    // What was passed over behind the last one belongs to it.
                    let cursor = match (pieces.peek(), piece.last()) {
                        (Some(_), Some(last)) => {
                            places.insert(class.clone(), last.id);
                            convert::places_token(&places)
                        }
                        _ => convert::places_token(&end),
                    };
                    let entries = convert::log_entries(piece);
                    if !tell(&sink, FollowLogsResponse { entries, cursor, ..Default::default() }).await {
                        break false;
                    }
                }
            }
            Ok(Some(Item::Gap(range))) => {
                let cursor = convert::places_token(follow.places());
                let (gap_from, gap_to) = around(&range);
                tell(&sink, FollowLogsResponse { cursor, gap_from, gap_to, ..Default::default() }).await
            }
            Ok(None) => return,
            Err(error) => return drop(sink.send(Err(read_error(&store, &error))).await),
        };
        if !told {
            return;
        }
    }
}

/// Tells the last entries, as soon as they can be read. `false`: nobody listens any more, or there is no way to read them.
async fn begin(
    (store, opened): (&Store, &Arc<Opened>),
    places: &Places,
    (filter, last): (Filter, u32),
    outages: &mut Outages,
    sink: &Sink<FollowLogsResponse>,
) -> bool {
    let cursor = convert::places_token(places);
    let entries = loop {
        match past(opened, places, filter.clone(), last).await {
            Ok(entries) => break entries,
            Err(ReadError::Engine(away)) if away.passes() => {
                if !readable_again(outages, &cursor, sink).await {
                    return false;
                }
            }
            Err(error) => {
                // Who left does not want to know.
                let _ = sink.send(Err(read_error(store, &error))).await;
                return false;
            }
        }
    };
    let mut pieces = pieces(entries);
    let first = pieces.next().unwrap_or_default();
    for entries in std::iter::once(first).chain(pieces) {
        let entries = convert::log_entries(entries);
        let message = FollowLogsResponse { entries, cursor: cursor.clone(), ..Default::default() };
        if !tell(sink, message).await {
            return false;
        }
    }
    true
}

/// Waits until it is worth reading again, and says why it was not. `false`: nobody listens any more.
async fn readable_again(outages: &mut Outages, cursor: &str, sink: &Sink<FollowLogsResponse>) -> bool {
    tokio::select! {
        note = outages.next() => tell(sink, noted(note, cursor)).await,
        // What ends sooner than it is told, or only reads have noticed.
        () = sleep_until(Instant::now() + READ_AGAIN) => true,
        () = sink.closed() => false,
    }
}

fn noted(note: String, cursor: &str) -> FollowLogsResponse {
    FollowLogsResponse { cursor: cursor.to_owned(), notes: vec![note], ..Default::default() }
}

/// What comes next; meanwhile it is said why nothing does. `None`: nobody listens any more.
async fn next(
    follow: &mut Follow,
    outages: &mut Outages,
    cursor: &str,
    sink: &Sink<FollowLogsResponse>,
) -> Option<Result<Option<Item>, ReadError>> {
    // One and the same until it is there: what it has taken from the news must not be lost.
    let mut next = std::pin::pin!(follow.next());
    loop {
        let note = tokio::select! {
            item = &mut next => return Some(item),
            note = outages.next() => note,
            () = sink.closed() => return None,
        };
        if !tell(sink, noted(note, cursor)).await {
            return None;
        }
    }
}

/// The newest entries that lie before the places, oldest first: what lies behind them is told as it comes.
async fn past(
    opened: &Arc<Opened>,
    places: &Places,
    filter: Filter,
    last: u32,
) -> Result<Vec<Entry>, ReadError> {
    if last == 0 {
        return Ok(Vec::new());
    }
    let page = Page { filter, order: Order::Newest, after: None, limit: last };
    let mut entries = opened.reader.page(&page, READ_WITHIN).await?.entries;
    UpTo::new(opened, places.clone()).keep(&mut entries);
    entries.reverse();
    Ok(entries)
}

/// The places before and at the end of a gap. Where it begins with the first entry of a class, there is none before.
fn around(range: &Range) -> (String, String) {
    let begins = range.from.partition().is_some_and(|p| p.number == 0 && range.from.row() == 0);
    let place = |id: i64| convert::places_token(&[(range.class.clone(), helm_store::id::EntryId(id))].into());
    let from = if begins { convert::places_token(&Places::new()) } else { place(range.from.0 - 1) };
    (from, place(range.to.0))
}

/// Entries after `from` up to `until`, by class and id: what a gap holds.
pub(super) async fn between(
    store: Store,
    opened: Arc<Opened>,
    filter: Filter,
    from: Places,
    until: Places,
    sink: Sink<FollowLogsResponse>,
) {
    let first = PartitionId { instance: opened.engine.instance(), number: 0 }.entry(0);
    // Class by class: behind each piece one goes on with what is left of its class, and with all others.
    let mut places = from.clone();
    for (class, to) in until {
        let from = from.get(&class).map_or(first, |place| helm_store::id::EntryId(place.0 + 1));
        let mut history = match opened.reader.range(filter.clone(), Range { class: class.clone(), from, to })
        {
            Ok(history) => history,
            Err(error) => return drop(sink.send(Err(read_error(&store, &error))).await),
        };
        loop {
            let entries = match history.next().await {
                Ok(Some(entries)) => entries,
                Ok(None) => break,
                Err(error) => return drop(sink.send(Err(read_error(&store, &error))).await),
            };
            for piece in pieces(entries) {
                if let Some(last) = piece.last() {
                    places.insert(class.clone(), last.id);
                }
                let cursor = convert::places_token(&places);
                let entries = convert::log_entries(piece);
                if !tell(&sink, FollowLogsResponse { entries, cursor, ..Default::default() }).await {
                    return;
                }
            }
        }
    }
}

/// Entries in pieces that fit a message.
fn pieces(entries: Vec<Entry>) -> impl Iterator<Item = Vec<Entry>> {
    let mut rest = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut piece = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = rest.next_if(|_| bytes < PIECE_BYTES) {
            bytes += entry.body.weight();
            piece.push(entry);
        }
        (!piece.is_empty()).then_some(piece)
    })
}

/// Proves the log, and says how far it is.
pub(super) async fn prove(opened: Arc<Opened>, anchors: Vec<Anchor>, sink: Sink<VerifyLogsResponse>) {
    let Ok(_turn) = PROOFS.acquire().await else { return };
    let of = opened.writer.live().manifest().values().map(|p| u64::from(p.contents.rows)).sum();
    let progress = Arc::new(AtomicU64::new(0));
    let options = verify::Options { anchors, progress: progress.clone(), ..Default::default() };
    let work = verify::verify(opened.engine.clone(), options);
    tokio::pin!(work);
    let mut look = interval(PROGRESS);
    loop {
        let entries = || progress.load(Ordering::Relaxed);
        tokio::select! {
            done = &mut work => {
                let message = match done {
                    Ok(report) => {
                        let entries = report.chains.iter().map(|chain| chain.rows).sum();
                        Ok(VerifyLogsResponse { entries, of: entries, outcome: Some(outcome(&report)) })
                    }
                    Err(error) => Err(helm_proto::reason::store_away(&in_words(&error))),
                };
                // Nobody listens: nobody wants to know.
                let _ = sink.send(message).await;
                return;
            }
            _ = look.tick() => {
                if !tell(&sink, VerifyLogsResponse { entries: entries().min(of), of, outcome: None }).await {
                    return;
                }
            }
            () = sink.closed() => return,
        }
    }
}

fn outcome(report: &Report) -> VerifyOutcome {
    let removed = report.chains.iter().filter(|chain| chain.removed > 0).map(|chain| {
        let (class, instance) = (&chain.class.0, chain.instance.0);
        format!(
            "class {class} of instance {instance}: {} partition(s), each on record in the chain",
            chain.removed
        )
    });
    let unproved = report
        .unproved
        .iter()
        .map(|anchor| format!("anchor {anchor}: retention has removed what it proved, on record"));
    // What does not fit must not be what is proved from now on.
    let ends = report.chains.iter().filter_map(|chain| chain.end.as_ref()).filter(|_| report.ok());
    VerifyOutcome {
        ok: report.ok(),
        findings: report.faults.iter().map(ToString::to_string).collect(),
        anchors: ends.map(ToString::to_string).collect(),
        removed: removed.chain(unproved).collect(),
        faults: report.faults.iter().map(convert::verify_fault).collect(),
    }
}
