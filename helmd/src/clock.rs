//! The only place of helmd that reads clocks and draws randomness for the core.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use helm_core::event::Now;
use helm_core::time::{Mono, Wall};

/// CLOCK_MONOTONIC: comparable between processes of this boot.
pub fn mono() -> Mono {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Mono(Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0)))
}

/// Wall clock.
pub fn wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// 64 random bits, from the keys that std draws for its hash maps: good enough for jitter, no dependency.
pub fn draw() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

/// Everything that the core is told with an event.
pub fn now() -> Now {
    Now { mono: mono(), wall: wall(), draw: draw() }
}

/// Seconds east of UTC of this host's local time, now.
pub fn offset() -> i32 {
    let now = jiff::Timestamp::now();
    jiff::tz::TimeZone::system().to_offset(now).seconds()
}

/// When the monotonic deadline comes, as an instant of the runtime.
pub fn instant(at: Mono) -> tokio::time::Instant {
    tokio::time::Instant::now() + at.since(mono())
}
