//! Waiting for facts, with a bound.

use std::time::{Duration, Instant};

/// Longest wait for anything.
pub const BOUND: Duration = Duration::from_secs(30);

/// Looks until `found` finds something; panics with `what` and the last word of `found` after [`BOUND`].
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + BOUND;
    loop {
        match found() {
            Ok(value) => return value,
            Err(last) if Instant::now() > end => panic!("not within {BOUND:?}: {what}\n{last}"),
            Err(_) => pause(Duration::from_millis(5)),
        }
    }
}

/// Looks until the fact holds.
pub fn until(what: &str, mut fact: impl FnMut() -> bool) {
    eventually(what, || if fact() { Ok(()) } else { Err(String::new()) });
}

/// Between two looks at something that cannot be waited for, and as the pace of an attack.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tests pass time; never in place of a condition"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
