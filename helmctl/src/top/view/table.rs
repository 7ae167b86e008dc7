//! The list of services.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{BOLD, CHOSEN, Theme, put};
use crate::render::status::{health_style, state_style, word};
use crate::render::{cut, metrics, safe, time};
use crate::top::fleet::Row;
use crate::top::model::Model;
use crate::top::pane::Tone;

/// Columns of a row beside name, curves and reason, with the gaps.
const FIXED: usize = 52;
/// Those of the pid and port, where there is room for them.
const MORE: usize = 14;
/// From here on there is, and for the reason.
const WIDE: usize = 120;

/// Widths of what is not fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Columns {
    name: usize,
    curve: usize,
    /// The reason; nothing in a narrow window.
    why: usize,
}

fn columns(width: usize, longest: usize) -> Columns {
    if width >= WIDE {
        let name = longest.clamp(8, 24);
        let left = width.saturating_sub(FIXED + MORE + name);
        let curve = (left / 5).clamp(8, 24);
        return Columns { name, curve, why: left.saturating_sub(2 * curve + 1) };
    }
    let left = width.saturating_sub(FIXED);
    // Two curves of six characters, and the names get what is left; in the narrowest windows there are no curves.
    let name = longest.clamp(8, left.saturating_sub(12).max(12));
    let curve = left.saturating_sub(name) / 2;
    Columns { name, curve: if curve < 4 { 0 } else { curve.min(16) }, why: 0 }
}

pub(super) fn draw(buffer: &mut Buffer, area: Rect, model: &Model, theme: Theme) {
    let longest = model.fleet.all().iter().map(|row| row.status.name.len()).max().unwrap_or(0);
    let columns = columns(usize::from(area.width), longest);
    put(buffer, area, 0, &Line::styled(head(columns), BOLD));
    let room = usize::from(area.height.saturating_sub(1));
    let mut y = 0;
    for (row, selected, marked) in model.fleet.shown(room) {
        y += 1;
        put(buffer, area, y, &line(model, row, marked, columns, theme));
        if selected {
            let whole = Rect { y: area.y + y, height: 1, ..area };
            buffer.set_style(whole.intersection(area), CHOSEN);
        }
    }
    if y == 0 {
        let words = match model.fleet.filter() {
            "" if model.helmd.home.is_empty() => "waiting for helmd",
            "" => "no services are configured: add them to services.json (docs/services.md)",
            _ => "no service has these words; Esc takes the filter away",
        };
        put(buffer, area, 1, &Line::styled(words, theme.of(Tone::Quiet)));
    }
}

fn head(columns: Columns) -> String {
    let Columns { name, curve, why } = columns;
    let curves = if curve == 0 { String::new() } else { format!(" {:curve$}", "") };
    let mut text = format!(
        " {:name$} {:13} {:11} {:>5}{curves} {:>6}{curves} {:>3} {:>5}",
        "NAME", "STATE", "HEALTH", "CPU", "MEMORY", "RST", "SINCE"
    );
    if why > 0 {
        text.push_str(&format!(" {:>7} {:>5} WHY", "PID", "PORT"));
    }
    text
}

fn line(model: &Model, row: &Row, marked: bool, columns: Columns, theme: Theme) -> Line<'static> {
    let s = &row.status;
    let Columns { name, curve, why } = columns;
    let state = match row.countdown(model.now) {
        Some(seconds) => format!("{} {}", s.state, time::span(seconds)),
        None => word(s).to_owned(),
    };
    let health = if s.health == "unknown" { "-" } else { s.health.as_str() };
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    let memory = s.memory_bytes.map(|bytes| bytes as f64);
    let amount =
        |value: Option<f64>, unit| value.map_or_else(|| "-".to_owned(), |v| metrics::amount(v, unit));
    let (cpu_curve, memory_curve) = match model.fleet.history_of(&s.name) {
        Some(history) if curve > 0 => {
            (format!(" {}", history.cpu(model.now, curve)), format!(" {}", history.memory(model.now, curve)))
        }
        _ => Default::default(),
    };
    let gap = if curve == 0 { 0 } else { curve + 1 };
    let since = s.since.as_ref().map_or_else(|| "-".to_owned(), |at| time::since(at, model.now));
    let mark = if marked { "*" } else { " " };
    let mut spans = vec![
        Span::raw(format!("{mark}{:name$} ", cut(&s.name, name))),
        Span::styled(format!("{:13} ", cut(&state, 13)), theme.of(state_style(&s.state).into())),
        Span::styled(format!("{:11} ", cut(health, 11)), theme.of(health_style(&s.health).into())),
        Span::raw(format!("{:>5}", amount(s.cpu_percent, "percent"))),
        Span::styled(format!("{cpu_curve:gap$}"), theme.of(Tone::Quiet)),
        Span::raw(format!(" {:>6}", amount(memory, "bytes"))),
        Span::styled(format!("{memory_curve:gap$}"), theme.of(Tone::Quiet)),
        Span::raw(format!(" {:>3} {since:>5}", s.restarts)),
    ];
    if why > 0 {
        let number = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        spans.push(Span::raw(format!(" {:>7} {:>5} ", number(s.pid), number(s.port))));
        spans.push(Span::raw(cut(&safe(&s.reason), why)));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_used_and_none_is_passed() {
        for width in [80, 100, 120, 200, 400] {
            for longest in [0, 8, 16, 40] {
                let columns = columns(width, longest);
                let head = head(columns).trim_end_matches("WHY").len() + columns.why;
                assert!(head <= width && columns.curve >= 6, "{width} {longest}: {columns:?} {head}");
            }
        }
        assert_eq!(columns(80, 16), Columns { name: 16, curve: 6, why: 0 });
        assert_eq!(columns(60, 16).curve, 0, "no room");
    }
}
