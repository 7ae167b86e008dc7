//! Coarser tiers: what a minute or an hour of samples comes to.

use super::block::Sample;

/// Minute and hour, in nanoseconds.
pub const MINUTE: i64 = 60 * 1_000_000_000;
/// Hour, likewise.
pub const HOUR: i64 = 60 * MINUTE;

/// What the samples of one step come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// Beginning of the step, nanoseconds since 1970.
    pub at: i64,
    /// Samples.
    pub count: u32,
    /// Sum of the values: averages of averages would be wrong.
    pub sum: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Latest.
    pub last: f64,
}

impl Rollup {
    /// Average.
    pub fn avg(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / f64::from(self.count) }
    }

    /// Of one sample, in the step of length `step` that holds it.
    pub fn of(sample: Sample, step: i64) -> Rollup {
        let Sample { at, value } = sample;
        Rollup { at: at - at.rem_euclid(step), count: 1, sum: value, min: value, max: value, last: value }
    }

    /// With what comes after it in the same step.
    pub fn with(self, later: Rollup) -> Rollup {
        Rollup {
            at: self.at,
            count: self.count + later.count,
            sum: self.sum + later.sum,
            min: self.min.min(later.min),
            max: self.max.max(later.max),
            last: later.last,
        }
    }
}

/// Rolls up, oldest first, into steps of length `step`.
pub fn roll(parts: impl IntoIterator<Item = Rollup>, step: i64) -> Vec<Rollup> {
    let mut rolled: Vec<Rollup> = Vec::new();
    for part in parts {
        let at = part.at - part.at.rem_euclid(step);
        match rolled.last_mut() {
            Some(last) if last.at == at => *last = last.with(part),
            _ => rolled.push(Rollup { at, ..part }),
        }
    }
    rolled
}

/// A counter's growth from `before` to `now`. A counter that fell began anew: what it shows has grown since.
pub fn growth(before: f64, now: f64) -> f64 {
    if now >= before { now - before } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_counter_that_began_anew_has_grown_by_what_it_shows() {
        assert_eq!((growth(10.0, 15.0), growth(10.0, 3.0)), (5.0, 3.0));
    }

    proptest! {
        #[test]
        fn hours_from_minutes_are_hours_from_samples(steps in prop::collection::vec((1i64..200, -1000i32..1000), 1..300)) {
            let mut at = 0;
            let samples: Vec<Sample> = steps.iter().map(|(step, value)| {
                at += step * 1_000_000_000;
                Sample { at, value: f64::from(*value) }
            }).collect();
            let minutes = roll(samples.iter().map(|s| Rollup::of(*s, MINUTE)), MINUTE);
            let direct = roll(samples.iter().map(|s| Rollup::of(*s, HOUR)), HOUR);
            prop_assert_eq!(&roll(minutes.clone(), HOUR), &direct);
            prop_assert_eq!(direct.iter().map(|r| r.count as usize).sum::<usize>(), samples.len());
            for r in &minutes {
                prop_assert!(r.min <= r.avg() && r.avg() <= r.max && r.min <= r.last && r.last <= r.max);
            }
        }
    }
}
