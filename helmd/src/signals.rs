//! Signals to the process, heard on a thread that outlives the lives of helmd in it: between two of them none is lost.
//!
//! SIGTERM and SIGINT: helmd leaves, services stay. SIGHUP: reload.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What was heard so far.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// helmd is to leave: by which signal.
    leave: Option<&'static str>,
    /// How many times a reload was asked for.
    reloads: u64,
}

/// What is heard.
#[derive(Debug, Clone)]
pub struct Signals {
    heard: watch::Receiver<Heard>,
    /// Reloads that were passed on already.
    passed: u64,
}

/// One thing that was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// helmd is to leave; the signal.
    Leave(&'static str),
    /// A reload is asked for.
    Reload,
}

/// Those that are heard here.
fn ours() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
}

/// Keeps them waiting, over an exec as well: the next program hears them once it listens.
pub fn hold_back() -> io::Result<()> {
    Ok(ours().thread_block()?)
}

/// Lets through what was held back.
pub fn let_through() -> io::Result<()> {
    Ok(ours().thread_unblock()?)
}

impl Signals {
    /// Listens from now on. Called by the first thread before there are others, so that what a former program held back is
    /// let through when there is somebody to hear it.
    pub fn listen() -> io::Result<Self> {
        let (tell, heard) = watch::channel(Heard::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = {
            let _inside = runtime.enter();
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
        };
        let [term, int, hup] = listening;
        let (mut term, mut int, mut hup) = (term?, int?, hup?);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = term.recv() => tell.send_modify(|heard| heard.leave = Some("SIGTERM")),
                        _ = int.recv() => tell.send_modify(|heard| heard.leave = Some("SIGINT")),
                        _ = hup.recv() => tell.send_modify(|heard| heard.reloads += 1),
                        () = tell.closed() => return,
                    }
                }
            });
        })?;
        let_through()?;
        Ok(Self { heard, passed: 0 })
    }

    /// helmd was told to leave.
    pub fn leaves(&self) -> bool {
        self.heard.borrow().leave.is_some()
    }

    /// The signal by which helmd is told to leave. A reload that is asked for meanwhile is told by [`Self::next`], in a
    /// next life perhaps.
    pub async fn leaving(&mut self) -> &'static str {
        match self.heard.wait_for(|heard| heard.leave.is_some()).await.map(|heard| heard.leave) {
            Ok(Some(signal)) => signal,
            // The thread ends with the process.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// The next thing that is heard; several reloads at once are one.
    pub async fn next(&mut self) -> Told {
        let passed = self.passed;
        let heard = self.heard.wait_for(|heard| heard.leave.is_some() || heard.reloads > passed).await;
        let Ok(heard) = heard.map(|heard| *heard) else {
            // The thread ends with the process.
            return std::future::pending().await;
        };
        if let Some(signal) = heard.leave {
            return Told::Leave(signal);
        }
        self.passed = heard.reloads;
        Told::Reload
    }
}
