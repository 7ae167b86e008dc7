//! The one subscription to helmd, for all streams. It runs while somebody listens.
//!
//! What comes is serialised once, log entries in one frame for those that come together, and handed to every stream through a
//! [`Ring`]. A stream that cannot follow is told so; none holds up another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use helm_client::{ClientError, Home, News, Resuming};
use helm_proto::v1::{
    EventRecord, EventsRequest, FollowLogsRequest, FollowLogsResponse, WatchJobsRequest, WatchJobsResponse,
    WatchStatusRequest, WatchStatusResponse,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;

use super::cursor::Cursor;
use super::frame;
use super::ring::{Reader, Ring};
use super::shown::{Line, Shown, ShownJob, event_json, is_same_state};
use crate::situation;

/// Log entries wait so long for others, and are told when there are so many, or so many bytes of them.
const TOGETHER: Duration = Duration::from_millis(100);
pub(super) const MOST_TOGETHER: usize = 500;
pub(super) const BYTES_TOGETHER: usize = 64 << 10;

/// Operations that a stream which begins is told of: as many as helmd keeps.
const MOST_JOBS: usize = 500;

/// One thing that all streams hear of.
#[derive(Debug)]
pub enum Item {
    /// Log entries that came together.
    Logs(Batch),
    /// Something happened.
    Event {
        /// Whose.
        service: String,
        /// As JSON.
        json: String,
    },
    /// How a service is now.
    Status(Arc<Shown>),
    /// What a service uses now.
    Numbers(Arc<Shown>),
    /// How far an operation is.
    Job(Arc<ShownJob>),
    /// A service is configured no more.
    Gone(String),
    /// Log entries that the hub itself was too slow for lie before this.
    Gap,
    /// helmd is away, as JSON why; or it is back.
    Helmd(Option<String>),
}

/// Log entries, one by one for who wants some of them, and whole.
#[derive(Debug)]
pub struct Batch {
    /// Each.
    pub lines: Vec<Line>,
    /// All of them as one event, for every stream that takes them all.
    pub frame: Bytes,
}

impl Item {
    /// What it holds in memory, about.
    fn bytes(&self) -> usize {
        match self {
            Self::Logs(batch) => batch.frame.len() + batch.lines.iter().map(Line::bytes).sum::<usize>(),
            Self::Event { json, .. } => json.len(),
            // Where the picture holds it too it is counted twice.
            Self::Status(shown) | Self::Numbers(shown) => shown.whole.len() + shown.numbers.len(),
            Self::Job(job) => job.json.len(),
            Self::Gone(_) | Self::Gap | Self::Helmd(_) => 0,
        }
    }
}

/// What streams hear, and where they are behind it.
#[derive(Debug, Clone)]
pub struct Told {
    /// What.
    pub item: Arc<Item>,
    /// Behind it.
    pub at: Arc<Cursor>,
}

/// How things are, for a stream that begins.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// By name.
    pub services: BTreeMap<String, Arc<Shown>>,
    /// The operations of the last day, newest first, by id.
    pub jobs: Vec<(String, Arc<ShownJob>)>,
    /// Where the hub is.
    pub at: Arc<Cursor>,
    /// Why helmd is away, if it is, as JSON.
    pub away: Option<String>,
    /// All of helmd's streams have said where they begin: `at` is true.
    pub begun: bool,
}

/// The hub.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    home: Home,
    known: Mutex<Known>,
    items: Arc<Ring<Told>>,
    listeners: watch::Sender<usize>,
    /// Which of the streams of helmd have said where they begin.
    begun: watch::Sender<Begun>,
}

/// What the hub knows.
#[derive(Debug, Default)]
struct Known {
    picture: Picture,
    waiting: Waiting,
}

/// Log entries that wait for others; the picture is before them.
#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<Line>,
    bytes: usize,
    since: Option<Instant>,
    /// helmd's cursor behind them; empty: as it was.
    log: String,
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.lines.len() >= MOST_TOGETHER || self.bytes >= BYTES_TOGETHER
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Begun {
    status: bool,
    events: bool,
    logs: bool,
    jobs: bool,
}

impl Begun {
    fn whole(self) -> bool {
        self.status && self.events && self.logs && self.jobs
    }
}

/// Before helmd is asked again that refused the subscription.
const REST: Duration = Duration::from_secs(1);
/// How long a stream waits for the hub to know how things are: while helmd or its store is away it begins without.
const BEGIN_WITHIN: Duration = Duration::from_millis(900);

/// Somebody listens, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    /// What comes.
    pub items: Reader<Told>,
    /// How things were when it began to.
    pub picture: Picture,
    hub: Arc<Inner>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.hub.listeners.send_modify(|count| *count -= 1);
    }
}

impl Hub {
    /// Of this home's helmd.
    #[must_use]
    pub fn of(home: Home) -> Self {
        Self(Arc::new(Inner {
            home,
            known: Mutex::default(),
            items: Ring::new(),
            listeners: watch::Sender::new(0),
            begun: watch::Sender::new(Begun::default()),
        }))
    }

    /// Listens, from a picture on without a gap.
    pub async fn listen(&self) -> Listener {
        self.0.listeners.send_modify(|count| *count += 1);
        let mut begun = self.0.begun.subscribe();
        let _ = timeout(BEGIN_WITHIN, begun.wait_for(|begun| begun.whole())).await;
        // Told under the same lock: nothing comes between.
        let known = self.0.known();
        let picture = Picture { begun: self.0.begun.borrow().whole(), ..known.picture.clone() };
        Listener { items: self.0.items.read(), picture, hub: self.0.clone() }
    }

    /// Runs the subscription while somebody listens.
    pub async fn run(&self) {
        let mut listeners = self.0.listeners.subscribe();
        // The sender lives as long as this does.
        while listeners.wait_for(|count| *count > 0).await.is_ok() {
            let mut until = listeners.clone();
            tokio::select! {
                () = self.0.subscribe() => {
                    self.0.tell(&mut Known::default(), Item::Gap);
                    sleep_until(Instant::now() + REST).await;
                }
                _ = until.wait_for(|count| *count == 0) => {}
            }
            self.0.begun.send_replace(Begun::default());
            *self.0.known() = Known::default();
            if *self.0.listeners.borrow() == 0 {
                self.0.items.clear();
            }
        }
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All streams of helmd, until one ends for good.
    async fn subscribe(&self) {
        let ourselves = situation::ourselves;
        let status = WatchStatusRequest { names: Vec::new(), numbers: true };
        let events = EventsRequest { last: Some(0), follow: true, mark: true, ..EventsRequest::default() };
        let mut status = Resuming::acting_later(&self.home, ourselves(), status);
        let mut events = Resuming::acting_later(&self.home, ourselves(), events);
        let mut logs = Resuming::acting_later(&self.home, ourselves(), FollowLogsRequest::default());
        let mut jobs = Resuming::acting_later(&self.home, ourselves(), WatchJobsRequest {});
        loop {
            let due = self.known().waiting.since.map(|since| since + TOGETHER);
            let go_on = tokio::select! {
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.flush(&mut self.known());
                    true
                }
                news = status.next() => self.hear(news, |known, message| self.statuses(known, message)),
                news = events.next() => self.hear(news, |known, message| self.event(known, message)),
                news = logs.next() => self.hear(news, |known, message| self.logs(known, message)),
                news = jobs.next() => self.hear(news, |known, message| self.jobs(known, message)),
            };
            if !go_on {
                return;
            }
        }
    }

    /// `false`: nothing more comes.
    fn hear<T>(&self, news: Option<Result<News<T>, ClientError>>, take: impl FnOnce(&mut Known, T)) -> bool {
        let mut known = self.known();
        match news {
            Some(Ok(News::Message(message))) => {
                take(&mut known, message);
                true
            }
            Some(Ok(News::Away(why))) => {
                let why = why.unwrap_or_else(|| "helmd is away".to_owned());
                let json = serde_json::json!({ "away": true, "why": why }).to_string();
                known.picture.away = Some(json.clone());
                self.tell(&mut known, Item::Helmd(Some(json)));
                true
            }
            Some(Ok(News::Back)) => {
                if known.picture.away.take().is_some() {
                    self.tell(&mut known, Item::Helmd(None));
                }
                true
            }
            Some(Err(e)) => {
                tracing::warn!("the subscription to helmd ended: {e}");
                false
            }
            None => false,
        }
    }

    /// Behind what waits.
    fn tell(&self, known: &mut Known, item: Item) {
        self.flush(known);
        self.push(known, item);
    }

    fn push(&self, known: &Known, item: Item) {
        let bytes = item.bytes();
        self.items.push(Told { item: Arc::new(item), at: known.picture.at.clone() }, bytes);
    }

    /// Tells the log entries that wait.
    fn flush(&self, known: &mut Known) {
        let waiting = std::mem::take(&mut known.waiting);
        if !waiting.log.is_empty() {
            known.picture.at = Arc::new(Cursor { event: known.picture.at.event, log: waiting.log });
        }
        if !waiting.lines.is_empty() {
            let json = waiting.lines.iter().map(|line| line.json.as_str());
            let frame = frame::events("logs", json, Some(&known.picture.at));
            self.push(known, Item::Logs(Batch { lines: waiting.lines, frame }));
        }
    }

    fn statuses(&self, known: &mut Known, message: WatchStatusResponse) {
        let services = &mut known.picture.services;
        let mut former = if message.complete { std::mem::take(services) } else { BTreeMap::new() };
        for status in message.services {
            let services = &mut known.picture.services;
            let before = former.remove(&status.name).or_else(|| services.get(&status.name).cloned());
            let now = Arc::new(Shown::from(status));
            services.insert(now.service.clone(), now.clone());
            match before {
                Some(before) if before.status == now.status => {}
                Some(before) if is_same_state(&before.status, &now.status) => {
                    self.tell(known, Item::Numbers(now));
                }
                _ => self.tell(known, Item::Status(now)),
            }
        }
        for gone in former.into_keys() {
            self.tell(known, Item::Gone(gone));
        }
        self.begun.send_modify(|begun| begun.status = true);
    }

    fn event(&self, known: &mut Known, record: EventRecord) {
        self.flush(known);
        if record.id > 0 {
            let log = known.picture.at.log.clone();
            known.picture.at = Arc::new(Cursor { event: record.id, log });
        }
        self.begun.send_modify(|begun| begun.events = true);
        if !record.kind.is_empty() {
            let json = event_json(&record);
            self.tell(known, Item::Event { service: record.service, json });
        }
    }

    fn jobs(&self, known: &mut Known, message: WatchJobsResponse) {
        let jobs = &mut known.picture.jobs;
        let former = if message.complete { std::mem::take(jobs) } else { jobs.clone() };
        let is_first = message.complete && former.is_empty();
        // Newest first, as they come: the last of them is the one that was known longest.
        for job in message.jobs.into_iter().rev() {
            let (id, now) = (job.id.clone(), Arc::new(ShownJob::from(job)));
            let before = former.iter().find(|(known, _)| *known == id).map(|(_, job)| job);
            let is_news = before.is_none_or(|before| *before != now);
            let jobs = &mut known.picture.jobs;
            match jobs.iter_mut().find(|(known, _)| *known == id) {
                Some((_, job)) => *job = now.clone(),
                None => jobs.insert(0, (id, now.clone())),
            }
            if is_news && !is_first {
                self.tell(known, Item::Job(now));
            }
        }
        known.picture.jobs.truncate(MOST_JOBS);
        self.begun.send_modify(|begun| begun.jobs = true);
    }

    fn logs(&self, known: &mut Known, message: FollowLogsResponse) {
        if !message.gap_to.is_empty() {
            self.tell(known, Item::Gap);
        }
        let waiting = &mut known.waiting;
        let lines = message.entries.into_iter().map(Line::from);
        waiting.lines.extend(lines.inspect(|line| waiting.bytes += line.json.len()));
        if !message.cursor.is_empty() {
            waiting.log = message.cursor;
        }
        if waiting.lines.is_empty() || waiting.is_full() {
            self.flush(known);
        } else {
            waiting.since.get_or_insert_with(Instant::now);
        }
        self.begun.send_modify(|begun| begun.logs = true);
    }
}
