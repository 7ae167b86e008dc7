//! What systemd and helmd tell each other: the listening socket that was handed over, readiness, and the watchdog that the
//! supervisor's own loop feeds. Without systemd all of it is nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};

/// What systemd listens at for us (`helmd.socket`), if it does. Once, before anything else is opened.
///
/// # Errors
/// What systemd left cannot be taken over.
pub fn listener() -> io::Result<Option<OwnedFd>> {
    sd_notify::listen_fds()?.next().map(helm_shim::sys::inherited).transpose()
}

/// Whether systemd listens for this process, whichever program it is by now: its variables outlive an exec.
pub fn listens() -> bool {
    std::env::var("LISTEN_PID").is_ok_and(|pid| pid == std::process::id().to_string())
}

/// helmd answers.
pub fn ready() {
    tell(NotifyState::Ready);
}

/// helmd is on its way out.
pub fn leaving() {
    tell(NotifyState::Stopping);
}

/// Nobody is there to be told of a failure but the one who did not listen.
fn tell(state: NotifyState<'_>) {
    if let Err(e) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told of it: {e}");
    }
}

/// The watchdog: systemd ends a helmd whose loop does not turn, and starts another one; services stay.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    next: Instant,
}

impl Watchdog {
    /// Fed twice as often as systemd asks for (sd_watchdog_enabled(3)).
    pub fn of_systemd() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|within| within / 2), next: Instant::now() }
    }

    /// Completes when it is to be fed; never without one.
    pub async fn hungry(&self) {
        match self.every {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// The loop turns.
    pub fn feed(&mut self) {
        if let Some(every) = self.every {
            tell(NotifyState::Watchdog);
            self.next = Instant::now() + every;
        }
    }
}
