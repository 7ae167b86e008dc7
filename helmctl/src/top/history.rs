//! Numbers of the last minutes, one row of points a service.

use std::collections::VecDeque;

use crate::render::spark;

/// How far curves go back, in nanoseconds.
pub(super) const SPAN: i64 = 10 * 60 * 1_000_000_000;
/// Points that are kept: one every five seconds, and some more.
const MOST: usize = 150;

/// A moment and a value.
pub(super) type Point = (i64, f64);

/// What was fetched of the past.
#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) cpu: Vec<Point>,
    pub(super) memory: Vec<Point>,
}

/// Both curves of a service.
#[derive(Debug, Default)]
pub(super) struct History {
    cpu: VecDeque<Point>,
    memory: VecDeque<Point>,
}

impl History {
    /// What was measured now.
    pub(super) fn add(&mut self, now: i64, cpu: Option<f64>, memory: Option<f64>) {
        push(&mut self.cpu, now, cpu);
        push(&mut self.memory, now, memory);
    }

    /// What was measured before the first point that is here.
    pub(super) fn before(&mut self, past: Points) {
        put_before(&mut self.cpu, past.cpu);
        put_before(&mut self.memory, past.memory);
    }

    /// CPU in `width` characters: full height is what is used most, at least a tenth of a core (calm stays low).
    pub(super) fn cpu(&self, now: i64, width: usize) -> String {
        curve(&self.cpu, now, width, 10.0)
    }

    /// Memory likewise.
    pub(super) fn memory(&self, now: i64, width: usize) -> String {
        curve(&self.memory, now, width, 1.0)
    }

    /// Lowest and highest of the CPU.
    pub(super) fn cpu_bounds(&self) -> Option<(f64, f64)> {
        bounds(&self.cpu)
    }

    /// Lowest and highest of the memory.
    pub(super) fn memory_bounds(&self) -> Option<(f64, f64)> {
        bounds(&self.memory)
    }
}

fn push(points: &mut VecDeque<Point>, now: i64, value: Option<f64>) {
    points.extend(value.map(|value| (now, value)));
    while points.len() > MOST {
        points.pop_front();
    }
}

fn put_before(points: &mut VecDeque<Point>, past: Vec<Point>) {
    let first = points.front().map_or(i64::MAX, |(at, _)| *at);
    for point in past.into_iter().rev().filter(|(at, _)| *at < first) {
        if points.len() < MOST {
            points.push_front(point);
        }
    }
}

fn bounds(points: &VecDeque<Point>) -> Option<(f64, f64)> {
    let values = || points.iter().map(|(_, value)| *value);
    Some((values().reduce(f64::min)?, values().reduce(f64::max)?))
}

/// From nothing to the highest (`least` at least).
fn curve(points: &VecDeque<Point>, now: i64, width: usize, least: f64) -> String {
    let points: Vec<Point> = points.iter().copied().collect();
    // The newest point is of this moment.
    let columns = spark::columns(&points, now.saturating_sub(SPAN), now.saturating_add(1), width);
    spark::scaled(&columns, least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_past_comes_before_what_was_seen_and_nothing_twice() {
        let mut history = History::default();
        history.add(600 * SECOND, Some(50.0), None);
        let past = vec![(0, 0.0), (310 * SECOND, 100.0), (600 * SECOND, 7.0), (700 * SECOND, 7.0)];
        history.before(Points { cpu: past, memory: Vec::new() });
        assert_eq!(history.cpu_bounds(), Some((0.0, 100.0)));
        assert_eq!(history.cpu(600 * SECOND, 4), "▁▁█▅");
        assert_eq!(history.memory(600 * SECOND, 4), "    ");
        assert_eq!(history.memory_bounds(), None);
    }

    #[test]
    fn a_calm_service_has_a_low_curve_and_the_past_is_bounded() {
        let mut history = History::default();
        (0..1_000).for_each(|i| history.add(i * SECOND, Some(1.0), Some(4096.0)));
        assert_eq!(history.cpu.len(), MOST);
        assert_eq!(history.cpu(999 * SECOND, 4), "   ▁");
        assert_eq!(history.memory(999 * SECOND, 4), "   █");
    }
}
