//! Two hundred streams that ask for everything, beside a service that prints a thousand lines a second.

use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use memchr::memmem;
use shared::figures::{Times, grouped};
use shared::report::{Row, progress};
use shared::{Error, Result, pause};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Plan;
use crate::world::{TALKER, WIDTH, World};

const USERS: usize = 25;
/// Of each user: as many as one may have.
const EACH: usize = 8;
/// Only the talker's lines begin so.
const MESSAGE: &[u8] = b"\"message\":\"stdout ";
const QUERY: &str = "/api/v1/stream?topics=status,events,logs,metrics,jobs";

/// What one stream heard.
#[derive(Debug, Default)]
struct Heard {
    /// The lines' numbers: the first, and how many followed without a gap or a doubling.
    first: Option<u64>,
    last: u64,
    lines: u64,
    gaps: u64,
    /// Age of the oldest line of each event.
    ages: Vec<Duration>,
}

pub(crate) async fn streams(world: &World, plan: &Plan) -> Result<Vec<Row>> {
    let (end, _) = watch::channel(0);
    let mut tasks = tokio::task::JoinSet::new();
    for user in 0..USERS {
        let token = world.site.signed(&serde_json::json!({
            "sub": format!("viewer-{user}"), "jti": format!("viewer-{user}"), "preferred_username": "viewer", "permission_level": "admin",
        }));
        for _ in 0..EACH {
            let body = listen(world, &token).await?;
            tasks.spawn(hear(body, end.subscribe()));
        }
    }
    progress(&format!("{} streams are open", USERS * EACH));
    world.site.home.ctl(&["start", TALKER]).code(0);
    let (begun, before) = (Instant::now(), world.processor()?);
    let mut memory = Vec::new();
    while begun.elapsed() < plan.streams {
        pause(Duration::from_millis(500)).await;
        memory.push(world.memory()?);
    }
    let share = 100.0 * (world.processor()? - before) / begun.elapsed().as_secs_f64();
    world.site.home.ctl(&["stop", TALKER]).code(0);
    let printed = printed(world)?;
    end.send_replace(printed);
    let (mut lost, mut ages) = (0, Vec::new());
    while let Some(heard) = tasks.join_next().await {
        let heard = heard??;
        lost += printed - heard.lines.min(printed) + heard.gaps;
        ages.extend(heard.ages);
    }
    let (ages, most) = (Times::of(ages), memory.iter().copied().fold(0.0, f64::max));
    let rate = printed as f64 / plan.streams.as_secs_f64();
    let what = |what: &str| {
        world.row(format!("{} streams, {} lines/s of {WIDTH} B: {what}", USERS * EACH, grouped(rate)))
    };
    Ok(vec![
        what("lost")
            .helm(format!("{lost} of {}", grouped((printed * (USERS * EACH) as u64) as f64)))
            .asked("0", lost == 0)
            .figure("lost", lost as f64),
        what("age of the oldest line of an event")
            .helm(format!("{}, most {:.0} ms", ages.said(), ages.most()))
            .asked("p99 below 250 ms", ages.p99() < 250.0)
            .figure("p50_ms", ages.p50())
            .figure("p99_ms", ages.p99()),
        what("helm-web's processor time")
            .helm(format!("{share:.0} % of a core"))
            .asked("below 50 %", share < 50.0)
            .figure("percent", share),
        what("helm-web's PSS")
            .helm(format!("{most:.1} MB"))
            .asked("below 100 MB", most < 100.0)
            .figure("pss_mb", most),
    ])
}

/// How many lines the talker printed, by its own journal.
fn printed(world: &World) -> Result<u64> {
    let journal = world.site.home.journal(TALKER);
    let life = journal.lives.last().ok_or("the talker has no journal")?;
    Ok(life.end.as_ref().ok_or("the talker did not say how many lines it printed")?.out)
}

async fn listen(world: &World, token: &str) -> Result<Incoming> {
    let host = world.site.address();
    let stream = TcpStream::connect(host).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::get(QUERY).header(HOST, host.to_string());
    let request = request.header(AUTHORIZATION, format!("Bearer {token}")).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(format!("a stream was answered with {}", answer.status()).into());
    }
    Ok(answer.into_body())
}

/// Counts what comes until all that was printed is there, or nothing comes any more.
async fn hear(mut body: Incoming, mut printed: watch::Receiver<u64>) -> Result<Heard> {
    let (mut heard, mut buffer) = (Heard::default(), Vec::new());
    loop {
        let all = *printed.borrow_and_update();
        if all > 0 && heard.lines >= all {
            return Ok(heard);
        }
        let frame = tokio::select! {
            frame = timeout(Duration::from_secs(10), body.frame()) => frame,
            changed = printed.changed() => { changed?; continue; }
        };
        let Ok(frame) = frame else { return Ok(heard) };
        let frame = frame.ok_or("a stream ended")??;
        buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(at) = memmem::find(&buffer, b"\n\n") {
            heard.event(&buffer[..at])?;
            buffer.drain(..at + 2);
        }
    }
}

impl Heard {
    fn event(&mut self, event: &[u8]) -> std::result::Result<(), Error> {
        if memmem::find(event, b"event: gap").is_some() {
            self.gaps += 1;
        }
        if memmem::find(event, b"event: logs").is_none() {
            return Ok(());
        }
        let mut oldest = None;
        let mut rest = event;
        // What a line says of itself: `stdout NONCE NUMBER ....`, behind its own time.
        while let Some(at) = memmem::find(rest, b"\"timestamp\":\"") {
            rest = &rest[at + 13..];
            let Some(end) = memmem::find(rest, MESSAGE) else { break };
            oldest = oldest.or(Some(age(rest)?));
            let message = &rest[end + MESSAGE.len()..];
            let mut words = message.split(|byte| *byte == b' ');
            let number = words
                .nth(1)
                .and_then(|word| std::str::from_utf8(word).ok())
                .and_then(|word| word.parse().ok());
            let number: u64 = number.ok_or("a line without a number")?;
            match self.first {
                None => self.first = Some(number),
                Some(_) if number == self.last + 1 => {}
                Some(_) => return Err(format!("line {number} came behind {}", self.last).into()),
            }
            (self.last, self.lines) = (number, self.lines + 1);
            rest = message;
        }
        self.ages.extend(oldest);
        Ok(())
    }
}

/// How old a time `2026-12-01T10:00:00.123456…` is that lies within this day.
fn age(text: &[u8]) -> Result<Duration> {
    let text = std::str::from_utf8(text.get(11..26).ok_or("a time that is none")?)?;
    let number = |from: usize, to: usize| {
        text.get(from..to).and_then(|part| part.parse::<u64>().ok()).ok_or("a time that is none")
    };
    let then = ((number(0, 2)? * 60 + number(3, 5)?) * 60 + number(6, 8)?) * 1_000_000 + number(9, 15)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros() % 86_400_000_000;
    Ok(Duration::from_micros(u64::try_from(now)?.saturating_sub(then)))
}
