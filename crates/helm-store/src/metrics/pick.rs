//! Which tier answers a question, and in which steps. Pure.

use super::engine::Tier;
use super::rollup::{HOUR, MINUTE};

const SECOND: i64 = 1_000_000_000;
/// Points of one answer.
const MOST: u32 = 20_000;

/// How long each tier is kept, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Raw samples.
    pub raw: i64,
    /// Minutes.
    pub minutes: i64,
    /// Hours.
    pub hours: i64,
}

impl Default for Retention {
    /// A day, 14 days, 400 days.
    fn default() -> Self {
        Self { raw: 24 * HOUR, minutes: 14 * 24 * HOUR, hours: 400 * 24 * HOUR }
    }
}

/// What is read, and what it is rolled up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picked {
    /// `None`: raw samples.
    pub(super) tier: Option<Tier>,
    /// Distance of the points.
    pub(super) step: i64,
    /// Beginning of the first step.
    pub(super) from: i64,
    /// End of the last one.
    pub(super) to: i64,
}

/// The coarsest tier that still gives as many points as are wanted; where that is no longer kept at `from`, the finest one that is. `None`: an
/// empty range.
pub(super) fn pick(from: i64, to: i64, points: u32, now: i64, kept: Retention) -> Option<Picked> {
    let (from, to) = (from.max(now.saturating_sub(kept.hours)), to.min(now.saturating_add(HOUR)));
    if from >= to {
        return None;
    }
    let points = i64::from(points.clamp(2, MOST));
    let wanted = ceil(to - from, points);
    let tiers = [
        (None, SECOND, kept.raw),
        (Some(Tier::Minute), MINUTE, kept.minutes),
        (Some(Tier::Hour), HOUR, i64::MAX),
    ];
    let mut kept = tiers.into_iter().filter(|(_, _, age)| from >= now.saturating_sub(*age));
    // The last of the list is always kept.
    let (mut tier, mut base, _) = kept.next()?;
    for (coarser, step, _) in kept {
        if step <= wanted {
            (tier, base) = (coarser, step);
        }
    }
    let mut step = ceil(wanted, base) * base;
    if ceil(to, step) - from.div_euclid(step) > points {
        // The range lies across one step more than its length has.
        step = ceil(ceil(to - from, points - 1), base) * base;
    }
    Some(Picked { tier, step, from: from.div_euclid(step) * step, to: ceil(to, step) * step })
}

fn ceil(a: i64, b: i64) -> i64 {
    a.div_euclid(b) + i64::from(a.rem_euclid(b) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * HOUR;
    const NOW: i64 = 20_000 * DAY;

    fn picked(back: i64, points: u32) -> (Option<Tier>, i64) {
        let picked = pick(NOW - back, NOW, points, NOW, Retention::default()).unwrap();
        (picked.tier, picked.step)
    }

    #[test]
    fn as_fine_as_is_wanted_and_kept() {
        assert_eq!(picked(HOUR, 720), (None, 5 * SECOND));
        assert_eq!(picked(HOUR, 60), (Some(Tier::Minute), MINUTE));
        assert_eq!(picked(DAY, 300), (Some(Tier::Minute), 5 * MINUTE));
        assert_eq!(picked(DAY, 24), (Some(Tier::Hour), HOUR));
        assert_eq!(picked(2 * DAY, 10_000), (Some(Tier::Minute), MINUTE), "raw samples are gone");
        assert_eq!(picked(30 * DAY, 10_000), (Some(Tier::Hour), HOUR), "minutes are gone, too");
        assert_eq!(picked(365 * DAY, 8_760), (Some(Tier::Hour), HOUR));
        assert_eq!(picked(365 * DAY, 100), (Some(Tier::Hour), 88 * HOUR));
        assert_eq!(pick(NOW, NOW, 10, NOW, Retention::default()), None);
    }

    proptest! {
        #[test]
        fn never_more_points_than_are_wanted(from in any::<i64>(), to in any::<i64>(), back in 0..500 * DAY, points in 2u32..3_000) {
            for (from, to) in [(from, to), (NOW - back, NOW)] {
                let Some(Picked { step, from: first, to: last, tier }) = pick(from, to, points, NOW, Retention::default()) else { continue };
                prop_assert!((last - first) / step <= i64::from(points));
                prop_assert!(first <= from.max(NOW - 400 * DAY) && last >= to.min(NOW + HOUR));
                prop_assert_eq!(step % tier.map_or(SECOND, Tier::step), 0);
            }
        }
    }
}
