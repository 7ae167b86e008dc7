//! What lies over the screen: the keys, a question.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Widget};

use super::{BOLD, put};
use crate::render::wrapped;
use crate::top::keys::HELP;
use crate::top::model::Order;

/// Names of a question are broken at this column.
const QUESTION: usize = 60;
/// Rows of names; more are counted.
const MOST_ROWS: usize = 8;

pub(super) fn help(buffer: &mut Buffer, area: Rect) {
    let keys = HELP.iter().map(|(keys, _)| keys.len()).max().unwrap_or(0);
    let line = |(key, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(format!("{key:keys$}  "), BOLD), Span::raw(*what)])
    };
    show(buffer, area, " keys (any key closes this) ", &HELP.iter().map(line).collect::<Vec<_>>());
}

pub(super) fn confirm(buffer: &mut Buffer, area: Rect, order: &Order) {
    let names = wrapped(&order.names.join(", "), QUESTION.min(usize::from(area.width).saturating_sub(6)));
    let more = names.len().saturating_sub(MOST_ROWS);
    let mut lines: Vec<Line<'_>> = names.into_iter().take(MOST_ROWS).map(Line::raw).collect();
    if more > 0 {
        lines.push(Line::raw(format!("… and {more} more lines of names")));
    }
    lines.push(Line::raw(""));
    lines.push(Line::styled("y  yes      n  no", BOLD));
    let title = format!(" {} {} services? ", order.verb.word(), order.names.len());
    show(buffer, area, &title, &lines);
}

/// A box in the middle, as large as it must be.
fn show(buffer: &mut Buffer, area: Rect, title: &str, lines: &[Line<'_>]) {
    let widest = lines.iter().map(Line::width).max().unwrap_or(0).max(Span::raw(title).width());
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let frame = Block::bordered().title(Line::styled(title, BOLD)).padding(Padding::horizontal(1));
    let inner = frame.inner(place);
    Clear.render(place, buffer);
    frame.render(place, buffer);
    for (row, line) in (0..).zip(lines) {
        put(buffer, inner, row, line);
    }
}
