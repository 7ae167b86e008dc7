//! The keeper's two clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use helm_core::time::{Mono, Wall};
use rustix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC: comparable between processes of this boot.
pub(crate) fn mono() -> Mono {
    let t = clock_gettime(ClockId::Monotonic);
    Mono(Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0)))
}

/// Wall clock.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
