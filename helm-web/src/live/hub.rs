//! The one subscription to helmd, for all streams. It runs while somebody listens.
//!
//! What comes is serialised once and handed to every stream. A stream that cannot follow is told so; none holds up another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use helm_client::{ClientError, Home, News, Resuming};
use helm_proto::v1::{
    EventRecord, EventsRequest, FollowLogsRequest, FollowLogsResponse, WatchJobsRequest, WatchJobsResponse,
    WatchStatusRequest, WatchStatusResponse,
};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;

use super::cursor::Cursor;
use super::shown::{Line, Shown, ShownJob, event_json, is_same_state};
use crate::situation;

/// Items that a stream may be behind before it misses some.
const BEHIND: usize = 1024;

/// Operations that a stream which begins is told of: as many as helmd keeps.
const MOST_JOBS: usize = 500;

/// One thing that all streams hear of.
#[derive(Debug)]
pub enum Item {
    /// Log entries that were committed together.
    Logs(Vec<Line>),
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
    picture: Mutex<Picture>,
    items: broadcast::Sender<Told>,
    listeners: watch::Sender<usize>,
    /// Which of the streams of helmd have said where they begin.
    begun: watch::Sender<Begun>,
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
    pub items: broadcast::Receiver<Told>,
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
            picture: Mutex::default(),
            items: broadcast::Sender::new(BEHIND),
            listeners: watch::Sender::new(0),
            begun: watch::Sender::new(Begun::default()),
        }))
    }

    /// Listens, from a picture on without a gap.
    pub async fn listen(&self) -> Listener {
        self.0.listeners.send_modify(|count| *count += 1);
        let mut begun = self.0.begun.subscribe();
        let _ = timeout(BEGIN_WITHIN, begun.wait_for(|begun| begun.whole())).await;
        let mut picture = self.0.picture();
        picture.begun = self.0.begun.borrow().whole();
        Listener { items: self.0.items.subscribe(), picture: picture.clone(), hub: self.0.clone() }
    }

    /// Runs the subscription while somebody listens.
    pub async fn run(&self) {
        let mut listeners = self.0.listeners.subscribe();
        // The sender lives as long as this does.
        while listeners.wait_for(|count| *count > 0).await.is_ok() {
            let mut until = listeners.clone();
            tokio::select! {
                () = self.0.subscribe() => {
                    self.0.tell(&Picture::default(), Item::Gap);
                    sleep_until(Instant::now() + REST).await;
                }
                _ = until.wait_for(|count| *count == 0) => {}
            }
            self.0.begun.send_replace(Begun::default());
            *self.0.picture() = Picture::default();
        }
    }
}

impl Inner {
    fn picture(&self) -> MutexGuard<'_, Picture> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
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
            let go_on = tokio::select! {
                news = status.next() => self.hear(news, |picture, message| self.statuses(picture, message)),
                news = events.next() => self.hear(news, |picture, message| self.event(picture, message)),
                news = logs.next() => self.hear(news, |picture, message| self.logs(picture, message)),
                news = jobs.next() => self.hear(news, |picture, message| self.jobs(picture, message)),
            };
            if !go_on {
                return;
            }
        }
    }

    /// `false`: nothing more comes.
    fn hear<T>(
        &self,
        news: Option<Result<News<T>, ClientError>>,
        take: impl FnOnce(&mut Picture, T),
    ) -> bool {
        let mut picture = self.picture();
        match news {
            Some(Ok(News::Message(message))) => {
                take(&mut picture, message);
                true
            }
            Some(Ok(News::Away(why))) => {
                let why = why.unwrap_or_else(|| "helmd is away".to_owned());
                let json = serde_json::json!({ "away": true, "why": why }).to_string();
                picture.away = Some(json.clone());
                self.tell(&picture, Item::Helmd(Some(json)));
                true
            }
            Some(Ok(News::Back)) => {
                if picture.away.take().is_some() {
                    self.tell(&picture, Item::Helmd(None));
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

    fn tell(&self, picture: &Picture, item: Item) {
        // Nobody may be there to hear it.
        let _ = self.items.send(Told { item: Arc::new(item), at: picture.at.clone() });
    }

    fn statuses(&self, picture: &mut Picture, message: WatchStatusResponse) {
        let mut former =
            if message.complete { std::mem::take(&mut picture.services) } else { BTreeMap::new() };
        for status in message.services {
            let before = former.remove(&status.name).or_else(|| picture.services.get(&status.name).cloned());
            let now = Arc::new(Shown::from(status));
            picture.services.insert(now.service.clone(), now.clone());
            match before {
                Some(before) if before.status == now.status => {}
                Some(before) if is_same_state(&before.status, &now.status) => {
                    self.tell(picture, Item::Numbers(now));
                }
                _ => self.tell(picture, Item::Status(now)),
            }
        }
        for gone in former.into_keys() {
            self.tell(picture, Item::Gone(gone));
        }
        self.begun.send_modify(|begun| begun.status = true);
    }

    fn event(&self, picture: &mut Picture, record: EventRecord) {
        if record.id > 0 {
            let log = picture.at.log.clone();
            picture.at = Arc::new(Cursor { event: record.id, log });
        }
        self.begun.send_modify(|begun| begun.events = true);
        if !record.kind.is_empty() {
            let json = event_json(&record);
            self.tell(picture, Item::Event { service: record.service, json });
        }
    }

    fn jobs(&self, picture: &mut Picture, message: WatchJobsResponse) {
        let known = if message.complete { std::mem::take(&mut picture.jobs) } else { picture.jobs.clone() };
        let is_first = message.complete && known.is_empty();
        // Newest first, as they come: the last of them is the one that was known longest.
        for job in message.jobs.into_iter().rev() {
            let (id, now) = (job.id.clone(), Arc::new(ShownJob::from(job)));
            let before = known.iter().find(|(known, _)| *known == id).map(|(_, job)| job);
            let is_news = before.is_none_or(|before| *before != now);
            match picture.jobs.iter_mut().find(|(known, _)| *known == id) {
                Some((_, job)) => *job = now.clone(),
                None => picture.jobs.insert(0, (id, now.clone())),
            }
            if is_news && !is_first {
                self.tell(picture, Item::Job(now));
            }
        }
        picture.jobs.truncate(MOST_JOBS);
        self.begun.send_modify(|begun| begun.jobs = true);
    }

    fn logs(&self, picture: &mut Picture, message: FollowLogsResponse) {
        if !message.gap_to.is_empty() {
            self.tell(picture, Item::Gap);
        }
        if !message.cursor.is_empty() {
            picture.at = Arc::new(Cursor { event: picture.at.event, log: message.cursor });
        }
        self.begun.send_modify(|begun| begun.logs = true);
        if !message.entries.is_empty() {
            let lines = message.entries.into_iter().map(Line::from).collect();
            self.tell(picture, Item::Logs(lines));
        }
    }
}
