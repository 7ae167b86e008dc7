//! One stream: what its principal may see of what it was asked for, from its cursor on, until somebody ends it.
//!
//! Three things go on beside each other, so that none waits for another: the telling, which waits for the client; the looks at whether
//! the credential still counts; and the heartbeat.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use helm_client::{ClientError, Reason};
use helm_proto::v1::{EventsRequest, FollowLogsRequest, FollowLogsResponse};
use tokio::time::{interval, timeout};
use tokio_stream::StreamExt;

use super::asked::{Asked, Topic};
use super::cursor::Cursor;
use super::frame;
use super::hub::{BYTES_TOGETHER, Batch, Item, Listener, MOST_TOGETHER, Picture, Told};
use super::outlet::{Gone, Outlet};
use super::places::Place;
use super::ring::Missed;
use super::shown::{Line, Shown, ShownJob, event_json};
use crate::auth::credential::Credential;

/// A word is sent so often, whatever happens: Nexus gives up after 30 s.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A client that takes nothing for so long is gone.
const SLOWEST: Duration = Duration::from_secs(30);
/// Of operations that have ended, a stream that begins is told of the newest so many.
const ENDED_JOBS: usize = 20;

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
    pub outlet: Outlet,
}

/// Why a stream is over, for its client to know; `None`: nobody is there to be told.
type Over = Option<String>;
type Go = ControlFlow<Over>;

impl Stream {
    /// Runs until it is over.
    pub async fn run(self) {
        let mut listener = self.credential.app.hub.listen().await;
        let over = tokio::select! {
            over = self.go(&mut listener) => over,
            why = self.credential.until_over() => Some(why),
            () = self.beat() => None,
            () = self.outlet.closed() => None,
        };
        drop(listener);
        match over {
            Some(why) => {
                let data = serde_json::json!({ "why": why }).to_string();
                self.outlet.end(frame::event("end", &data, None)).await;
            }
            None => self.outlet.cut(),
        }
        drop(self.place);
    }

    /// Does not end.
    async fn beat(&self) {
        let mut beat = interval(HEARTBEAT);
        beat.reset();
        loop {
            beat.tick().await;
            self.outlet.offer(frame::heartbeat());
        }
    }

    async fn go(&self, listener: &mut Listener) -> Over {
        let mut at = match self.begin(&listener.picture).await {
            ControlFlow::Continue(at) => at,
            ControlFlow::Break(over) => return over,
        };
        loop {
            let go = match listener.items.next().await {
                Ok(told) => {
                    at = behind(&at, &told.at);
                    self.hear(&told, &at).await
                }
                Err(Missed(items)) => self.missed(items, &at).await,
            };
            if let ControlFlow::Break(over) = go {
                return over;
            }
        }
    }

    /// How things are, and what was missed since the cursor.
    async fn begin(&self, picture: &Picture) -> ControlFlow<Over, Arc<Cursor>> {
        let mut at = picture.at.clone();
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
        if let Some(from) = &self.asked.cursor {
            let mut told = from.clone();
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
                at = Arc::new(told);
                self.send(frame::event("gap", &data.to_string(), None)).await?;
            } else {
                at = Arc::new(at.or(from));
            }
        }
        // From here on there is a cursor, also where nothing happens.
        self.send(frame::event("begin", "{}", Some(&at))).await?;
        ControlFlow::Continue(at)
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
            let mut rest = lines.as_slice();
            while !rest.is_empty() {
                let (lines, behind) = rest.split_at(together(rest));
                rest = behind;
                // The cursor is behind the whole piece.
                let is_whole = rest.is_empty() && !cursor.is_empty();
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

    async fn hear(&self, told: &Told, at: &Cursor) -> Go {
        let frame = if let Item::Logs(batch) = &*told.item {
            self.asked.wants(Topic::Logs).then(|| self.logs(batch, &told.at, at)).flatten()
        } else {
            self.at_once(&told.item, at)
        };
        match frame {
            Some(frame) => self.send(frame).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// Of these entries those that are to be told; all of them are one frame for all streams.
    fn logs(&self, batch: &Batch, of_hub: &Cursor, at: &Cursor) -> Option<Bytes> {
        let wanted = |line: &&Line| {
            let seen = line.seen();
            self.credential.rights.may("logs", seen.service) && self.asked.takes(&seen)
        };
        let taken: Vec<&str> = batch.lines.iter().filter(wanted).map(|line| line.json.as_str()).collect();
        match taken.len() {
            0 => None,
            all if all == batch.lines.len() && of_hub == at => Some(batch.frame.clone()),
            _ => Some(frame::events("logs", taken, Some(at))),
        }
    }

    /// What waits for nothing else.
    fn at_once(&self, item: &Item, at: &Cursor) -> Option<Bytes> {
        let wants = |topic| self.asked.wants(topic);
        match item {
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
    async fn missed(&self, items: u64, at: &Cursor) -> Go {
        let data = serde_json::json!({ "topic": "all", "missed": items, "cursor": at.to_string() });
        self.send(frame::event("gap", &data.to_string(), None)).await
    }

    async fn send(&self, frame: Bytes) -> Go {
        match timeout(SLOWEST, self.outlet.send(frame)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(Gone)) | Err(_) => ControlFlow::Break(None),
        }
    }
}

/// Behind what the hub says, where it knows.
fn behind(at: &Arc<Cursor>, told: &Arc<Cursor>) -> Arc<Cursor> {
    let known = told.event > 0 && !told.log.is_empty();
    if known { told.clone() } else { Arc::new(told.or(at)) }
}

/// How many of these, at least one, make a frame.
fn together(lines: &[Line]) -> usize {
    let mut bytes = 0;
    let fits = lines.iter().take(MOST_TOGETHER).take_while(|line| {
        bytes += line.json.len();
        bytes <= BYTES_TOGETHER
    });
    fits.count().max(1)
}
