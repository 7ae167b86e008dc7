//! The services as they are listed: which, in which order, which one is selected, which are marked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use helm_proto::v1::{ServiceStatus, WatchStatusResponse};

use super::history::{History, Points};
use crate::render::status::{Need, need};

/// A service as helmd told it last.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) status: ServiceStatus,
    /// When that was: countdowns in it begin there.
    told: i64,
}

impl Row {
    /// What is left of a countdown now, in milliseconds.
    fn left(&self, ms: u64, now: i64) -> u64 {
        let gone = now.saturating_sub(self.told).max(0) / 1_000_000;
        ms.saturating_sub(u64::try_from(gone).unwrap_or(0))
    }

    /// Whole seconds until it is started again, or killed.
    pub(super) fn countdown(&self, now: i64) -> Option<u64> {
        let ms = match self.status.state.as_str() {
            "backoff" => self.status.next_start_ms,
            "stopping" => self.status.kill_in_ms,
            _ => None,
        };
        ms.map(|ms| self.left(ms, now).div_ceil(1_000))
    }
}

/// What the list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    /// As configured.
    #[default]
    Given,
    /// Those that need somebody first.
    Need,
    Cpu,
    Memory,
    Name,
}

impl Order {
    fn next(self) -> Self {
        match self {
            Self::Given => Self::Need,
            Self::Need => Self::Cpu,
            Self::Cpu => Self::Memory,
            Self::Memory => Self::Name,
            Self::Name => Self::Given,
        }
    }

    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Given => "services.json",
            Self::Need => "trouble",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Name => "name",
        }
    }
}

/// All services, and what the operator did with the list.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    rows: Vec<Row>,
    histories: BTreeMap<String, History>,
    pub(super) hold: bool,
    /// Indices of `rows` as they are listed.
    listed: Vec<usize>,
    selected: Option<String>,
    /// Where the selection stands in `listed`: its place when the service itself is gone.
    place: usize,
    marked: BTreeSet<String>,
    filter: String,
    order: Order,
    /// First listed row on the screen.
    first: usize,
}

impl Fleet {
    /// What helmd told.
    pub(super) fn take(&mut self, message: WatchStatusResponse, now: i64) {
        self.hold = message.hold;
        if message.complete {
            let names: BTreeSet<&str> = message.services.iter().map(|s| s.name.as_str()).collect();
            self.rows.retain(|row| names.contains(row.status.name.as_str()));
            self.marked.retain(|name| names.contains(name.as_str()));
            self.histories.retain(|name, _| names.contains(name.as_str()));
            let place = |row: &Row| message.services.iter().position(|s| s.name == row.status.name);
            self.rows.sort_by_key(place);
        }
        for (nth, status) in message.services.into_iter().enumerate() {
            #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
            let memory = status.memory_bytes.map(|bytes| bytes as f64);
            let history = self.histories.entry(status.name.clone()).or_default();
            history.add(now, status.cpu_percent, memory);
            match self.rows.iter_mut().find(|row| row.status.name == status.name) {
                Some(row) => *row = Row { status, told: now },
                None if message.complete => {
                    self.rows.insert(nth.min(self.rows.len()), Row { status, told: now })
                }
                None => self.rows.push(Row { status, told: now }),
            }
        }
    }

    /// What helmd remembered.
    pub(super) fn history(&mut self, service: String, points: Points) {
        self.histories.entry(service).or_default().before(points);
    }

    pub(super) fn history_of(&self, service: &str) -> Option<&History> {
        self.histories.get(service)
    }

    /// Lists again, and puts the selection where it can be seen in `room` rows.
    pub(super) fn settle(&mut self, room: usize) {
        self.list();
        let found = self.selected.as_ref().and_then(|name| self.listed_names().position(|n| n == name));
        self.place = found.unwrap_or(self.place).min(self.listed.len().saturating_sub(1));
        self.selected = self.name_at_place();
        let last = self.listed.len().saturating_sub(room);
        let lowest = (self.place + 1).saturating_sub(room.max(1));
        self.first = self.first.max(lowest).min(self.place).min(last);
    }

    fn list(&mut self) {
        let words: Vec<String> = self.filter.split_whitespace().map(str::to_lowercase).collect();
        let wanted = |row: &Row| {
            let s = &row.status;
            let text = format!("{} {} {} {}", s.name, s.state, s.health, s.reason).to_lowercase();
            words.iter().all(|word| text.contains(word.as_str()))
        };
        let mut listed: Vec<usize> = (0..self.rows.len()).filter(|i| wanted(&self.rows[*i])).collect();
        let of = |i: &usize| &self.rows[*i].status;
        match self.order {
            Order::Given => {}
            Order::Need => listed.sort_by_key(|i| need(of(i))),
            Order::Cpu => listed.sort_by(|a, b| {
                let cpu = |i| of(i).cpu_percent.unwrap_or(-1.0);
                cpu(b).total_cmp(&cpu(a))
            }),
            Order::Memory => listed.sort_by_key(|i| Reverse(of(i).memory_bytes)),
            Order::Name => listed.sort_by(|a, b| of(a).name.cmp(&of(b).name)),
        }
        self.listed = listed;
    }

    fn listed_names(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(|i| self.rows[*i].status.name.as_str())
    }

    fn name_at_place(&self) -> Option<String> {
        self.listed_names().nth(self.place).map(str::to_owned)
    }

    /// What is on the screen: rows from the first visible one on, with whether they are selected and marked.
    pub(super) fn shown(&self, room: usize) -> impl Iterator<Item = (&Row, bool, bool)> {
        self.listed.iter().enumerate().skip(self.first).take(room).map(|(nth, i)| {
            let row = &self.rows[*i];
            (row, nth == self.place, self.marked.contains(&row.status.name))
        })
    }

    pub(super) fn selected(&self) -> Option<&Row> {
        self.listed.get(self.place).map(|i| &self.rows[*i])
    }

    /// Rows that are listed.
    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    /// All rows, in the order of services.json.
    pub(super) fn all(&self) -> &[Row] {
        &self.rows
    }

    /// First listed row on the screen.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    pub(super) fn step(&mut self, by: isize) {
        self.select_nth(self.place.saturating_add_signed(by));
    }

    pub(super) fn select_nth(&mut self, nth: usize) {
        self.place = nth.min(self.listed.len().saturating_sub(1));
        self.selected = self.name_at_place();
    }

    pub(super) fn mark(&mut self) {
        if let Some(name) = &self.selected
            && !self.marked.remove(name)
        {
            self.marked.insert(name.clone());
        }
    }

    pub(super) fn mark_all(&mut self) {
        let listed: Vec<String> = self.listed_names().map(str::to_owned).collect();
        self.marked.extend(listed);
    }

    pub(super) fn unmark(&mut self) {
        self.marked.clear();
    }

    pub(super) fn marked(&self) -> usize {
        self.marked.len()
    }

    /// Whom an operation is for: the marked ones in the order of services.json, else the selected one.
    pub(super) fn meant(&self) -> Vec<String> {
        if self.marked.is_empty() {
            return self.selected.iter().cloned().collect();
        }
        let names = self.rows.iter().map(|row| &row.status.name);
        names.filter(|name| self.marked.contains(*name)).cloned().collect()
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    pub(super) fn set_filter(&mut self, filter: String) {
        self.filter = filter;
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// The next order, in words.
    pub(super) fn next_order(&mut self) -> &'static str {
        self.order = self.order.next();
        self.order.words()
    }

    /// How many are in which state, the broken ones counted once more.
    pub(super) fn summary(&self) -> (Vec<(&str, usize)>, usize) {
        let mut states: Vec<(&str, usize)> = Vec::new();
        for row in &self.rows {
            match states.iter_mut().find(|(state, _)| *state == row.status.state) {
                Some((_, count)) => *count += 1,
                None => states.push((&row.status.state, 1)),
            }
        }
        states.sort_by_key(|(_, count)| Reverse(*count));
        (states, self.rows.iter().filter(|row| need(&row.status) == Need::Broken).count())
    }
}
