//! Log entries that programs send: from a request to helmd's commit, and back to an answer in the words of the sender's protocol.
//!
//! ```text
//! request -> who (sender) -> body, within the gate's bounds -> helm_ingest::decode -> Append (forward) -> answer
//! ```

pub mod forward;
pub mod gate;
pub mod refused;
pub mod sender;

use std::time::Duration;

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use helm_core::time::Wall;
use helm_ingest::answer::{Outcome, Verb};
use helm_ingest::{Asked, BodyError, Format};
use tokio::time::Instant;

use crate::app::App;
use crate::problem::{Problem, Result};
use forward::{Batch, Lanes};
use gate::{Gate, Held};
use refused::Refused;
use sender::Sender;

/// How long a sender waits for a full queue or an absent helmd before it is told to come again. The services' loggers wait 5 s.
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Bodies above it are read on a thread of their own.
const HEAVY: usize = 128 << 10;

/// What ingest needs over all requests.
#[derive(Debug)]
pub struct Ingest {
    /// How much may be on its way.
    pub gate: Gate,
    /// Numbered senders of our own.
    pub lanes: Lanes,
    /// What was refused.
    pub refused: Refused,
}

impl Ingest {
    /// `stem` tells this process from others; `own`: Helm's user.
    #[must_use]
    pub fn new(stem: &str, own: u32) -> Self {
        Self { gate: Gate::new(own), lanes: Lanes::new(stem), refused: Refused::default() }
    }
}

/// What a sender says of how its batch is to be kept once.
#[derive(Debug, Clone, Default)]
pub struct Once {
    /// Its name, and the number of the batch.
    pub sequence: Option<(String, u64)>,
}

/// Takes a body in; answers after the commit.
///
/// # Errors
/// Nothing of it was taken.
pub async fn take(app: &App, format: Format, asked: Asking<'_>, body: axum::body::Body) -> Result<Taken> {
    let until = Instant::now() + PATIENCE;
    let mut held = app.ingest.gate.read(body, asked.sender.uid, until).await?;
    let decoded =
        read(&asked, &mut held, until, |asked, plain| helm_ingest::decode(format, asked, plain)).await?;
    let service = decoded.service.clone();
    let turn = app.ingest.gate.turn(asked.sender.share(&service), until).await;
    let (total, verbs) = (decoded.total, decoded.verbs.clone());
    let outcome = match turn {
        Ok(_turn) => {
            forward::all(app, Batch { sender: asked.sender, decoded, once: asked.once }, until).await
        }
        Err(problem) => Err(problem),
    };
    let outcome = outcome.inspect_err(|problem| {
        if is_lost(problem) {
            app.ingest.refused.count(asked.sender.service_of(&service), total, problem.detail());
        }
    })?;
    Ok(Taken { outcome, verbs })
}

/// What became of a body.
#[derive(Debug)]
pub struct Taken {
    /// By helmd's word.
    pub outcome: Outcome,
    /// What each document of `_bulk` asked for.
    pub verbs: Vec<Verb>,
}

/// Senders of the ecosystem do not try again: what is told to come later is lost.
fn is_lost(problem: &Problem) -> bool {
    matches!(problem.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// How a body would be read, as JSON; nothing is kept.
///
/// # Errors
/// It cannot be read.
pub async fn dry_run(
    app: &App,
    format: Format,
    asking: Asking<'_>,
    body: axum::body::Body,
) -> Result<String> {
    let until = Instant::now() + PATIENCE;
    let mut held = app.ingest.gate.read(body, asking.sender.uid, until).await?;
    read(&asking, &mut held, until, |asked, plain| helm_ingest::explain(format, asked, plain)).await
}

/// What is known beside the body.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Who sends.
    pub sender: &'a Sender,
    /// Whose the entries are that name no service, where the address says so.
    pub service: Option<&'a str>,
    /// The index in the path of `_bulk`.
    pub index: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// How it is kept once.
    pub once: &'a Once,
}

/// Unpacks a body, once there is room for it, and reads it.
async fn read<T>(
    asking: &Asking<'_>,
    held: &mut Held,
    until: Instant,
    read: impl FnOnce(&Asked<'_>, &[u8]) -> std::result::Result<T, BodyError>,
) -> Result<T> {
    let encoding = asking.headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    let packed = encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if packed {
        held.unpacks(until).await?;
    }
    let body = held.bytes();
    let service = asking.sender.calling().or(asking.service);
    let unpacked = || {
        let plain = helm_ingest::unpack::unpack(encoding, body)?;
        read(&Asked { service, index: asking.index, arrived: now() }, &plain)
    };
    // Of a large body every byte is looked at: others are to be answered meanwhile.
    let result =
        if packed || body.len() > HEAVY { tokio::task::block_in_place(unpacked) } else { unpacked() };
    result.map_err(|e| refusal(&e))
}

fn refusal(error: &BodyError) -> Problem {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let problem = Problem::new(status, error.to_string());
    if error.plain() { problem.plain() } else { problem }
}

fn now() -> Wall {
    Wall(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

/// The media type of a body, in lower case and without its parameters.
#[must_use]
pub fn media(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What the headers say of the sender's own numbering.
///
/// # Errors
/// One of the two is missing, or is none.
pub fn once(headers: &HeaderMap) -> Result<Once> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text("x-helm-sender"), text("x-helm-sequence")) {
        (None, None) => Ok(Once::default()),
        (Some(name), Some(number)) if !name.is_empty() => {
            let number = number.parse().ok().filter(|number| *number > 0);
            let number =
                number.ok_or_else(|| Problem::bad_request("X-Helm-Sequence is a whole number from 1"))?;
            // helmd keeps the numbers of each principal apart.
            Ok(Once { sequence: Some((name.to_owned(), number)) })
        }
        _ => Err(Problem::bad_request("X-Helm-Sender and X-Helm-Sequence belong together")),
    }
}
