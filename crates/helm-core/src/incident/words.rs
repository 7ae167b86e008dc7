//! An incident in a sentence.

use super::{Evidence, Incident, Mishap, Oom, What};
use crate::exit::Exit;
use crate::unit::{exit_words, span};

const KIB: u64 = 1 << 10;

impl Incident {
    /// Why it failed, in one sentence without its name: `exited with code 7 after 3 s`.
    pub fn cause(&self) -> String {
        let Incident { mishap, evidence, .. } = self;
        match &mishap.what {
            What::Ended { exit, ran } => match (exit, &evidence.oom) {
                (Exit::Signal(9), Oom::Counted(1..) | Oom::Logged(_)) => {
                    format!("was killed by the kernel, out of memory, after {}", span(*ran))
                }
                (Exit::Code(_) | Exit::Signal(_) | Exit::Unknown, Oom::Counted(processes @ 1..)) => {
                    let words = exit_words(*exit, *ran);
                    format!("{words}; the kernel had killed {}, out of memory", processes_words(*processes))
                }
                (Exit::Code(_) | Exit::Signal(_) | Exit::Unknown, _) => {
                    format!("{}{}", exit_words(*exit, *ran), meaning(*exit))
                }
            },
            What::Unwell { why, .. } if why.starts_with("its ") => format!("was ended by Helm: {why}"),
            What::Unwell { why, .. } => format!("was ended by Helm: it {why}"),
            What::NotStarted { reason } => format!("could not be started: {reason}"),
            What::NotInstalled { reason } => format!("is not installed: {reason}"),
        }
    }

    /// The kernel killed something of it because memory ran out.
    pub fn out_of_memory(&self) -> bool {
        matches!(self.evidence.oom, Oom::Counted(1..) | Oom::Logged(_))
    }
}

impl Mishap {
    /// How its main process ended, where there was one.
    pub fn exit(&self) -> Option<Exit> {
        match self.what {
            What::Ended { exit, .. } | What::Unwell { exit, .. } => Some(exit),
            What::NotStarted { .. } | What::NotInstalled { .. } => None,
        }
    }

    /// The word for what happened: `ended`, `unwell`, `not_started`, `not_installed`.
    pub fn kind(&self) -> &'static str {
        match self.what {
            What::Ended { .. } => "ended",
            What::Unwell { .. } => "unwell",
            What::NotStarted { .. } => "not_started",
            What::NotInstalled { .. } => "not_installed",
        }
    }
}

impl Evidence {
    /// What it had in memory, as far as is known.
    pub(super) fn memory_words(&self) -> Option<String> {
        let newest = self.samples.last();
        let Some(newest) = newest else {
            let peak = self.peak.filter(|peak| *peak > 0)?;
            return Some(format!("at most {} in one process{}", bytes(peak), self.allowed()));
        };
        let cpu = newest.cpu_percent.map_or(String::new(), |cpu| format!(", CPU {cpu:.0} %"));
        let grew = self.samples.first().filter(|first| {
            let (low, high) = (first.memory.min(newest.memory), first.memory.max(newest.memory));
            high - low > high / 10
        });
        let grew = grew.map_or(String::new(), |first| {
            let apart = std::time::Duration::from_nanos((newest.at.0 - first.at.0).max(0).cast_unsigned());
            format!(" ({} before: {})", span(apart), bytes(first.memory))
        });
        let peak = self.peak.filter(|peak| *peak > newest.memory / 10 * 11);
        let peak = peak.map_or(String::new(), |peak| format!(", at most {} in one process", bytes(peak)));
        Some(format!("{}{}{grew}{peak}{cpu}", bytes(newest.memory), self.allowed()))
    }

    fn allowed(&self) -> String {
        self.memory_limit.map_or(String::new(), |limit| format!(" of {} allowed", bytes(limit)))
    }
}

/// What a signal or code usually means, where that is no matter of course.
fn meaning(exit: Exit) -> &'static str {
    match exit {
        Exit::Code(126) => " (a shell's word for: the command cannot be executed)",
        Exit::Code(127) => " (a shell's word for: the command is not there)",
        Exit::Signal(4) => ": it executed what is no instruction",
        Exit::Signal(6) => ": it gave itself up (abort)",
        Exit::Signal(7 | 11) => ": it crashed (memory that is not its own)",
        Exit::Signal(8) => ": it crashed (arithmetic)",
        Exit::Code(_) | Exit::Signal(_) | Exit::Unknown => "",
    }
}

fn processes_words(count: u64) -> String {
    if count == 1 { "a process of it".into() } else { format!("{count} processes of it") }
}

/// `255 MB`: one number is enough; powers of 1024, as limits are read.
pub(super) fn bytes(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    let of = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..0x10_0000 => format!("{:.0} KB", of(KIB)),
        0x10_0000..0x4000_0000 => format!("{:.0} MB", of(KIB * KIB)),
        0x4000_0000.. => format!("{:.1} GB", of(KIB * KIB * KIB)),
    }
}
