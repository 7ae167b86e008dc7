//! `top`: the services on the whole screen, live, with hands on them.
//!
//! [`model`] is all that is known and shown, as a function of events; [`view`] draws it. This file is the loop between
//! the terminal, helmd and the two.

mod feed;
mod fleet;
mod history;
mod keys;
mod layout;
mod model;
mod overview;
mod pane;
mod terminal;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anstream::ColorChoice;
use crossterm::event::{self, EventStream, KeyEventKind, MouseButton, MouseEventKind};
use helm_client::Home;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_stream::StreamExt;

use crate::commands::follow::Ending;
use crate::failure::Failure;
use crate::render::{screen, time};
use feed::Feed;
use layout::Size;
use model::{Effect, Event, Model};
use terminal::Screen;
use view::Theme;

/// Times on the screen go on this often.
const TICK: Duration = Duration::from_secs(1);
/// Between two frames, where only helmd has news.
const FRAME: Duration = Duration::from_millis(50);
/// News that wait for the loop; then helmd's streams wait.
const NEWS: usize = 64;

/// Runs until the operator leaves.
pub(crate) async fn run(home: &Home) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "top needs a terminal; elsewhere use: helmctl status --watch (with --json: for programs)".into(),
        ));
    }
    let (sink, news) = mpsc::channel(NEWS);
    // Before the terminal is taken: an error is printed as that of any command.
    let feed = Feed::start(home.clone(), sink).await?;
    let colours = !matches!(screen::colours(&io::stdout()), ColorChoice::Never);
    let screen = Screen::take(Theme { colours })?;
    let model = Model::new(screen.size()?);
    Top { screen, feed, model }.run(news).await
}

struct Top {
    screen: Screen,
    feed: Feed,
    model: Model,
}

impl Top {
    async fn run(mut self, mut news: mpsc::Receiver<Event>) -> Result<(), Failure> {
        let mut typed = EventStream::new();
        let mut ending = Ending::watch()?;
        let mut tick = every(TICK);
        let mut drawn = None;
        loop {
            // What was typed is answered at once; what helmd tells, at the next frame.
            let next_frame = drawn.map(|at: Instant| at + FRAME);
            let event = tokio::select! {
                event = typed.next() => match event {
                    Some(event) => terminal_event(event?),
                    // The terminal is gone.
                    None => return Ok(()),
                },
                Some(event) = news.recv() => Some(event),
                _ = tick.tick() => Some(Event::Tick),
                () = ending.told() => return Ok(()),
            };
            let Some(event) = event else { continue };
            let waits = matches!(event, Event::Lines { .. } | Event::Status(_) | Event::History { .. });
            if !self.happened(event)? {
                return Ok(());
            }
            if waits && let Some(frame) = next_frame {
                self.gather(&mut news, frame).await?;
            }
            self.screen.draw(&self.model)?;
            drawn = Some(Instant::now());
        }
    }

    /// Takes what helmd tells until the next frame is due.
    async fn gather(&mut self, news: &mut mpsc::Receiver<Event>, frame: Instant) -> Result<(), Failure> {
        while let Ok(Some(event)) = tokio::time::timeout_at(frame, news.recv()).await {
            self.happened(event)?;
        }
        Ok(())
    }

    /// Tells the model, and does what it wants; `false`: leave.
    fn happened(&mut self, event: Event) -> Result<bool, Failure> {
        for effect in self.model.update(time::now(), event) {
            match effect {
                Effect::Quit => return Ok(false),
                Effect::Suspend => self.screen.suspend()?,
                Effect::Operate(order) => self.feed.operate(order),
                Effect::Follow { pane, service, tab } => self.feed.pane(pane, service, tab),
                Effect::Copy(text) => Screen::copy(&text)?,
                Effect::Mouse(wanted) => Screen::mouse(wanted)?,
            }
        }
        Ok(true)
    }
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

fn terminal_event(event: event::Event) -> Option<Event> {
    match event {
        event::Event::Key(key) if key.kind != KeyEventKind::Release => Some(Event::Key(key)),
        event::Event::Resize(width, height) => Some(Event::Resize(Size { width, height })),
        event::Event::Paste(text) => Some(Event::Paste(text)),
        event::Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Event::Click(mouse.row)),
            MouseEventKind::ScrollDown => Some(Event::Wheel(3)),
            MouseEventKind::ScrollUp => Some(Event::Wheel(-3)),
            MouseEventKind::Down(_)
            | MouseEventKind::Up(_)
            | MouseEventKind::Drag(_)
            | MouseEventKind::Moved
            | MouseEventKind::ScrollLeft
            | MouseEventKind::ScrollRight => None,
        },
        event::Event::Key(_) | event::Event::FocusGained | event::Event::FocusLost => None,
    }
}
