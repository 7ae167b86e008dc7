//! What is shown while an operation goes on: on a terminal a block that is redrawn, else nothing.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use helm_proto::v1::{Progress, ServiceProgress};

use super::json::Step;
use super::screen::{self, Block};
use super::{BAD, GOOD, QUIET, WARN, cut, safe, styled, time, width};

/// Services shown at once on a terminal; the others are counted.
const ROWS: usize = 16;
/// Longest name shown whole.
const NAME: usize = 24;

/// The state of an operation, as it is told.
pub(crate) struct Board {
    services: BTreeMap<String, Entry>,
    order: Vec<String>,
    live: bool,
    block: Block,
}

struct Entry {
    step: String,
    message: String,
    state: Option<String>,
    pid: Option<u32>,
    since: Instant,
}

impl Board {
    /// `quiet`: nothing is shown, also on a terminal (the outcome is printed as JSON).
    pub(crate) fn new(quiet: bool) -> Self {
        let live = screen::can_redraw(&io::stderr()) && !quiet;
        Self { services: BTreeMap::new(), order: Vec::new(), live, block: Block::default() }
    }

    /// The block is redrawn as time passes.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Takes news in and shows it.
    pub(crate) fn take(&mut self, progress: &Progress) {
        for service in &progress.services {
            self.note(service);
        }
        self.redraw();
    }

    fn note(&mut self, service: &ServiceProgress) {
        let state = service.status.as_ref().map(|s| s.state.clone());
        let pid = service.status.as_ref().and_then(|s| s.pid);
        let entry = Entry {
            step: service.step.clone(),
            message: service.message.clone(),
            state,
            pid,
            since: Instant::now(),
        };
        match self.services.get_mut(&service.name) {
            Some(old) => {
                let changed = old.step != entry.step || old.message != entry.message;
                let since = if changed { entry.since } else { old.since };
                *old = Entry { since, ..entry };
            }
            None => {
                self.order.push(service.name.clone());
                self.services.insert(service.name.clone(), entry);
            }
        }
    }

    /// Draws the block over the former one, in one write.
    pub(crate) fn redraw(&mut self) {
        if !self.live {
            return;
        }
        let stderr = io::stderr();
        let frame =
            self.block.frame(&self.lines(width(&stderr)), screen::height(&stderr), screen::colours(&stderr));
        let _ = screen::write(&mut stderr.lock(), &frame);
    }

    fn lines(&self, width: usize) -> Vec<String> {
        let pending = |name: &&String| self.services.get(*name).is_some_and(|e| e.step == "pending");
        let mut first: Vec<&String> = self.order.iter().filter(|n| !pending(n)).collect();
        let waiting: Vec<&String> = self.order.iter().filter(pending).collect();
        // Those that are still to come are never hidden by those that are done.
        let room = ROWS.saturating_sub(waiting.len().min(ROWS));
        let hidden = first.len().saturating_sub(room);
        first.drain(..hidden);
        let mut lines = Vec::new();
        if hidden > 0 {
            lines.push(styled(QUIET, &format!("  {hidden} more done")));
        }
        for name in first.into_iter().chain(waiting.iter().copied().take(ROWS)) {
            let Some(entry) = self.services.get(name) else { continue };
            let mut words = entry.message.clone();
            let waited = entry.since.elapsed().as_secs();
            if entry.step == "pending" && waited >= 2 {
                words = format!("{words} ({})", time::span(waited));
            }
            lines.push(line(name, &entry.step, &words, width));
        }
        if waiting.len() > ROWS {
            lines.push(styled(QUIET, &format!("  {} more waiting", waiting.len() - ROWS)));
        }
        lines
    }

    /// For the JSON outcome.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let entries = self.order.iter().filter_map(|name| self.services.get(name).map(|e| (name, e)));
        entries
            .map(|(name, e)| Step {
                name: name.clone(),
                step: e.step.clone(),
                message: e.message.clone(),
                state: e.state.clone(),
                pid: e.pid,
            })
            .collect()
    }
}

fn line(name: &str, step: &str, message: &str, width: usize) -> String {
    let (sign, style) = match step {
        "done" => ("✓", GOOD),
        "failed" => ("✗", BAD),
        "skipped" => ("-", QUIET),
        _ => ("…", WARN),
    };
    // A line that wraps would spoil the count of lines to go back.
    let name = format!("{:16}", cut(name, NAME));
    let taken = 3 + name.chars().count();
    let words = cut(&safe(message), width.saturating_sub(taken));
    format!("{} {name} {words}", styled(style, sign))
}
