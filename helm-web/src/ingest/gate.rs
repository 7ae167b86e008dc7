//! How much may be on its way in: bytes of bodies, and batches that wait for helmd. Who comes when it is full waits a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use helm_ingest::unpack::{RATIO_MAX as UNPACKED_RATIO, UNPACKED_MAX};
use http_body_util::BodyExt;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::problem::{Problem, Result};
use crate::serve::Broken;

/// Bytes of bodies that are held at once, packed and unpacked; all that are neither Helm's user nor root have half of it together.
pub const BYTES: usize = 64 << 20;
/// Batches that are on their way to helmd at once, and of one sender.
pub const TURNS: usize = 256;
/// Of one sender.
pub const SHARE: usize = 64;
/// Longest body, as it is sent.
const LONGEST: usize = 16 << 20;
/// How long a whole body may take.
const BODY_WITHIN: Duration = Duration::from_secs(120);
/// What to say to those who found no room.
const LATER: Duration = Duration::from_secs(2);

/// The gate.
#[derive(Debug)]
pub struct Gate {
    own: u32,
    bytes: Arc<BytesHeld>,
    turns: Arc<Semaphore>,
    shares: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place among the batches on their way.
#[derive(Debug)]
pub struct Turn {
    _whole: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Gate {
    /// Nothing is on its way; `own`: Helm's user.
    #[must_use]
    pub fn new(own: u32) -> Self {
        let (bytes, turns) = (Arc::default(), Arc::new(Semaphore::new(TURNS)));
        Self { own, bytes, turns, shares: Mutex::default() }
    }

    /// The whole body.
    ///
    /// # Errors
    /// It is too long, comes too slowly, or there is no room for it.
    pub async fn read(&self, body: Body, uid: Option<u32>, until: Instant) -> Result<Held> {
        let whose =
            if uid.is_some_and(|uid| uid == 0 || uid == self.own) { Whose::Own } else { Whose::Foreign };
        let mut held = Held { bytes: Vec::new(), room: Room { all: self.bytes.clone(), whose, held: 0 } };
        let expected = hyper::body::Body::size_hint(&body).lower();
        if expected > LONGEST as u64 {
            return Err(too_long());
        }
        let mut body = body;
        let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "the body took too long");
        let end = Instant::now() + BODY_WITHIN;
        while let Some(frame) = timeout_at(end, body.frame()).await.map_err(|_| slow())? {
            let frame = frame.map_err(|e| broken(&e))?;
            let Ok(piece) = frame.into_data() else { continue };
            held.take(&piece, until).await?;
        }
        Ok(held)
    }

    /// A place on the way to helmd.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn turn(&self, share: String, until: Instant) -> Result<Turn> {
        let own = self.share(share);
        let full = |whose: &str| {
            Problem::too_many(
                format!("{whose} batches are on their way already, and none got through in time"),
                LATER,
            )
        };
        let own = timeout_at(until, own.acquire_owned()).await.ok().and_then(std::result::Result::ok);
        let own = own.ok_or_else(|| full("this sender's"))?;
        let whole = timeout_at(until, self.turns.clone().acquire_owned()).await;
        let whole = whole.ok().and_then(std::result::Result::ok).ok_or_else(|| full("too many"))?;
        Ok(Turn { _whole: whole, _own: own })
    }

    /// How many batches are on their way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        TURNS - self.turns.available_permits()
    }

    fn share(&self, of: String) -> Arc<Semaphore> {
        // Each change is one step: there is no half-done state that a panic could leave.
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses are made anew when they are needed.
        if shares.len() > TURNS {
            shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        shares.entry(of).or_insert_with(|| Arc::new(Semaphore::new(SHARE))).clone()
    }
}

/// A body, with the room that it takes.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    room: Room,
}

impl Held {
    /// The body.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes room for what the body may be once it is unpacked, before it is.
    ///
    /// # Errors
    /// There was none in time.
    pub async fn unpacks(&mut self, until: Instant) -> Result<()> {
        self.room.grow(self.bytes.len().saturating_mul(UNPACKED_RATIO).min(UNPACKED_MAX), until).await
    }

    async fn take(&mut self, piece: &Bytes, until: Instant) -> Result<()> {
        if self.bytes.len() + piece.len() > LONGEST {
            return Err(too_long());
        }
        self.room.grow(piece.len(), until).await?;
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Own,
    Foreign,
}

#[derive(Debug, Default)]
struct InUse {
    whole: usize,
    foreign: usize,
}

#[derive(Debug, Default)]
struct BytesHeld {
    in_use: Mutex<InUse>,
    freed: Notify,
}

impl BytesHeld {
    fn in_use(&self) -> std::sync::MutexGuard<'_, InUse> {
        // Each change is one step: there is no half-done state that a panic could leave.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that a body takes; it is given back when it is dropped.
#[derive(Debug)]
struct Room {
    all: Arc<BytesHeld>,
    whose: Whose,
    held: usize,
}

impl Room {
    async fn grow(&mut self, by: usize, until: Instant) -> Result<()> {
        loop {
            let all = self.all.clone();
            let freed = all.freed.notified();
            if self.try_grow(by) {
                return Ok(());
            }
            let full = || Problem::too_many("too many bytes of log are on their way already", LATER);
            timeout_at(until.max(Instant::now()), freed).await.map_err(|_| full())?;
        }
    }

    fn try_grow(&mut self, by: usize) -> bool {
        let mut in_use = self.all.in_use();
        let foreign = if self.whose == Whose::Foreign { by } else { 0 };
        if in_use.whole + by > BYTES || in_use.foreign + foreign > BYTES / 2 {
            return false;
        }
        in_use.whole += by;
        in_use.foreign += foreign;
        self.held += by;
        true
    }

    fn shrink(&mut self, by: usize) {
        let by = by.min(self.held);
        self.held -= by;
        let mut in_use = self.all.in_use();
        in_use.whole -= by;
        if self.whose == Whose::Foreign {
            in_use.foreign -= by;
        }
        drop(in_use);
        self.all.freed.notify_waiters();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shrink(self.held);
    }
}

fn too_long() -> Problem {
    let words = format!("the body has more than {} MiB: send it in pieces", LONGEST >> 20);
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, words)
}

/// What ended a body before its end.
fn broken(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(Broken::TooSlow) = this.downcast_ref::<Broken>() {
            return Problem::new(StatusCode::REQUEST_TIMEOUT, Broken::TooSlow.to_string());
        }
        cause = this.source();
    }
    Problem::bad_request(format!("the body broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now()
    }

    #[tokio::test]
    async fn strangers_leave_room_for_helms_own_and_give_it_back() {
        let gate = Gate::new(1000);
        let body = || Body::from(vec![0; LONGEST]);
        let held = [
            gate.read(body(), Some(7), soon()).await.unwrap(),
            gate.read(body(), None, soon()).await.unwrap(),
        ];
        for stranger in [Some(7), Some(8), None] {
            let more = gate.read(Body::from("x"), stranger, soon()).await;
            assert_eq!(more.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        }
        for own in [Some(1000), Some(0)] {
            assert!(gate.read(body(), own, soon()).await.is_ok());
        }
        drop(held);
        assert!(gate.read(Body::from("x"), Some(7), soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_sender_has_its_share_of_turns() {
        let gate = Gate::new(1000);
        let mut turns = Vec::new();
        for _ in 0..SHARE {
            turns.push(gate.turn("service/core".to_owned(), soon()).await.unwrap());
        }
        let one_more = gate.turn("service/core".to_owned(), soon()).await;
        assert_eq!(one_more.unwrap_err().status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(gate.turn("service/nexus".to_owned(), soon()).await.is_ok());
        assert_eq!(gate.under_way(), SHARE);
    }

    #[tokio::test]
    async fn a_body_has_an_end() {
        let long = Body::from(vec![0; LONGEST + 1]);
        let refused = Gate::new(1000).read(long, None, soon()).await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
