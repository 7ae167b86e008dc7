//! What is shown while an operation goes on: on a terminal a block that is redrawn, else a line for each change of state.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use helm_proto::v1::{Progress, ServiceProgress};

use super::screen::{self, Block};
use super::{BAD, GOOD, Printer, QUIET, WARN, cut, note, safe, styled, time, width};
use crate::failure::Failure;
use helm_shapes::fleet::Step;

/// Services shown at once on a terminal; the others are counted.
const ROWS: usize = 16;
/// Longest name shown whole.
const NAME: usize = 24;

/// The state of an operation, as it is told.
pub(crate) struct Board {
    services: BTreeMap<String, Entry>,
    order: Vec<String>,
    /// What is started as well, in words.
    also: Option<String>,
    show: Show,
    block: Block,
}

/// How it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Nothing,
    Lines,
    Block,
}

struct Entry {
    step: String,
    message: String,
    state: Option<String>,
    pid: Option<u32>,
    since: Instant,
    /// When it will be killed.
    kill_at: Option<Instant>,
    /// The last line that was printed of it: its step, its state, its words.
    told: Option<(String, Option<String>, String)>,
}

/// A line to be printed.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// How it goes.
    Way(String),
    /// What came of it.
    End(String),
}

impl Board {
    /// `quiet`: nothing is shown, also on a terminal (the outcome is printed as JSON).
    pub(crate) fn new(quiet: bool) -> Self {
        let show = match (quiet, screen::can_redraw(&io::stderr())) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Block,
            (false, false) => Show::Lines,
        };
        Self::shown(show)
    }

    fn shown(show: Show) -> Self {
        Self { services: BTreeMap::new(), order: Vec::new(), also: None, show, block: Block::default() }
    }

    /// The block is redrawn as time passes.
    pub(crate) fn is_live(&self) -> bool {
        self.show == Show::Block
    }

    /// Takes news in. `asked`: the names that were typed.
    pub(crate) fn take(&mut self, progress: &Progress, asked: &[String]) {
        if !progress.also_starts.is_empty() {
            self.also = Some(also_words(&progress.also_starts, asked));
        }
        for service in &progress.services {
            self.note(service);
        }
    }

    /// Shows what was taken in.
    pub(crate) fn tell(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        match self.show {
            Show::Nothing => Ok(()),
            Show::Block => {
                self.redraw();
                Ok(())
            }
            Show::Lines => print(self.news(), printer),
        }
    }

    /// What nobody has been told yet, once it is over. `left_out`: what is told elsewhere.
    pub(crate) fn conclude(
        &mut self,
        left_out: impl Fn(&Step) -> bool,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let steps = self.steps();
        let also = self.also.take().filter(|_| self.show == Show::Lines).map(Line::Way);
        let untold = steps.iter().filter(|step| {
            let told = self.services.get(&step.name).and_then(|entry| entry.told.as_ref());
            told.is_none_or(|(_, _, words)| *words != step.message) && !left_out(step)
        });
        let ends = untold.map(|step| Line::End(plain(&step.name, &step.message)));
        print(also.into_iter().chain(ends).collect(), printer)
    }

    /// A line for each service whose step or state is another one than was told. What a probe says from one second to
    /// the next is no news.
    fn news(&mut self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.also.take().map(Line::Way).into_iter().collect();
        for name in &self.order {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let told = entry.told.as_ref().map(|(step, state, _)| (step, state));
            if told == Some((&entry.step, &entry.state)) {
                continue;
            }
            let text = plain(name, &entry.message);
            lines.push(if entry.step == "pending" { Line::Way(text) } else { Line::End(text) });
            entry.told = Some((entry.step.clone(), entry.state.clone(), entry.message.clone()));
        }
        lines
    }

    fn note(&mut self, service: &ServiceProgress) {
        let state = service.status.as_ref().map(|s| s.state.clone());
        let pid = service.status.as_ref().and_then(|s| s.pid);
        let kill_in = service.status.as_ref().and_then(|s| s.kill_in_ms).map(Duration::from_millis);
        let entry = Entry {
            step: service.step.clone(),
            message: service.message.clone(),
            state,
            pid,
            since: Instant::now(),
            kill_at: kill_in.and_then(|left| Instant::now().checked_add(left)),
            told: None,
        };
        match self.services.get_mut(&service.name) {
            Some(old) => {
                let changed = old.step != entry.step || old.message != entry.message;
                let since = if changed { entry.since } else { old.since };
                *old = Entry { since, told: old.told.take(), ..entry };
            }
            None => {
                self.order.push(service.name.clone());
                self.services.insert(service.name.clone(), entry);
            }
        }
    }

    /// Draws the block over the former one, in one write.
    pub(crate) fn redraw(&mut self) {
        let stderr = io::stderr();
        let height = screen::height(&stderr);
        // The lines beside the rows, and the one where the cursor stands.
        let lines = self.lines(width(&stderr), height.saturating_sub(4).clamp(1, ROWS));
        let frame = self.block.frame(&lines, height, screen::colours(&stderr));
        let _ = screen::write(&mut stderr.lock(), &frame);
    }

    /// `rows`: services shown at once; beside them three lines say what is started as well, and what is hidden.
    fn lines(&self, width: usize, rows: usize) -> Vec<String> {
        let at = |name: &String, step: &str| self.services.get(name).is_some_and(|e| e.step == step);
        let pending = |name: &&String| at(name, "pending");
        let mut first: Vec<&String> = self.order.iter().filter(|n| !pending(n)).collect();
        let waiting: Vec<&String> = self.order.iter().filter(pending).collect();
        // Those that are still to come, and those that failed, are never hidden by those that are done.
        first.sort_by_key(|name| at(name, "failed"));
        let room = rows.saturating_sub(waiting.len());
        let hidden = first.len().saturating_sub(room);
        first.drain(..hidden);
        let also = self.also.iter().map(|words| styled(QUIET, &cut(&format!("  {}", safe(words)), width)));
        let mut lines: Vec<String> = also.collect();
        if hidden > 0 {
            lines.push(styled(QUIET, &format!("  {hidden} more done")));
        }
        for name in first.into_iter().chain(waiting.iter().copied().take(rows)) {
            let Some(entry) = self.services.get(name) else { continue };
            let (waited, kill_in) = (entry.since.elapsed(), entry.kill_at.map(|at| at - Instant::now()));
            lines.push(line(name, &entry.step, &entry.message, &clocks(&entry.step, waited, kill_in), width));
        }
        if waiting.len() > rows {
            lines.push(styled(QUIET, &format!("  {} more waiting", waiting.len() - rows)));
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

/// What the clock adds to the words of a service that is not there yet.
fn clocks(step: &str, waited: Duration, kill_in: Option<Duration>) -> String {
    match (step, kill_in) {
        ("pending", Some(left)) => format!("; SIGKILL in {} s", left.as_millis().div_ceil(1_000)),
        ("pending", None) if waited.as_secs() >= 2 => format!(" ({})", time::span(waited.as_secs())),
        _ => String::new(),
    }
}

/// `clocks` is never cut: it is what one waits for.
fn line(name: &str, step: &str, message: &str, clocks: &str, width: usize) -> String {
    let (sign, style) = match step {
        "done" => ("✓", GOOD),
        "failed" => ("✗", BAD),
        "skipped" => ("-", QUIET),
        _ => ("…", WARN),
    };
    // A line that wraps would spoil the count of lines to go back.
    let name = format!("{:16}", cut(name, NAME));
    let taken = 3 + name.chars().count() + clocks.chars().count();
    let words = cut(&safe(message), width.saturating_sub(taken));
    format!("{} {name} {words}{clocks}", styled(style, sign))
}

fn plain(name: &str, message: &str) -> String {
    safe(&format!("{name}: {message}"))
}

fn also_words(names: &[String], asked: &[String]) -> String {
    let by = if let [one] = asked { one.as_str() } else { "what you named" };
    format!("also starts: {} (needed by {by})", names.join(", "))
}

/// What came of it is data, how it came to that is not.
fn print(lines: Vec<Line>, printer: &mut Printer) -> Result<(), Failure> {
    for line in lines {
        match line {
            Line::Way(text) => note(&text),
            Line::End(text) => printer.line(&text)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use helm_proto::v1::ServiceStatus;

    use super::*;

    fn told(name: &str, step: &str, state: &str, message: &str) -> Progress {
        let status = ServiceStatus { state: state.into(), ..Default::default() };
        let service = ServiceProgress {
            name: name.into(),
            step: step.into(),
            message: message.into(),
            status: Some(status),
        };
        Progress { services: vec![service], ..Default::default() }
    }

    fn way(text: &str) -> Vec<Line> {
        vec![Line::Way(text.into())]
    }

    #[test]
    fn in_a_pipe_each_change_of_state_is_one_line() {
        let mut board = Board::shown(Show::Lines);
        let mut hear = |progress: &Progress| {
            board.take(progress, &["web".into()]);
            board.news()
        };
        assert_eq!(
            hear(&told("web", "pending", "starting", "is being started")),
            way("web: is being started")
        );
        assert_eq!(hear(&told("web", "pending", "starting", "not ready yet: connection refused")), []);
        assert_eq!(hear(&told("web", "pending", "starting", "not ready yet: HTTP 503")), []);
        let backoff = "exited with code 7\u{1b}[2J; waits in backoff 1";
        let shown = "web: exited with code 7\u{fffd}[2J; waits in backoff 1";
        assert_eq!(hear(&told("web", "pending", "backoff", backoff)), way(shown));
        assert_eq!(
            hear(&told("web", "done", "running", "started")),
            [Line::End("web: started".into())],
            "what came of it is data"
        );
    }

    #[test]
    fn what_is_started_as_well_is_said_once_and_first() {
        let also_starts = vec!["db".into(), "cache".into()];
        let first =
            Progress { also_starts, ..told("worker", "pending", "blocked", "waits for db (starting)") };
        let mut lines = Board::shown(Show::Lines);
        lines.take(&first, &["worker".into()]);
        let also = "also starts: db, cache (needed by worker)";
        let told: Vec<Line> = way(also).into_iter().chain(way("worker: waits for db (starting)")).collect();
        assert_eq!(lines.news(), told);
        assert_eq!(lines.news(), []);
        let mut block = Board::shown(Show::Block);
        block.take(&first, &["worker".into(), "web".into()]);
        let drawn = block.lines(80, ROWS);
        assert!(drawn[0].contains("also starts: db, cache (needed by what you named)"), "{drawn:?}");
    }

    #[test]
    fn what_failed_is_not_hidden_by_what_is_done() {
        let mut board = Board::shown(Show::Block);
        board.take(&told("bad", "failed", "failed", "no such file"), &[]);
        (0..5).for_each(|i| board.take(&told(&format!("web{i}"), "done", "running", "started"), &[]));
        board.take(&told("late", "pending", "starting", "not ready yet"), &[]);
        let drawn = board.lines(80, 2).join("\n");
        assert!(drawn.contains("5 more done") && drawn.contains("bad") && drawn.contains("late"), "{drawn}");
    }

    #[test]
    fn a_stop_says_when_it_becomes_a_kill() {
        let words = "stopped by uid 1000 pid 123456 (helmctl); waits for it to end";
        let clocks = clocks("pending", Duration::from_secs(3), Some(Duration::from_millis(6_200)));
        let drawn = anstream::adapter::strip_str(&line("web", "pending", words, &clocks, 80)).to_string();
        assert!(drawn.ends_with("; SIGKILL in 7 s") && drawn.chars().count() <= 80, "{drawn}");
        let mut board = Board::shown(Show::Block);
        let mut progress = told("web", "pending", "stopping", words);
        if let Some(status) = &mut progress.services[0].status {
            status.kill_in_ms = Some(10_000);
        }
        board.take(&progress, &[]);
        assert!(board.lines(120, ROWS)[0].contains("; SIGKILL in 10 s"), "{:?}", board.lines(120, ROWS));
        board.take(&told("web", "done", "stopped", "stopped"), &[]);
        assert!(!board.lines(120, ROWS)[0].contains("SIGKILL"), "{:?}", board.lines(120, ROWS));
    }
}
