//! Where things are on the screen, as a function of the model.

use super::model::Model;

/// Columns and rows of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u16,
    pub(super) height: u16,
}

/// Rows of each part, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    /// Which helmd, and how many are in which state.
    pub(super) head: u16,
    /// What an operator must know.
    pub(super) alerts: u16,
    /// The list, with the line of its columns; nothing where the pane has the screen.
    pub(super) table: u16,
    /// The line of tabs, and what is below it.
    pub(super) pane: u16,
    /// Keys, or what is typed or was done.
    pub(super) foot: u16,
}

/// Alerts that are shown; the others are counted.
pub(super) const MOST_ALERTS: usize = 2;
/// Rows of the pane, with its tabs, that the list leaves it.
const LEAST_PANE: u16 = 5;

/// The parts of this screen. The list gets what it needs, at most half of what there is where the pane can use the rest.
pub(super) fn parts(model: &Model) -> Parts {
    let alerts = u16::try_from(alerts(model)).unwrap_or(0);
    let room = model.size.height.saturating_sub(2 + alerts);
    let wanted = u16::try_from(model.fleet.all().len() + 1).unwrap_or(u16::MAX).max(3);
    let table = match model.focus.on_pane() {
        true => 0,
        // In a low window the list is all there is.
        false if room < 3 + LEAST_PANE => room,
        false => wanted.min(room.div_ceil(2)),
    };
    Parts { head: 1, alerts, table, pane: room - table, foot: 1 }
}

/// Lines above the list.
fn alerts(model: &Model) -> usize {
    let words = model.helmd.alerts.len().min(MOST_ALERTS);
    let gone = model.away.is_some() || model.lost.is_some();
    words + usize::from(gone) + usize::from(model.fleet.hold)
}

/// Services that the list has room for.
pub(super) fn table_rows(model: &Model) -> usize {
    usize::from(parts(model).table.saturating_sub(1))
}

/// Columns and rows of the pane below its tabs.
pub(super) fn pane_room(model: &Model) -> (usize, usize) {
    (usize::from(model.size.width), usize::from(parts(model).pane.saturating_sub(1)))
}

/// The listed row at a row of the screen.
pub(super) fn row_at(model: &Model, row: u16) -> Option<usize> {
    let parts = parts(model);
    let first = parts.head + parts.alerts + 1;
    let nth = usize::from(row.checked_sub(first)?);
    let here = nth < table_rows(model) && model.fleet.first() + nth < model.fleet.len();
    here.then(|| model.fleet.first() + nth)
}
