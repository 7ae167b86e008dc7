//! The flight recorder: an end that nobody asked for, with the evidence that was there, and what it tells a person ([`why`]).
//!
//! ```text
//! fleet --Mishap--> whoever gathers --Evidence--> Incident --Situation--> Why
//! ```
//!
//! An incident is a value. It is written down once, bounded, and not changed afterwards; what came of it is read from later
//! events when somebody asks.

mod aftermath;
mod facts;
mod next;
pub mod why;
mod words;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::ProbeKind;
use crate::exit::Exit;
use crate::name::ServiceName;
use crate::policy::Next;
use crate::status::{Health, RunId};
use crate::time::Wall;

pub use aftermath::{SHORTLY, aftermath, before};

/// Lines of output that are kept, and what they may take together.
pub const LINES: usize = 20;
const LINE_CHARS: usize = 500;
const ALL_LINES_BYTES: usize = 12 << 10;
/// Answers of probes that are kept.
pub const ANSWERS: usize = 10;
/// Samples that are kept.
pub const SAMPLES: usize = 6;
/// Changes of before that are kept.
const BEFORE: usize = 8;
/// Longest text of anything else.
const TEXT_CHARS: usize = 300;

/// A run ended without having been asked to, or a start came to nothing: what the fleet knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mishap {
    /// Whose.
    pub service: ServiceName,
    /// The run; where nothing was started, the one that was to be.
    pub run: RunId,
    /// When.
    pub at: Wall,
    /// What happened.
    pub what: What,
    /// What the fleet does about it.
    pub follows: Follows,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Its main process ended by itself, or by somebody whom Helm does not know.
    Ended {
        /// How.
        exit: Exit,
        /// After what time.
        ran: Duration,
    },
    /// Helm ended it, because it was not well.
    Unwell {
        /// In words: `was not ready after 30 s: HTTP 503`.
        why: String,
        /// How it ended then.
        exit: Exit,
        /// After what time.
        ran: Duration,
    },
    /// It could not be started.
    NotStarted {
        /// In words, with path and errno.
        reason: String,
    },
    /// Its directory or program is not there.
    NotInstalled {
        /// In words.
        reason: String,
    },
}

/// What the fleet does about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// It starts again at once.
    Again,
    /// It starts again after a delay.
    After {
        /// How long.
        delay: Duration,
        /// Which delay in a row.
        number: u32,
    },
    /// Too many failures in a row: a person must act.
    GaveUp {
        /// How many.
        failures: u32,
    },
    /// It is not started again by itself: its policy says so, or trying again cannot help.
    Stays,
}

impl Follows {
    /// Of what the policy says; `None`: it has done what it was for.
    pub(crate) fn of(next: Next) -> Option<Self> {
        match next {
            Next::Done => None,
            Next::Stay => Some(Self::Stays),
            Next::GiveUp { failures } => Some(Self::GaveUp { failures }),
            Next::Start => Some(Self::Again),
            Next::Wait { delay, number } => Some(Self::After { delay, number }),
        }
    }
}

/// Whether the kernel killed processes of it because memory ran out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oom {
    /// Its cgroup counts so many (`memory.events`).
    Counted(u64),
    /// The kernel's log names its main process.
    Logged(String),
    /// It did not.
    No,
    /// Neither can be read here.
    #[default]
    Unknown,
}

/// What was there when it happened.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// Did the kernel do it, for memory?
    pub oom: Oom,
    /// Bytes that it was allowed, by its definition.
    pub memory_limit: Option<u64>,
    /// What holds it there: its cgroup, or nothing but the limit of each process.
    pub cgroup: bool,
    /// The most that one process of it had in memory, where it is known.
    pub peak: Option<u64>,
    /// What it worked, where it is known.
    pub cpu: Option<Duration>,
    /// The last numbers of this run, oldest first.
    pub samples: Vec<Sample>,
    /// What it printed last, oldest first.
    pub lines: Vec<OutputLine>,
    /// What its probes found last, oldest first.
    pub answers: Vec<ProbeAnswer>,
    /// What had changed shortly before, oldest first.
    pub before: Vec<Told>,
}

/// Numbers of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: Wall,
    /// Bytes in memory.
    pub memory: u64,
    /// Per cent of one core.
    pub cpu_percent: Option<f64>,
}

/// A line of output, as it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputLine {
    /// When.
    pub at: Wall,
    /// On stderr.
    pub stderr: bool,
    /// What.
    pub text: String,
}

/// An answer of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeAnswer {
    /// When.
    pub at: Wall,
    /// The run that was asked.
    pub run: RunId,
    /// Which.
    pub probe: ProbeKind,
    /// What it found.
    pub health: Health,
    /// In words.
    pub message: String,
    /// How long it took.
    pub latency: Duration,
}

/// Something that happened, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub at: Wall,
    /// Whose it is, where it is not about Helm as a whole.
    pub service: Option<ServiceName>,
    /// What.
    pub text: String,
}

/// An end that nobody asked for, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number, for people.
    pub number: u64,
    /// What the fleet knows.
    #[serde(flatten)]
    pub mishap: Mishap,
    /// What was gathered.
    pub evidence: Evidence,
}

impl Incident {
    /// Puts it together, within bounds.
    pub fn new(number: u64, mishap: Mishap, evidence: Evidence) -> Self {
        Self { number, mishap: mishap.bounded(), evidence: evidence.bounded() }
    }
}

impl Mishap {
    fn bounded(mut self) -> Self {
        match &mut self.what {
            What::Ended { .. } => {}
            What::Unwell { why: text, .. }
            | What::NotStarted { reason: text }
            | What::NotInstalled { reason: text } => *text = short(text, TEXT_CHARS),
        }
        self
    }
}

impl Evidence {
    fn bounded(mut self) -> Self {
        last(&mut self.samples, SAMPLES);
        last(&mut self.answers, ANSWERS);
        last(&mut self.before, BEFORE);
        last(&mut self.lines, LINES);
        for line in &mut self.lines {
            line.text = short(&line.text, LINE_CHARS);
        }
        let mut room = ALL_LINES_BYTES;
        let fits = self.lines.iter().rev().take_while(|line| {
            let left = room.checked_sub(line.text.len());
            room = left.unwrap_or(0);
            left.is_some()
        });
        let fits = fits.count();
        last(&mut self.lines, fits);
        self.answers.iter_mut().for_each(|answer| answer.message = short(&answer.message, TEXT_CHARS));
        self.before.iter_mut().for_each(|told| told.text = short(&told.text, TEXT_CHARS));
        if let Oom::Logged(line) = &mut self.oom {
            *line = short(line, TEXT_CHARS);
        }
        self
    }
}

fn last<T>(all: &mut Vec<T>, most: usize) {
    all.drain(..all.len().saturating_sub(most));
}

/// Cut to so many characters, which is seen.
fn short(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
