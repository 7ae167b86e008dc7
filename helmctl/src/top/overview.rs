//! The selected service in words: what `top` shows of it beside its lines.

use helm_proto::v1::{ServiceInfo, ServiceStatus};

use super::fleet::Row;
use super::model::Model;
use super::pane::{Line, Tone};
use crate::render::{metrics, status, time};

/// Columns of the word at the left.
const WORD: usize = 11;
/// A curve is not wider.
const WIDEST: usize = 100;

/// The overview of what is selected.
pub(super) fn lines(model: &Model, width: usize) -> Vec<Line> {
    let Some(row) = model.fleet.selected() else { return Vec::new() };
    let mut lines = state(row, model.now);
    lines.extend(numbers(model, &row.status, width));
    lines.extend(process(&row.status, model.now));
    if let Some(info) = model.infos.get(&row.status.name) {
        lines.extend(definition(info, &row.status));
    }
    lines
}

fn said(word: &str, words: &str, tone: Tone) -> Line {
    Line::new(&format!("{word:WORD$}{words}"), tone)
}

/// What it does, why, and what comes next.
fn state(row: &Row, now: i64) -> Vec<Line> {
    let s = &row.status;
    let since = s.since.as_ref().map(|at| format!(" for {}", time::since(at, now))).unwrap_or_default();
    let wanted = match (s.wanted, s.state.as_str()) {
        (true, "stopped" | "failed") => ", is wanted",
        (false, "running" | "starting") => ", is not wanted",
        _ => "",
    };
    let mut lines =
        vec![said("state", &format!("{}{since}{wanted}", s.state), status::state_style(&s.state).into())];
    if !s.reason.is_empty() {
        lines.push(said("why", &s.reason, Tone::Plain));
    }
    if let Some(seconds) = row.countdown(now) {
        let words = match s.state.as_str() {
            "stopping" => format!("SIGKILL in {seconds} s"),
            _ => format!("starts again in {}; at once with `s`", time::span(seconds)),
        };
        lines.push(said("next", &words, Tone::Warn));
    }
    if !s.waits_for.is_empty() {
        lines.push(said("waits for", &s.waits_for.join(", "), Tone::Warn));
    }
    lines.extend(s.warnings.iter().map(|words| said("warning", words, Tone::Warn)));
    lines.extend(health(s));
    lines
}

fn health(s: &ServiceStatus) -> Vec<Line> {
    let latency = s.health_latency_us.map(|us| format!(" ({})", latency(us))).unwrap_or_default();
    let words = match s.health_message.as_str() {
        "" => format!("{}{latency}", s.health),
        message => format!("{}: {message}{latency}", s.health),
    };
    let mut lines = vec![said("health", &words, status::health_style(&s.health).into())];
    let notify = s.notify_status.iter().filter(|words| !words.is_empty());
    lines.extend(notify.map(|words| said("says", words, Tone::Plain)));
    lines
}

fn latency(us: u64) -> String {
    if us < 10_000 { format!("{}.{} ms", us / 1_000, us % 1_000 / 100) } else { format!("{} ms", us / 1_000) }
}

/// Curves of the last minutes, with their bounds.
fn numbers(model: &Model, s: &ServiceStatus, width: usize) -> Vec<Line> {
    let Some(history) = model.fleet.history_of(&s.name) else { return Vec::new() };
    let room = width.saturating_sub(WORD + 7 + 22).clamp(8, WIDEST);
    let line = |word, now: Option<f64>, curve: String, bounds: Option<(f64, f64)>, unit| {
        let (low, high) = bounds?;
        let now = now.map_or_else(|| "-".to_owned(), |value| metrics::amount(value, unit));
        let (low, high) = (metrics::amount(low, unit), metrics::amount(high, unit));
        Some(said(word, &format!("{now:<6} {curve} {low} to {high}"), Tone::Plain))
    };
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    let memory = s.memory_bytes.map(|bytes| bytes as f64);
    let cpu = line("cpu", s.cpu_percent, history.cpu(model.now, room), history.cpu_bounds(), "percent");
    let memory = line("memory", memory, history.memory(model.now, room), history.memory_bounds(), "bytes");
    cpu.into_iter().chain(memory).collect()
}

fn process(s: &ServiceStatus, now: i64) -> Vec<Line> {
    let mut parts = Vec::new();
    parts.extend(s.pid.map(|pid| format!("pid {pid}")));
    parts.extend(s.port.map(|port| format!("port {port}")));
    parts.extend(
        s.started_at.as_ref().filter(|_| s.pid.is_some()).map(|at| format!("up {}", time::since(at, now))),
    );
    if !s.mode.is_empty() {
        parts.push(s.mode.clone());
    }
    if s.restarts > 0 {
        let times = if s.restarts == 1 { "time" } else { "times" };
        parts.push(format!("restarted {} {times} after unexpected ends", s.restarts));
    }
    parts.extend(s.last_exit.as_ref().map(|exit| format!("last ended with {exit}")));
    let mut lines = Vec::new();
    if !parts.is_empty() {
        lines.push(said("process", &parts.join(", "), Tone::Plain));
    }
    if let Some(holder) = &s.holder {
        lines.push(said("held by", &status::holder_words(holder), Tone::Warn));
    }
    lines
}

/// What services.json says of it.
fn definition(info: &ServiceInfo, s: &ServiceStatus) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut add = |word, words: String| {
        if !words.is_empty() {
            lines.push(said(word, &words, Tone::Quiet));
        }
    };
    add("probes", info.probes.join(", "));
    let needs = info.depends_on.iter().map(|d| format!("{} ({})", d.service, d.condition));
    add("needs", needs.collect::<Vec<_>>().join(", "));
    add("url", s.url.clone().or_else(|| info.url.clone()).unwrap_or_default());
    add("restart", info.restart.clone());
    add("path", info.path.clone());
    lines
}
