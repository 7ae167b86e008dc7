//! A keeper that does not answer: stopped by somebody's SIGSTOP, or stuck. It is noticed without any idle wake-up: only
//! an order starts the clock, and whatever the keeper says stops it.

use std::time::Duration;

use helm_shim::rundir::ServiceDir;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep_until};

/// After an order without any word it is asked whether it is there. A signal to a stubborn service is such an order.
const ASK_AFTER: Duration = Duration::from_secs(2);
/// A keeper that then says nothing for this long is killed and replaced, which costs the service nothing. Long enough for
/// one that ends a fork bomb on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// An order was sent.
    Ordered(Instant),
    /// It was woken up, and asked.
    Asked(Instant),
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Wake it up (SIGCONT), and ask.
    Ask,
    /// Kill it: a new one takes over.
    Replace,
}

impl Silence {
    /// From now on.
    pub(super) fn begin() -> Self {
        Self::Ordered(Instant::now())
    }

    /// The next stage is due; never without a silence.
    pub(super) async fn due(silence: Option<Self>) -> Due {
        match silence {
            Some(Self::Ordered(at)) => {
                sleep_until(at + ASK_AFTER).await;
                Due::Ask
            }
            Some(Self::Asked(at)) => {
                sleep_until(at + ANSWER_WITHIN).await;
                Due::Replace
            }
            None => std::future::pending().await,
        }
    }
}

/// Sends a signal to the keeper of this place, if the process that its lock names is one.
pub(super) fn signal_keeper(place: &ServiceDir, service: &str, signal: Signal) -> bool {
    let pid = std::fs::read_to_string(place.lock()).ok().and_then(|t| t.trim().parse().ok());
    let is_ours = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|b| *b == 0).collect();
        words.windows(2).any(|two| two == [b"--service".as_slice(), service.as_bytes()])
            && words.contains(&b"keep".as_slice())
    };
    pid.and_then(Pid::from_raw).filter(is_ours).is_some_and(|pid| kill_process(pid, signal).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_it_is_asked_then_it_is_replaced() {
        let begun = Instant::now();
        let ordered = Silence::begin();
        assert_eq!(Silence::due(Some(ordered)).await, Due::Ask);
        assert_eq!(begun.elapsed(), ASK_AFTER);
        assert_eq!(Silence::due(Some(Silence::Asked(Instant::now()))).await, Due::Replace);
        assert_eq!(begun.elapsed(), ASK_AFTER + ANSWER_WITHIN);
    }
}
