//! One stream: what its principal may see of what it was asked for, from its cursor on, until somebody ends it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use helm_client::{ClientError, Reason};
use helm_proto::v1::{EventsRequest, FollowLogsRequest, FollowLogsResponse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_stream::StreamExt;

use super::asked::{Asked, Topic};
use super::cursor::Cursor;
use super::frame;
use super::hub::{Item, Listener, Picture, Told};
use super::places::Place;
use super::shown::{Line, Shown, ShownJob, event_json};
use crate::auth::credential::{Credential, LOOK_EVERY};

/// Log entries wait so long for others, and are sent when there are so many.
const TOGETHER: Duration = Duration::from_millis(100);
const MOST_TOGETHER: usize = 500;
/// A word is sent so often, whatever happens: Nexus gives up after 30 s.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const SLOWEST: Duration = Duration::from_secs(30);
/// Of operations that have ended, a stream that begins is told of the newest so many.
const ENDED_JOBS: usize = 20;
/// Frames that wait for a client. While it is full the hub's items wait, and then are missed.
pub const FRAMES: usize = 16;

/// All that a stream needs.
#[derive(Debug)]
pub struct Stream {
    /// For whom, and what that may see.
    pub credential: Credential,
    /// What was asked for.
    pub asked: Asked,
    /// Among the streams of its user.
    pub place: Place,
    /// The way to the client.
    pub sink: mpsc::Sender<Bytes>,
}

/// Why a stream is over, for its client to know; `None`: nobody is there to be told.
type Over = Option<String>;
type Go = ControlFlow<Over>;

impl Stream {
    /// Runs until it is over.
    pub async fn run(mut self) {
        let mut listener = self.credential.app.hub.listen().await;
        let sink = self.sink.clone();
        let over = tokio::select! {
            over = self.go(&mut listener) => over,
            () = sink.closed() => None,
        };
        if let Some(why) = over {
            let data = serde_json::json!({ "why": why }).to_string();
            // Who does not take it is gone.
            let _ = timeout(SLOWEST, sink.send(frame::event("end", &data, None))).await;
        }
        drop(self.place);
    }

    async fn go(&mut self, listener: &mut Listener) -> Over {
        let mut pending = Pending::default();
        if let ControlFlow::Break(over) = self.begin(listener, &mut pending).await {
            return over;
        }
        let (mut beat, mut look) = (interval(HEARTBEAT), interval(LOOK_EVERY));
        beat.reset();
        look.reset();
        loop {
            let go = tokio::select! {
                told = listener.items.recv() => match told {
                    Ok(told) => self.hear(told, &mut pending).await,
                    Err(RecvError::Lagged(missed)) => self.missed(missed, &mut pending).await,
                    Err(RecvError::Closed) => return Some("helm-web is leaving".to_owned()),
                },
                () = sleep_until(pending.due()), if pending.waits() => self.flush(&mut pending).await,
                _ = beat.tick() => self.send(frame::heartbeat()).await,
                _ = look.tick() => self.still_may().await,
            };
            if let ControlFlow::Break(over) = go {
                return over;
            }
        }
    }

    /// How things are, and what was missed since the cursor.
    async fn begin(&mut self, listener: &Listener, pending: &mut Pending) -> Go {
        let picture = &listener.picture;
        let at = picture.at.clone();
        if let Some(away) = &picture.away {
            self.send(frame::event("helmd", away, None)).await?;
        }
        let refused = self.asked.refused(&self.credential.rights);
        if !refused.is_empty() {
            let why = "this credential sees nothing of these services";
            let data = serde_json::json!({ "services": refused, "why": why });
            self.send(frame::event("refused", &data.to_string(), None)).await?;
        }
        if self.asked.wants(Topic::Status) || self.asked.wants(Topic::Metrics) {
            let shown = picture.services.values().filter_map(|shown| self.status(shown));
            let frame = frame::events("services", shown, None);
            self.send(frame).await?;
        }
        if self.asked.wants(Topic::Jobs) {
            let shown = picture.jobs.iter().map(|(_, job)| job).filter(|job| self.sees_job(job));
            let (over, going): (Vec<_>, Vec<_>) = shown.partition(|job| job.over);
            let told = going.into_iter().chain(over.into_iter().take(ENDED_JOBS));
            let frame = frame::events("jobs", told.map(|job| job.json.as_str()), None);
            self.send(frame).await?;
        }
        pending.at = at.clone();
        if let Some(from) = self.asked.cursor.take() {
            pending.at = Arc::new(at.or(&from));
            let mut told = from;
            let why = if picture.begun {
                match self.past(&mut told, &at, picture).await {
                    Ok(go) => {
                        go?;
                        None
                    }
                    Err(e) => Some(e.to_string()),
                }
            } else {
                Some("helmd or its store is away".to_owned())
            };
            if let Some(why) = why {
                // A client that comes again with the cursor gets what lies between.
                let data = serde_json::json!({ "topic": "past", "why": why, "cursor": told.to_string() });
                pending.at = Arc::new(told);
                self.send(frame::event("gap", &data.to_string(), None)).await?;
            }
        }
        // From here on there is a cursor, also where nothing happens.
        self.send(frame::event("begin", "{}", Some(&pending.at))).await
    }

    /// What lies between a former stream's end and this one's begin: read by helmd's word, for this principal. `at` moves behind what is
    /// told.
    async fn past(&self, at: &mut Cursor, to: &Cursor, picture: &Picture) -> Result<Go, ClientError> {
        let client = self.credential.app.backend.client(&self.credential.caller.principal).await?;
        if self.asked.wants(Topic::Events) && at.event > 0 && at.event < to.event {
            let request = EventsRequest { after: Some(at.event), ..EventsRequest::default() };
            let mut events = client.events(request).await?;
            while let Some(record) = events.next().await {
                let record = record?;
                if record.id > to.event || record.kind.is_empty() || !self.asked.is_about(&record.service) {
                    continue;
                }
                at.event = record.id;
                if let ControlFlow::Break(over) =
                    self.send(frame::event("event", &event_json(&record), Some(at))).await
                {
                    return Ok(ControlFlow::Break(over));
                }
            }
        }
        at.event = to.event;
        if self.asked.wants(Topic::Logs) && !at.log.is_empty() && at.log != to.log {
            return self.past_logs(at, to, picture).await;
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn past_logs(&self, at: &mut Cursor, to: &Cursor, picture: &Picture) -> Result<Go, ClientError> {
        let may = |name: &str| self.credential.rights.may("logs", name);
        let Some(filter) = self.asked.filter(may) else { return Ok(ControlFlow::Continue(())) };
        let logs = self.credential.app.backend.logs(&self.credential.caller.principal).await?;
        let request = |filter| FollowLogsRequest {
            filter: Some(filter),
            cursor: at.log.clone(),
            until: to.log.clone(),
            last: 0,
        };
        let mut pieces = match logs.follow(request(filter)).await {
            // One of them has no entries, and is configured nowhere: the others are told.
            Err(ClientError::Refused { reason: Reason::UnknownService(_), .. }) => {
                let known = |name: &str| may(name) && picture.services.contains_key(name);
                let Some(filter) = self.asked.filter(known) else { return Ok(ControlFlow::Continue(())) };
                logs.follow(request(filter)).await?
            }
            pieces => pieces?,
        };
        while let Some(piece) = pieces.next().await {
            let FollowLogsResponse { entries, cursor, .. } = piece?;
            let lines: Vec<Line> = entries.into_iter().map(Line::from).collect();
            let mut chunks = lines.chunks(MOST_TOGETHER).peekable();
            while let Some(lines) = chunks.next() {
                // The cursor is behind the whole piece.
                let is_whole = chunks.peek().is_none() && !cursor.is_empty();
                if is_whole {
                    at.log.clone_from(&cursor);
                }
                let json = lines.iter().map(|line| line.json.as_str());
                let frame = frame::events("logs", json, is_whole.then_some(&*at));
                if let ControlFlow::Break(over) = self.send(frame).await {
                    return Ok(ControlFlow::Break(over));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn hear(&self, told: Told, pending: &mut Pending) -> Go {
        let Item::Logs(lines) = &*told.item else {
            // What came before it is told before it.
            self.flush(pending).await?;
            pending.moves_to(&told.at);
            return self.at_once(&told.item, &pending.at).await;
        };
        let wanted = |line: &Line| {
            let seen = line.seen();
            self.credential.rights.may("logs", seen.service) && self.asked.takes(&seen)
        };
        if self.asked.wants(Topic::Logs) {
            let taken =
                lines.iter().zip(0..).filter(|(line, _)| wanted(line)).map(|(_, index)| index).collect();
            pending.take(&told, taken);
        }
        pending.moves_to(&told.at);
        if pending.is_full() { self.flush(pending).await } else { ControlFlow::Continue(()) }
    }

    async fn at_once(&self, item: &Item, at: &Cursor) -> Go {
        let wants = |topic| self.asked.wants(topic);
        let frame = match item {
            Item::Status(shown) if wants(Topic::Status) => {
                self.status(shown).map(|json| frame::event("status", json, Some(at)))
            }
            Item::Numbers(shown)
                if wants(Topic::Metrics)
                    && self.asked.is_about(&shown.service)
                    && self.credential.rights.may("metrics", &shown.service) =>
            {
                Some(frame::event("metrics", &shown.numbers, Some(at)))
            }
            Item::Event { service, json }
                if wants(Topic::Events)
                    && self.asked.is_about(service)
                    && self.credential.rights.may("events", service) =>
            {
                Some(frame::event("event", json, Some(at)))
            }
            Item::Job(job) if wants(Topic::Jobs) && self.sees_job(job) => {
                Some(frame::event("job", &job.json, Some(at)))
            }
            Item::Gone(service)
                if wants(Topic::Status)
                    && self.asked.is_about(service)
                    && self.credential.rights.may("services", service) =>
            {
                let data = serde_json::json!({ "service_name": service }).to_string();
                Some(frame::event("gone", &data, Some(at)))
            }
            Item::Gap if wants(Topic::Logs) => {
                let data = serde_json::json!({ "topic": "logs", "to": at.to_string() }).to_string();
                Some(frame::event("gap", &data, None))
            }
            Item::Helmd(Some(away)) => Some(frame::event("helmd", away, None)),
            Item::Helmd(None) => Some(frame::event("helmd", r#"{"away":false}"#, None)),
            Item::Logs(_)
            | Item::Status(_)
            | Item::Numbers(_)
            | Item::Event { .. }
            | Item::Job(_)
            | Item::Gone(_)
            | Item::Gap => None,
        };
        match frame {
            Some(frame) => self.send(frame).await,
            None => ControlFlow::Continue(()),
        }
    }

    fn sees_job(&self, job: &ShownJob) -> bool {
        let asked = job.names.is_empty() || job.names.iter().any(|name| self.asked.is_about(name));
        asked && self.credential.rights.may_see_job(&job.names)
    }

    /// As much of it as may be seen.
    fn status<'a>(&self, shown: &'a Shown) -> Option<&'a str> {
        if !self.asked.is_about(&shown.service) {
            return None;
        }
        if self.credential.rights.may("status", &shown.service) {
            return Some(&shown.whole);
        }
        self.credential.rights.may("services", &shown.service).then_some(shown.little.as_str())
    }

    /// The client was too slow: it is told from where it can go on.
    async fn missed(&self, items: u64, pending: &mut Pending) -> Go {
        self.flush(pending).await?;
        let data = serde_json::json!({ "topic": "all", "missed": items, "cursor": pending.at.to_string() });
        self.send(frame::event("gap", &data.to_string(), None)).await
    }

    async fn flush(&self, pending: &mut Pending) -> Go {
        if !pending.waits() {
            return ControlFlow::Continue(());
        }
        let frame = frame::events("logs", pending.lines(), Some(&pending.at));
        pending.clear();
        self.send(frame).await
    }

    async fn send(&self, frame: Bytes) -> Go {
        match timeout(SLOWEST, self.sink.send(frame)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) | Err(_) => ControlFlow::Break(None),
        }
    }

    async fn still_may(&self) -> Go {
        match self.credential.over().await {
            Some(why) => ControlFlow::Break(Some(why)),
            None => ControlFlow::Continue(()),
        }
    }
}

/// Log entries that wait for others to be sent together.
#[derive(Debug, Default)]
struct Pending {
    told: Vec<(Told, Vec<usize>)>,
    count: usize,
    since: Option<Instant>,
    at: Arc<Cursor>,
}

impl Pending {
    fn moves_to(&mut self, at: &Arc<Cursor>) {
        let known = at.event > 0 && !at.log.is_empty();
        self.at = if known { at.clone() } else { Arc::new(at.or(&self.at)) };
    }

    fn take(&mut self, told: &Told, taken: Vec<usize>) {
        if !taken.is_empty() {
            self.count += taken.len();
            self.since.get_or_insert_with(Instant::now);
            self.told.push((told.clone(), taken));
        }
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.told.iter().flat_map(|(told, taken)| {
            let lines = if let Item::Logs(lines) = &*told.item { lines.as_slice() } else { &[] };
            taken.iter().filter_map(|index| lines.get(*index)).map(|line| line.json.as_str())
        })
    }

    fn waits(&self) -> bool {
        self.since.is_some()
    }

    fn is_full(&self) -> bool {
        self.count >= MOST_TOGETHER
    }

    fn due(&self) -> Instant {
        self.since.unwrap_or_else(Instant::now) + TOGETHER
    }

    fn clear(&mut self) {
        self.told.clear();
        self.count = 0;
        self.since = None;
    }
}
