//! Brings what services print into the store, each line once: the entries and the places behind them go in one transaction.
//!
//! One task a service. It reads its segments from the places that the store has, joins lines into entries, appends, and goes on when the append is
//! answered: nothing queues up here but one piece of a file. While the store is closed or stalled, output waits where it is.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::ServiceSpec;
use helm_core::time::Wall;
use helm_lines::{Joiner, Line, Position, Span, is_health_probe};
use helm_shim::segments;
use helm_store::commit;
use helm_store::entry::NewEntry;
use helm_store::partition::Class;
use helm_store::writer::{Append, AppendError, WriterHandle};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gap::{self, Gap};
use super::{Opened, Store, entry};
use crate::changes::{Changes, Subscription};
use crate::clock;
use crate::follow::{self, Follower, Place};
use crate::work;

/// All services look for new output at the same moments, so that what they print shares transactions.
const TICK: Duration = Duration::from_millis(200);
/// The same while somebody follows the log, however much is printed: whoever looks sees it at once.
const FOLLOWED: Duration = Duration::from_millis(50);
/// What printed more lines than these since the last look is looked at every other time: half the transactions, and nobody reads that fast.
const BUSY: usize = 20;
/// A keeper stamps a line before it writes it: what is older than this has been written.
const WRITTEN_AFTER: i64 = 100_000_000;
/// Pause after a failure before the service's output is read again from where the store stands.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Names of the two streams in cursors: a dot is in no service's name.
const STREAMS: [&str; 2] = ["out", "err"];

/// What all tasks share.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The store.
    pub store: Store,
    /// Tells of new output.
    pub changes: Changes,
    /// `logs/`
    pub logs: PathBuf,
    /// Owns the tasks.
    pub tasks: TaskTracker,
    /// Ends them.
    pub stop: CancellationToken,
}

/// Name of a stream's cursor in the store.
pub fn cursor_name(service: &str, stream: usize) -> String {
    format!("{service}.{}", STREAMS[stream & 1])
}

impl Capture {
    /// Begins to follow a service.
    pub fn follow(&self, spec: &Arc<ServiceSpec>) {
        let (capture, spec) = (self.clone(), spec.clone());
        self.tasks.spawn(async move {
            capture.stop.clone().run_until_cancelled(capture.until_stopped(&spec)).await;
        });
    }

    async fn until_stopped(&self, spec: &ServiceSpec) {
        self.store.while_open(|opened| async move { self.as_long_as(spec, &opened).await }).await;
    }

    /// Until the writer ends.
    async fn as_long_as(&self, spec: &ServiceSpec, opened: &Opened) {
        let mut said = None;
        loop {
            match self.bring(spec, opened).await {
                Ok(never) => match never {},
                Err(Stopped::Closed) => return,
                Err(Stopped::Failed(why)) if said.as_ref() == Some(&why) => {}
                Err(Stopped::Failed(why)) => {
                    tracing::warn!("{}: its output is not stored: {why}; trying again", spec.name);
                    said = Some(why);
                }
            }
            sleep_until(Instant::now() + AGAIN_AFTER).await;
        }
    }

    async fn bring(&self, spec: &ServiceSpec, opened: &Opened) -> Result<Infallible, Stopped> {
        let name = spec.name.as_str();
        let dir = self.logs.join(name);
        let (changes, watched) = (self.changes.clone(), dir.clone());
        // Watched before anything is read: nothing written in between is missed.
        let mut changes =
            work::CAPTURE.run(move || follow::ensure(&watched).and_then(|()| changes.of(&watched))).await?;
        let mut reading = Reading::begin(name, dir, spec, &opened.writer).await?;
        let dropped = self.store.dropped();
        self.store.stored().tell(name, reading.behind());
        loop {
            let before = clock::wall().0;
            let (lines, end) = reading.read().await?;
            let busy = lines.len() > BUSY;
            reading.take(lines);
            if end {
                reading.joiner.flush_before(Wall(before - WRITTEN_AFTER), &mut reading.read);
            }
            dropped.tell(name, reading.append(&opened.writer).await?);
            self.store.stored().tell(name, reading.behind());
            if end {
                let tick = match (opened.writer.live().is_followed(), busy) {
                    (true, _) => FOLLOWED,
                    (false, true) => 2 * TICK,
                    (false, false) => TICK,
                };
                reading.wait(&mut changes, tick).await?;
            }
        }
    }
}

/// Why a service's output is not followed any more.
enum Stopped {
    /// helmd leaves.
    Closed,
    /// In words.
    Failed(String),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<AppendError> for Stopped {
    fn from(error: AppendError) -> Self {
        if error == AppendError::Closed { Self::Closed } else { Self::Failed(error.to_string()) }
    }
}

/// The reading of one service.
struct Reading {
    service: String,
    class: Class,
    joiner: Joiner,
    drop_health: bool,
    follower: Option<Follower>,
    /// Behind what was read.
    place: Place,
    /// Behind what the store has, for each stream.
    stored: [Place; 2],
    /// Entries that are complete.
    read: Vec<helm_lines::Entry>,
    /// Notes of what is missing, to be stored before them.
    gaps: Vec<NewEntry>,
}

impl Reading {
    async fn begin(
        name: &str,
        dir: PathBuf,
        spec: &ServiceSpec,
        writer: &WriterHandle,
    ) -> Result<Self, Stopped> {
        let mut stored = [Place::default(); 2];
        for (stream, place) in stored.iter_mut().enumerate() {
            if let Some(cursor) = writer.cursor(&cursor_name(name, stream)).await? {
                *place = Place { segment: cursor.segment, offset: cursor.offset };
            }
        }
        let place = stored[0].min(stored[1]);
        let listed = dir.clone();
        let there = work::CAPTURE.run(move || segments::list(&listed)).await?;
        let mut reading = Self {
            service: name.to_owned(),
            class: Class(spec.log.class.clone()),
            joiner: Joiner::new(entry::rule(&spec.log), clock::offset()),
            drop_health: spec.log.drop_health,
            follower: Some(Follower::from_place(dir, place)),
            place,
            stored,
            read: Vec::new(),
            gaps: Vec::new(),
        };
        reading.note(gap::at_begin(place, &there));
        Ok(reading)
    }

    /// Before it everything is stored, of both streams.
    fn behind(&self) -> Place {
        self.stored[0].min(self.stored[1])
    }

    /// The next lines, and whether they are the last ones for now.
    async fn read(&mut self) -> io::Result<(Vec<follow::Line>, bool)> {
        let Some(mut follower) = self.follower.take() else {
            return Err(io::Error::other("the last reading did not come back"));
        };
        let (follower, lines) = work::CAPTURE
            .run(move || {
                let lines = follower.read();
                Ok((follower, lines))
            })
            .await?;
        let end = follower.at_end();
        self.follower = Some(follower);
        Ok((lines?, end))
    }

    fn take(&mut self, lines: Vec<follow::Line>) {
        for line in &lines {
            self.note(gap::between(self.place, line.end));
            let begin = if line.end.segment == self.place.segment {
                self.place
            } else {
                Place { offset: 0, ..line.end }
            };
            self.place = line.end;
            let stream = usize::from(line.stderr);
            // The other stream was behind: this one has it already.
            if line.end <= self.stored[stream] {
                continue;
            }
            let span = Span { first: position(begin), last: position(line.end) };
            let line = Line {
                at: line.at,
                stream: u8::from(line.stderr),
                full: !line.partial,
                text: &line.text,
                span,
            };
            self.joiner.push(line, &mut self.read);
        }
    }

    fn note(&mut self, gap: Option<Gap>) {
        if let Some(gap) = gap {
            tracing::warn!("{}: {gap}", self.service);
            self.gaps.push(gap.entry(&self.service, clock::wall()));
        }
    }

    /// Stores what is complete, and for each stream the place behind it: where a held entry begins, else behind all that was read. Returns how many
    /// access lines of health probes were left out.
    async fn append(&mut self, writer: &WriterHandle) -> Result<u64, Stopped> {
        let behind = |stream: u8| match self.joiner.held(stream) {
            Some(held) => Place { segment: held.first.0, offset: held.first.1 },
            None => self.place,
        };
        let places = [behind(0).max(self.stored[0]), behind(1).max(self.stored[1])];
        if places == self.stored && self.read.is_empty() && self.gaps.is_empty() {
            return Ok(0);
        }
        let mut entries = std::mem::take(&mut self.gaps);
        let complete = self.read.len();
        if self.drop_health {
            self.read.retain(|read| !is_health_probe(read.body.searched()));
        }
        let dropped = complete - self.read.len();
        let service = &self.service;
        entries.extend(self.read.drain(..).map(|read| entry::captured(service, read.stream, read.body)));
        let cursors = (0..2).map(|stream| {
            let Place { segment, offset } = places[stream];
            (cursor_name(&self.service, stream), commit::Position { segment, offset })
        });
        let append = Append {
            class: self.class.clone(),
            entries,
            cursors: cursors.collect(),
            once: None,
            queue: None,
        };
        let receipt = writer.append(append).await?;
        self.stored = places;
        for refusal in receipt.refused {
            tracing::warn!("{}: an entry cannot be stored: {}", self.service, refusal.reason);
        }
        Ok(dropped as u64)
    }

    /// Until there is more to read or something held is due; then to the next multiple of `tick`.
    async fn wait(&mut self, changes: &mut Subscription, tick: Duration) -> io::Result<()> {
        let due = self.joiner.deadline().map(|due| {
            let left = due.0.saturating_add(WRITTEN_AFTER).saturating_sub(clock::wall().0);
            Instant::now() + Duration::from_nanos(u64::try_from(left).unwrap_or(0))
        });
        match due {
            None => changes.next().await?,
            Some(due) => tokio::select! {
                changed = changes.next() => changed?,
                () = sleep_until(due) => {}
            },
        }
        let into = clock::mono().0.as_nanos() % tick.as_nanos();
        let left = tick - Duration::from_nanos(u64::try_from(into).unwrap_or(0));
        sleep_until(Instant::now() + left).await;
        Ok(())
    }
}

fn position(place: Place) -> Position {
    Position(place.segment, place.offset)
}
