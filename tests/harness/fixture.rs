//! What the fixture programs share: their options, their lock, their journal, their numbered lines, their pace.
//!
//! The journal is a fixture's own word about its life, against which a test holds what Helm says:
//!
//! ```text
//! start NONCE at=12345 pid=17 run=00c0ffee
//! end NONCE at=12399 code=7 out=120 err=118     the last thing before it ends by itself or by SIGTERM
//! clash NONCE at=12345                          another instance held the lock
//! ```
//!
//! `at` is CLOCK_MONOTONIC in nanoseconds.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::str::FromStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// `key=value` words of the command line.
#[derive(Debug)]
pub struct Options(Vec<(String, String)>);

impl Options {
    /// From argv. A word without `=` is a key with the value `1`.
    pub fn from_args() -> Self {
        let pair = |word: String| match word.split_once('=') {
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (word, "1".to_owned()),
        };
        Self(std::env::args().skip(1).map(pair).collect())
    }

    /// The value of `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The value of `key` as a number or the like. What cannot be read is an error, not the default.
    pub fn get<T: FromStr>(&self, key: &str, default: T) -> io::Result<T> {
        match self.text(key) {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| io::Error::other(format!("{key}={text}: not understood"))),
        }
    }

    /// The value of `key` in milliseconds; `100..900` draws one of the range.
    pub fn millis(&self, key: &str, default: u64, dice: &mut Dice) -> io::Result<Duration> {
        let text = self.text(key).unwrap_or_default();
        let Some((low, high)) = text.split_once("..") else {
            return self.get(key, default).map(Duration::from_millis);
        };
        let bound = |text: &str| {
            text.parse::<u64>().map_err(|_| io::Error::other(format!("{key}={text}: not understood")))
        };
        Ok(Duration::from_millis(dice.between(bound(low)?, bound(high)?)))
    }

    /// Was it given at all?
    pub fn has(&self, key: &str) -> bool {
        self.text(key).is_some()
    }
}

/// Random numbers from a seed (splitmix64), so that a run can be repeated.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.draw() % (high.max(low) - low + 1)
    }
}

/// One life of a fixture: its name, its lock, its journal.
#[derive(Debug)]
pub struct Life {
    nonce: String,
    journal: Option<File>,
    lock: Option<File>,
}

impl Life {
    /// Takes the lock named by LOCK_FILE and notes the start in the file named by JOURNAL. A lock that is held by
    /// somebody else is noted there as a clash: the test fails by it.
    pub fn begin() -> io::Result<Self> {
        let nonce = format!("{}-{}", std::process::id(), monotonic());
        let append = |path| OpenOptions::new().append(true).create(true).open(path);
        let journal = std::env::var_os("JOURNAL").map(append).transpose()?;
        let mut life = Self { nonce, journal, lock: None };
        if let Some(path) = std::env::var_os("LOCK_FILE") {
            let file = append(path)?;
            match file.try_lock() {
                Ok(()) => life.lock = Some(file),
                Err(TryLockError::WouldBlock) => life.note("clash", "")?,
                Err(TryLockError::Error(e)) => return Err(e),
            }
        }
        let run = std::env::var("HELM_RUN").unwrap_or_default();
        life.note("start", &format!("pid={} run={run}", std::process::id()))?;
        Ok(life)
    }

    /// Children hold the lock as well from now on: it is free when the whole tree is gone.
    pub fn share_lock(&self) -> io::Result<()> {
        match &self.lock {
            Some(file) => Ok(rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?),
            None => Ok(()),
        }
    }

    /// The name of this life in lines and journal.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// A seed of its own.
    pub fn dice(&self) -> Dice {
        Dice::new(
            self.nonce
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// One line into the journal.
    pub fn note(&self, word: &str, rest: &str) -> io::Result<()> {
        match &self.journal {
            Some(file) => {
                let mut file: &File = file;
                file.write_all(format!("{word} {} at={} {rest}\n", self.nonce, monotonic()).as_bytes())
            }
            None => Ok(()),
        }
    }

    /// The last note: how it is about to end, and how many lines it has written.
    pub fn end(&self, code: u8, lines: &Lines) -> io::Result<std::process::ExitCode> {
        self.note("end", &format!("code={code} out={} err={}", lines.out.written, lines.err.written))?;
        Ok(code.into())
    }
}

/// CLOCK_MONOTONIC in nanoseconds: comparable between processes.
pub fn monotonic() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Numbered lines on both streams: `<stream> <nonce> <n> <padding>`.
#[derive(Debug)]
pub struct Lines {
    out: Stream,
    err: Stream,
}

#[derive(Debug)]
struct Stream {
    file: File,
    prefix: String,
    written: u64,
    text: String,
}

impl Stream {
    fn new(name: &str, nonce: &str, fd: impl AsFd) -> io::Result<Self> {
        let file = File::from(fd.as_fd().try_clone_to_owned()?);
        Ok(Self { file, prefix: format!("{name} {nonce}"), written: 0, text: String::new() })
    }

    /// `count` more lines of at least `width` bytes, in one write.
    fn write(&mut self, count: u64, width: usize) -> io::Result<()> {
        self.text.clear();
        for n in self.written + 1..=self.written + count {
            let from = self.text.len();
            // Writing into a String cannot fail.
            let _ = write!(self.text, "{} {n} ", self.prefix);
            let padding = width.saturating_sub(self.text.len() - from + 1);
            self.text.extend(std::iter::repeat_n('.', padding));
            self.text.push('\n');
        }
        self.file.write_all(self.text.as_bytes())?;
        self.written += count;
        Ok(())
    }
}

impl Lines {
    /// Lines of this life, on its stdout and stderr.
    pub fn new(life: &Life) -> io::Result<Self> {
        Ok(Self {
            out: Stream::new("stdout", life.nonce(), io::stdout())?,
            err: Stream::new("stderr", life.nonce(), io::stderr())?,
        })
    }

    /// `count` more lines on each of the streams asked for.
    pub fn write(&mut self, streams: Streams, count: u64, width: usize) -> io::Result<()> {
        if streams.out {
            self.out.write(count, width)?;
        }
        if streams.err {
            self.err.write(count, width)?;
        }
        Ok(())
    }

    /// Bytes as they are, on stdout; they are not counted.
    pub fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.file.write_all(bytes)
    }

    /// Lines written on the busier stream.
    pub fn written(&self) -> u64 {
        self.out.written.max(self.err.written)
    }
}

/// On which streams to write.
#[derive(Debug, Clone, Copy)]
pub struct Streams {
    out: bool,
    err: bool,
}

impl Streams {
    /// stdout and stderr.
    pub const BOTH: Self = Self { out: true, err: true };
}

impl FromStr for Streams {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "both" => Ok(Self::BOTH),
            "stdout" => Ok(Self { out: true, err: false }),
            "stderr" => Ok(Self { out: false, err: true }),
            _ => Err(()),
        }
    }
}

/// SIGTERM and SIGINT as something to wait for. A program that has one does not die of them.
#[derive(Debug)]
pub struct Term(Receiver<()>);

impl Term {
    /// Takes the signals over.
    pub fn watch() -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (tell, told) = sync_channel(1);
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for _ in signals.forever() {
                // A full channel has told it already.
                let _ = tell.try_send(());
            }
        })?;
        Ok(Self(told))
    }

    /// Passes the time; true if the signal came meanwhile.
    pub fn within(&self, time: Duration) -> bool {
        self.0.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
    }

    /// Until the signal comes.
    pub fn wait(&self) {
        // The thread that sends never ends.
        let _ = self.0.recv();
    }
}
