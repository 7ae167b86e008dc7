//! Captured output as a stream: the last lines, then what comes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use helm_proto::convert;
use helm_proto::v1::{Cursor, OutputChunk, OutputLine, OutputRequest};
use tokio::sync::mpsc;
use tonic::Status;

use crate::changes::Changes;
use crate::follow::{self, Follower, Line, Place, held};
use crate::work;

/// Lines from the past where the caller does not say.
const DEFAULT_LINES: u32 = 100;
/// Lines in one message, and their bytes (a message stays below gRPC's usual 4 MiB).
const CHUNK_LINES: usize = 2000;
const CHUNK_BYTES: usize = 1 << 20;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stream {
    /// Both.
    Both,
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
}

impl Stream {
    /// From the request.
    #[allow(clippy::result_large_err, reason = "the error of every handler")]
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "both" => Ok(Self::Both),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err(Status::invalid_argument(format!(
                "`{text}` is no stream: use stdout, stderr, or nothing for both"
            ))),
        }
    }

    fn has(self, line: &Line) -> bool {
        match self {
            Self::Both => true,
            Self::Stdout => !line.stderr,
            Self::Stderr => line.stderr,
        }
    }
}

type Sink = mpsc::Sender<Result<OutputChunk, Status>>;

/// Sends the last lines of the service, or those behind the place that was named, then follows, where `changes` are given.
pub async fn send(
    dir: PathBuf,
    stream: Stream,
    request: OutputRequest,
    changes: Option<Changes>,
    sink: Sink,
) {
    if let Err(e) = try_send(dir, stream, request, changes, &sink).await {
        let _ = sink.send(Err(Status::internal(format!("the captured output cannot be read: {e}")))).await;
    }
}

async fn try_send(
    dir: PathBuf,
    stream: Stream,
    request: OutputRequest,
    changes: Option<Changes>,
    sink: &Sink,
) -> io::Result<()> {
    let lines = usize::try_from(request.lines.unwrap_or(DEFAULT_LINES)).unwrap_or(usize::MAX);
    let begin = move || {
        // Watched before anything is read: nothing written in between is missed.
        let changes = match changes {
            Some(changes) => Some(follow::ensure(&dir).and_then(|()| changes.of(&dir))?),
            None => None,
        };
        let (follower, last) = match request.after {
            Some(Cursor { segment, offset }) => (resumed(dir, Place { segment, offset })?, VecDeque::new()),
            None => follow::tail(dir, |line| stream.has(line), lines)?,
        };
        Ok((follower, last, changes))
    };
    let (mut follower, last, mut changes) = work::OUTPUT.run(begin).await?;
    if !hand_over(last.into(), follower.place(), changes.is_some(), sink).await {
        return Ok(());
    }
    loop {
        loop {
            let (back, read) = work::OUTPUT
                .run(move || {
                    let read = follower.read()?;
                    Ok((follower, read))
                })
                .await?;
            follower = back;
            if read.is_empty() {
                break;
            }
            let wanted = read.into_iter().filter(|l| stream.has(l)).collect();
            if !hand_over(wanted, follower.place(), false, sink).await {
                return Ok(());
            }
        }
        let Some(changes) = &mut changes else { return Ok(()) };
        tokio::select! {
            changed = changes.next() => changed?,
            () = sink.closed() => return Ok(()),
        }
    }
}

/// A reader at a former one's place. Where no file is as new as that place, somebody emptied the directory, and
/// numbers began anew.
fn resumed(dir: PathBuf, place: Place) -> io::Result<Follower> {
    let newest = helm_shim::segments::list(&dir)?.last().map(|segment| segment.number);
    let known = newest.is_some_and(|newest| newest >= place.segment);
    Ok(Follower::from_place(dir, if known { place } else { Place::default() }))
}

/// Sends lines, and the place behind them; without lines only where `always`. False when nobody listens any more.
async fn hand_over(lines: Vec<Line>, behind: Place, always: bool, sink: &Sink) -> bool {
    let mut chunk = OutputChunk::default();
    let mut bytes = 0;
    for line in lines {
        bytes += held(&line);
        chunk.lines.push(OutputLine {
            at: Some(convert::timestamp(line.at)),
            stream: if line.stderr { "stderr" } else { "stdout" }.to_owned(),
            text: line.text,
            partial: line.partial,
        });
        if chunk.lines.len() >= CHUNK_LINES || bytes >= CHUNK_BYTES {
            bytes = 0;
            chunk.cursor = Some(cursor(line.end));
            if sink.send(Ok(std::mem::take(&mut chunk))).await.is_err() {
                return false;
            }
        }
    }
    chunk.cursor = Some(cursor(behind));
    (chunk.lines.is_empty() && !always) || sink.send(Ok(chunk)).await.is_ok()
}

fn cursor(place: Place) -> Cursor {
    Cursor { segment: place.segment, offset: place.offset }
}
