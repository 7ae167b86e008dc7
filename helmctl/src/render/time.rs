//! Times for people and for programs.

use helm_proto::Timestamp;
use jiff::tz::TimeZone;

fn moment(at: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}

/// `14:03:07.120` in the local zone; with the date where it is not today's.
pub(crate) fn local(at: &Timestamp) -> String {
    moment(at).map_or_else(String::new, |moment| in_form(moment, "%H:%M:%S%.3f"))
}

/// Likewise, to the second.
pub(crate) fn to_second(at: jiff::Timestamp) -> String {
    in_form(at, "%H:%M:%S")
}

/// `2026-01-31 14:03` in the local zone.
pub(crate) fn local_to_minute(at: &Timestamp) -> String {
    let zoned = moment(at).map(|moment| moment.to_zoned(TimeZone::system()));
    zoned.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Likewise, from nanoseconds since 1970.
pub(crate) fn local_to_second(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| String::new(), to_second)
}

fn in_form(at: jiff::Timestamp, form: &str) -> String {
    let zone = TimeZone::system();
    let (then, now) = (at.to_zoned(zone.clone()), jiff::Timestamp::now().to_zoned(zone));
    let date = if then.date() == now.date() { "" } else { "%Y-%m-%d " };
    then.strftime(&format!("{date}{form}")).to_string()
}

/// `3s`, `12m`, `5h`, `3d`: the time from then to now.
pub(crate) fn ago(at: Option<&Timestamp>) -> String {
    at.map_or_else(|| "-".into(), |at| since(at, now()))
}

/// Likewise, where now is given, in nanoseconds since 1970.
pub(crate) fn since(at: &Timestamp, now: i64) -> String {
    span(u64::try_from(now.div_euclid(1_000_000_000).saturating_sub(at.seconds)).unwrap_or(0))
}

/// One number is enough.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        172_800.. => format!("{}d", seconds / 86_400),
    }
}

/// As [`local`], of nanoseconds since 1970.
pub(crate) fn local_nanos(at: i64) -> String {
    let nanos = i32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
    local(&Timestamp { seconds: at.div_euclid(1_000_000_000), nanos })
}

/// `2026-01-31 14:03:07 +01:00`: for what is read on another day, or elsewhere.
pub(crate) fn local_date(at: i64) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(at));
    let form = "%Y-%m-%d %H:%M:%S %:z";
    moment.map_or_else(|_| String::new(), |t| t.to_zoned(TimeZone::system()).strftime(form).to_string())
}

/// `14:00` in the local zone.
pub(crate) fn hour(at: i64) -> String {
    local_form(at, "%H:%M")
}

/// `11-30`, likewise.
pub(crate) fn day(at: i64) -> String {
    local_form(at, "%m-%d")
}

fn local_form(at: i64, form: &str) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(at));
    moment.map_or_else(|_| String::new(), |t| t.to_zoned(TimeZone::system()).strftime(form).to_string())
}

/// Nanoseconds since 1970 now.
pub(crate) fn now() -> i64 {
    nanos(jiff::Timestamp::now())
}

/// Seconds of the local zone east of Greenwich.
pub(crate) fn local_offset() -> i32 {
    TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}

fn nanos(at: jiff::Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span(7), "7s");
        assert_eq!(span(180), "3m");
        assert_eq!(span(7_200), "2h");
        assert_eq!(span(200_000), "2d");
    }
}
