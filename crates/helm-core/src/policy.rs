//! Whether and when an ended service starts again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::spec::{Backoff, RestartPolicy};

/// Shortest delay of a delayed restart, whatever the rules say: a crash loop must not keep a core busy.
const FLOOR: Duration = Duration::from_millis(10);

/// How often a service has failed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streak {
    /// Unexpected ends since the last healthy time, or since a person asked for the service.
    failures: u32,
    /// Those of them that were answered by a delay.
    delays: u32,
}

/// What follows an unexpected end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It did what it was for: it stays down, and counts as completed.
    Done,
    /// The restart policy says `never`.
    Stay,
    /// Too many failures in a row.
    GiveUp {
        /// How many.
        failures: u32,
    },
    /// It starts again at once.
    Start,
    /// It starts again after a delay.
    Wait {
        /// How long.
        delay: Duration,
        /// Which delay in a row this is, from 1.
        number: u32,
    },
}

/// What follows the unexpected end of a run. `failed`: it ended otherwise than with code 0, or was ended for not being
/// well. `proven`: it had been ready for `reset_after`.
pub fn after_end(
    restart: RestartPolicy,
    rules: &Backoff,
    streak: &mut Streak,
    failed: bool,
    proven: bool,
    draw: u64,
) -> Next {
    match restart {
        RestartPolicy::OnFailure | RestartPolicy::Never if !failed => Next::Done,
        RestartPolicy::Never => Next::Stay,
        RestartPolicy::Always | RestartPolicy::OnFailure => streak.fail(rules, proven, draw),
    }
}

impl Streak {
    /// One more failure. Every unexpected end counts, code 0 included: a loop of successes is a loop.
    pub fn fail(&mut self, rules: &Backoff, proven: bool, draw: u64) -> Next {
        if proven {
            *self = Self::default();
        }
        self.failures = self.failures.saturating_add(1);
        if rules.limit.is_some_and(|limit| self.failures >= limit) {
            return Next::GiveUp { failures: self.failures };
        }
        if proven {
            return Next::Start;
        }
        let delay = delay(rules, self.delays, draw);
        self.delays = self.delays.saturating_add(1);
        Next::Wait { delay, number: self.delays }
    }
}

/// `min(max, initial * factor^n)`, moved by up to `jitter` of itself in either direction.
pub fn delay(rules: &Backoff, n: u32, draw: u64) -> Duration {
    let growth = rules.factor.max(1.0).powi(i32::try_from(n).unwrap_or(i32::MAX)).min(f64::MAX);
    let plain = (rules.initial.as_secs_f64() * growth).min(rules.max.as_secs_f64());
    let share = (draw >> 11) as f64 / (1u64 << 53) as f64;
    let moved = plain * (1.0 + rules.jitter.clamp(0.0, 1.0) * (2.0 * share - 1.0));
    Duration::try_from_secs_f64(moved).unwrap_or(rules.max).max(FLOOR)
}

/// The fleet gets one draw per step; this makes of it one draw per service, so that services that fail together do not
/// start again together (splitmix64 over the draw and the FNV-1a of the name).
pub fn mix(draw: u64, service: &ServiceName) -> u64 {
    let name = service.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut z = (draw ^ name).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 63;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn wait(s: u64, number: u32) -> Next {
        Next::Wait { delay: secs(s), number }
    }

    #[test]
    fn delays_grow_to_the_cap_and_stay_there() {
        let rules = Backoff { jitter: 0.0, ..Backoff::default() };
        let mut streak = Streak::default();
        let got: Vec<Next> = (0..9).map(|_| streak.fail(&rules, false, 7)).collect();
        let want = [1, 2, 4, 8, 16, 32, 60, 60, 60]
            .into_iter()
            .zip(1..)
            .map(|(s, n)| wait(s, n))
            .collect::<Vec<_>>();
        assert_eq!(got, want);
        assert_eq!(delay(&rules, u32::MAX, 7), secs(60));
    }

    #[test]
    fn a_proven_run_starts_at_once_and_resets() {
        let rules = Backoff { jitter: 0.0, ..Backoff::default() };
        let mut streak = Streak::default();
        streak.fail(&rules, false, 7);
        streak.fail(&rules, false, 7);
        assert_eq!(streak.fail(&rules, true, 7), Next::Start);
        assert_eq!(streak.fail(&rules, false, 7), wait(1, 1), "the delays begin anew");
    }

    #[test]
    fn the_limit_counts_every_failure_in_a_row() {
        let rules = Backoff { limit: Some(3), jitter: 0.0, ..Backoff::default() };
        let mut streak = Streak::default();
        assert_eq!(streak.fail(&rules, false, 7), wait(1, 1));
        assert_eq!(streak.fail(&rules, true, 7), Next::Start);
        assert_eq!(streak.fail(&rules, false, 7), wait(1, 1));
        assert_eq!(streak.fail(&rules, false, 7), Next::GiveUp { failures: 3 });
        let once = Backoff { limit: Some(1), ..rules };
        assert_eq!(Streak::default().fail(&once, true, 7), Next::GiveUp { failures: 1 });
    }

    #[test]
    fn jitter_stays_within_its_share_and_centres() {
        let rules = Backoff { initial: secs(10), jitter: 0.2, ..Backoff::default() };
        assert_eq!(delay(&rules, 0, 0), secs(8));
        assert_eq!(delay(&rules, 0, HALF), secs(10));
        let top = delay(&rules, 0, u64::MAX);
        assert!(top > Duration::from_millis(11_999) && top <= secs(12), "{top:?}");
        assert_eq!(delay(&rules, 9, 0), secs(48), "at the cap, too, services are kept apart");
    }

    #[test]
    fn odd_rules_never_panic_or_spin() {
        let zero = Backoff { initial: Duration::ZERO, ..Backoff::default() };
        assert_eq!(delay(&zero, u32::MAX, u64::MAX), FLOOR);
        let wild = Backoff { factor: f64::INFINITY, max: Duration::MAX, jitter: 9.0, ..Backoff::default() };
        assert!(delay(&wild, 3, u64::MAX) >= secs(60));
        let shrinking = Backoff { factor: 0.1, jitter: 0.0, ..Backoff::default() };
        assert_eq!(delay(&shrinking, 5, 7), secs(1));
        let nan = Backoff { factor: f64::NAN, jitter: 0.0, ..Backoff::default() };
        assert_eq!(delay(&nan, 5, 7), secs(1));
    }

    #[test]
    fn the_policy_decides_who_comes_back() {
        let rules = Backoff { jitter: 0.0, ..Backoff::default() };
        let next = |restart, failed| after_end(restart, &rules, &mut Streak::default(), failed, false, 7);
        assert_eq!(next(RestartPolicy::Always, false), wait(1, 1));
        assert_eq!(next(RestartPolicy::Always, true), wait(1, 1));
        assert_eq!(next(RestartPolicy::OnFailure, false), Next::Done);
        assert_eq!(next(RestartPolicy::OnFailure, true), wait(1, 1));
        assert_eq!(next(RestartPolicy::Never, false), Next::Done);
        assert_eq!(next(RestartPolicy::Never, true), Next::Stay);
    }

    #[test]
    fn services_draw_apart_from_one_draw() {
        let name = |text| ServiceName::new(text).unwrap();
        assert_ne!(mix(1, &name("a")), mix(1, &name("b")));
        assert_ne!(mix(1, &name("a")), mix(2, &name("a")));
        assert_eq!(
            mix(0, &name("core")),
            0xcb36_df6c_bbc8_d7e0,
            "recorded events replay the same over releases"
        );
        assert_eq!(mix(u64::MAX, &name("core")), 0x7742_69a6_7678_54ce);
        let ones = (0..64).map(|bit| mix(1 << bit, &name("core")).count_ones()).sum::<u32>() / 64;
        assert!((28..=36).contains(&ones), "bits are spread: {ones}");
    }
}
