//! A helmd of a few lines: starts keepers, gives orders, waits for reports.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::wildcard_enum_match_arm, reason = "tests")]

use std::collections::VecDeque;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use helm_core::name::ServiceName;
use helm_core::spec::LogRules;
use helm_core::status::RunId;
use helm_core::wish::Mode;
use helm_shim::codec::{read_message, write_message};
use helm_shim::rundir::ServiceDir;
use helm_shim::wire::{Attach, Ended, KeeperState, Order, Report, StartOrder};
use helm_shim::{cri, procs, segments};

pub const BOUND: Duration = Duration::from_secs(20);

pub struct Home {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
    pub name: ServiceName,
    runs: AtomicU64,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        Self::at(dir, path)
    }

    pub fn at(dir: tempfile::TempDir, path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        Self { dir, path, name: ServiceName::new("web").unwrap(), runs: AtomicU64::new(1) }
    }

    pub fn place(&self) -> ServiceDir {
        ServiceDir::new(&self.path, &self.name)
    }

    pub fn next_run(&self) -> RunId {
        RunId(self.runs.fetch_add(1, Ordering::SeqCst))
    }

    pub fn keeper(&self) -> Keeper {
        self.keeper_with(LogRules::default(), None)
    }

    pub fn keeper_with(&self, log: LogRules, attach: Option<Attach>) -> Keeper {
        let mut keeper = self.bare_keeper();
        keeper.order(&Order::Hello { log, attach });
        let Report::Hello(state) = keeper.next() else { panic!("no Hello") };
        keeper.hello = Some(*state);
        keeper
    }

    pub fn bare_keeper(&self) -> Keeper {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_helm-shim"))
            .args(["keep", "--home"])
            .arg(&self.path)
            .args(["--service", self.name.as_str()])
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        ours.set_read_timeout(Some(BOUND)).unwrap();
        Keeper { child, stream: ours, seen: VecDeque::new(), hello: None, place: self.place(), live: None }
    }

    pub fn start_order(&self, argv: &[&str]) -> StartOrder {
        StartOrder {
            run: self.next_run(),
            mode: Mode::Development,
            argv: argv.iter().map(|s| (*s).to_owned()).collect(),
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HOMEDIR".into(), self.path.display().to_string()),
            ],
            cwd: self.path.display().to_string(),
            cgroup: None,
            rlimits: vec![],
            soft_rlimits: vec![],
            listen: Vec::new(),
            notify: false,
            watchdog: None,
            definition: None,
        }
    }

    pub fn sh(&self, script: &str) -> StartOrder {
        self.start_order(&["/bin/sh", "-c", script])
    }

    /// Read ends of the pipes, as helmd holds them.
    pub fn hold_pipes(&self, run: RunId) -> [fs::File; 2] {
        [0, 1].map(|i| {
            let mut how = fs::OpenOptions::new();
            how.read(true).custom_flags(libc::O_NONBLOCK);
            how.open(self.place().run(run).pipe(i)).unwrap()
        })
    }

    /// Everything in the log files: the pieces of a stream put together as they were written.
    pub fn output(&self, stream: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for line in self.log_bytes().split_inclusive(|c| *c == b'\n') {
            let piece = cri::parse(line).unwrap_or_else(|| {
                panic!("not a CRI line: {:?}", String::from_utf8_lossy(&line[..line.len().min(90)]))
            });
            if piece.stream == stream {
                text.extend_from_slice(piece.text);
                if piece.full {
                    text.push(b'\n');
                }
            }
        }
        text
    }

    pub fn log_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for segment in segments::list(&self.place().logs()).unwrap() {
            match segment.open_at(0) {
                Ok(mut reader) => drop(reader.read_to_end(&mut bytes).unwrap()),
                // Compressed since the listing.
                Err(_) => return self.log_bytes(),
            }
        }
        bytes
    }

    pub fn text(&self, stream: usize) -> String {
        String::from_utf8_lossy(&self.output(stream)).into_owned()
    }
}

pub struct Keeper {
    pub child: Child,
    pub stream: UnixStream,
    seen: VecDeque<Report>,
    pub hello: Option<KeeperState>,
    pub place: ServiceDir,
    /// The run to end when the test ends.
    pub live: Option<(RunId, u32)>,
}

impl Keeper {
    pub fn order(&mut self, order: &Order) {
        write_message(&mut self.stream, order).unwrap();
    }

    fn receive(&mut self) -> Option<Report> {
        read_message(&mut self.stream).expect("a report within the bound")
    }

    pub fn next(&mut self) -> Report {
        self.seen.pop_front().unwrap_or_else(|| self.receive().expect("the keeper closed the connection"))
    }

    /// The first report for which `pick` gives something; earlier ones stay for others.
    pub fn wait<T>(&mut self, what: &str, pick: impl Fn(&Report) -> Option<T>) -> T {
        let until = Instant::now() + BOUND;
        let mut passed = VecDeque::new();
        loop {
            assert!(Instant::now() < until, "waited in vain for {what}; came: {passed:?}");
            let report = self.next();
            if let Some(found) = pick(&report) {
                passed.append(&mut self.seen);
                self.seen = passed;
                return found;
            }
            passed.push_back(report);
        }
    }

    pub fn start(&mut self, order: StartOrder) -> u32 {
        let run = order.run;
        self.order(&Order::Start(Box::new(order)));
        let pid = self.wait("Started", |r| match r {
            Report::Started { run: r, pid, .. } if *r == run => Some(*pid),
            Report::StartFailed { message, .. } => panic!("{message}"),
            _ => None,
        });
        self.live = Some((run, pid));
        pid
    }

    pub fn start_failure(&mut self, order: StartOrder) -> (String, i32, String) {
        self.order(&Order::Start(Box::new(order)));
        self.wait("StartFailed", |r| match r {
            Report::StartFailed { stage, errno, message, .. } => {
                Some((stage.clone(), *errno, message.clone()))
            }
            Report::Started { .. } => panic!("it started"),
            _ => None,
        })
    }

    pub fn ended(&mut self, run: RunId) -> Ended {
        self.wait("Ended", |r| match r {
            Report::Ended(e) if e.run == run => Some(e.clone()),
            _ => None,
        })
    }

    pub fn tree_empty(&mut self, run: RunId) -> u32 {
        let left = self.wait("TreeEmpty", |r| match r {
            Report::TreeEmpty { run: r, leftovers } if *r == run => Some(*leftovers),
            _ => None,
        });
        self.live = None;
        left
    }

    /// `kill -9` of the keeper itself, and its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn retire(mut self) {
        self.order(&Order::Retire);
        assert!(self.child.wait().unwrap().success());
        self.live = None;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Whatever a failed test leaves: by pid, and only what this test has started.
        let own = self.child.id();
        let mut left = if self.child.try_wait().is_ok_and(|s| s.is_none()) {
            procs::descendants(&[own])
        } else {
            vec![]
        };
        if let Some((run, _)) = self.live {
            let dir = self.place.run(run);
            left.extend(procs::all().iter().map(|s| s.process).filter(|p| procs::has_marker(p.pid, &dir)));
        }
        for p in left {
            procs::signal(p, libc::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        pause();
    }
}

pub fn pause() {
    let _ = rustix::event::poll(&mut [], Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 2_000_000 }));
}

pub fn alive(pid: u32) -> bool {
    procs::stat(pid).is_some_and(|s| !s.dead)
}

pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
