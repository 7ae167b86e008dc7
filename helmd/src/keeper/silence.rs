//! A keeper that does not answer: stopped by somebody's SIGSTOP, or stuck. It is noticed without any idle wake-up: only
//! an order starts the clock, and whatever the keeper says stops it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use helm_shim::rundir::ServiceDir;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
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

/// Sends a signal to the keeper of this place, if the process that its lock names is one. Blocking.
pub(super) fn signal_keeper(place: &ServiceDir, home: &Path, service: &str, signal: Signal) -> bool {
    let text = fs::read_to_string(place.lock()).unwrap_or_default();
    let Some(pid) = text.trim().parse().ok().and_then(Pid::from_raw) else { return false };
    // Before it is looked at: another process that gets the number later is not the one that is signalled.
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    keeps(pid, home, service) && pidfd_send_signal(process, signal).is_ok()
}

/// The process was started as the keeper of this service in this home.
fn keeps(pid: Pid, home: &Path, service: &str) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    let words = line.split(|b| *b == 0).skip(1);
    let wanted =
        ["keep".as_ref(), "--home".as_ref(), home.as_os_str(), "--service".as_ref(), service.as_ref()];
    words.take(wanted.len()).eq(wanted.map(OsStr::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm_core::name::ServiceName;
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    #[test]
    fn only_the_keeper_of_this_place_is_signalled() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // A script that waits for the end of its input, with the words of a keeper.
        fs::write(here.path().join("keep"), "echo ready; read line").unwrap();
        let mut keeper = Command::new("sh")
            .args(["keep", "--home"])
            .arg(here.path())
            .args(["--service", "web"])
            .current_dir(here.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Only then is its command line surely to be seen: exec lets go of us a moment before.
        keeper.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
        let pid = keeper.id();
        let signal = |home: &Path, service: &str, signal| {
            let place = ServiceDir::new(home, &ServiceName::new(service).unwrap());
            fs::create_dir_all(place.path()).unwrap();
            fs::write(place.lock(), format!("{pid:>10}\n")).unwrap();
            signal_keeper(&place, home, service, signal)
        };
        assert!(!signal(there.path(), "web", Signal::KILL), "of another home");
        assert!(!signal(here.path(), "shop", Signal::KILL), "of another service");
        assert!(signal(here.path(), "web", Signal::TERM));
        assert_eq!(keeper.wait().unwrap().signal(), Some(15), "the first signal that it got");
        assert!(!signal(here.path(), "web", Signal::TERM), "it is gone");
    }

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
