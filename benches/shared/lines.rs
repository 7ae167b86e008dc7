//! The entries that the bench stores: each is a function of its number, so that what is asked for later is known without being remembered.

use helm_store::entry::{Level, NewEntry, Source};

/// Entries come so far apart that a million of them fill a day.
pub const STEP: i64 = 86_400_000;
/// Services.
pub const SERVICES: u64 = 37;
/// One of so many entries from the beginning of each hundred thousand on holds a needle that no other has.
pub const NEEDLES: u64 = 200_000;

/// Numbers from here on are those of entries that nobody asks for later.
pub const OTHERS: u64 = 1 << 40;

/// A number as good as random, always the same for `n` (splitmix64).
pub fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A trace is that of eight entries one behind the other; three of five carry it.
pub fn trace(n: u64) -> String {
    format!("{:016x}{:016x}", mixed(n / 8), mixed(!(n / 8)))
}

/// A user has some sixty of ten million entries.
pub fn user(random: u64) -> String {
    format!("user-{}", random % 50_000)
}

/// The `n`th entry at `at`: about 90 bytes of message, 75 of context. One in 2,000 is an error, one in 33 a warning.
pub fn line(n: u64, at: i64) -> NewEntry {
    let random = mixed(n);
    let message = if n % NEEDLES == NEEDLES / 2 {
        format!("GET /api/needle/{n:010} answered 200 in {} ms, by the one that nobody else ever was", n % 97)
    } else {
        format!(
            "GET /api/v1/things/{:08x} answered 200 in {} ms, {} bytes to 10.0.{}.{}, cache hit, region eu-central",
            random >> 32,
            n % 97,
            random % 5000,
            random % 200,
            random % 251
        )
    };
    NewEntry {
        service: format!("service-{}", (random >> 8) % SERVICES),
        at,
        seen: at + 250_000,
        level: match random % 2000 {
            0 => Level::Error,
            1..=60 => Level::Warning,
            61..=400 => Level::Debug,
            _ => Level::Info,
        },
        source: Source::Captured,
        stream: 1,
        flags: 0,
        message,
        plain: None,
        context: Some(format!(
            r#"{{"method":"GET","status":200,"path":"/api/v1/things","worker":{},"request":{n}}}"#,
            n % 8
        )),
        trace: (n % 5 < 3).then(|| trace(n)),
        user: (random % 10 < 3).then(|| user(random >> 16)),
        hostname: None,
        process: Some(4242),
    }
}
