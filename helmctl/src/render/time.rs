//! Times for people and for programs.

use helm_proto::Timestamp;
use jiff::tz::TimeZone;

fn moment(at: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}

/// RFC 3339 in UTC.
pub(crate) fn rfc3339(at: &Timestamp) -> String {
    moment(at).map_or_else(String::new, |t| format!("{t:.3}"))
}

/// `14:03:07.120` in the local zone; with the date where it is not today's.
pub(crate) fn local(at: &Timestamp) -> String {
    let Some(moment) = moment(at) else { return String::new() };
    let zone = TimeZone::system();
    let (then, now) = (moment.to_zoned(zone.clone()), jiff::Timestamp::now().to_zoned(zone));
    let form = if then.date() == now.date() { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" };
    then.strftime(form).to_string()
}

/// `3s`, `12m`, `5h`, `3d`: the time from then to now.
pub(crate) fn ago(at: Option<&Timestamp>) -> String {
    let Some(then) = at.and_then(moment) else { return "-".into() };
    let seconds = jiff::Timestamp::now().as_second().saturating_sub(then.as_second()).max(0);
    span(u64::try_from(seconds).unwrap_or(0))
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

/// RFC 3339 in UTC with all nine digits: as a log entry has it.
pub(crate) fn utc_nanos(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| String::new(), |t| format!("{t:.9}"))
}

/// As [`local`], of nanoseconds since 1970.
pub(crate) fn local_nanos(at: i64) -> String {
    let nanos = i32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
    local(&Timestamp { seconds: at.div_euclid(1_000_000_000), nanos })
}

/// `14:00` in the local zone.
pub(crate) fn hour(at: i64) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(at));
    moment.map_or_else(|_| String::new(), |t| t.to_zoned(TimeZone::system()).strftime("%H:%M").to_string())
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

/// A time as people type it: `10m` ago, `today`, `yesterday`, `14:30`, a date, a date with a time, with or without a zone.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    parse_at(text, jiff::Timestamp::now(), &TimeZone::system())
}

fn parse_at(text: &str, now: jiff::Timestamp, zone: &TimeZone) -> Result<i64, String> {
    use jiff::civil::{Date, DateTime, Time};
    let text = text.trim();
    let here =
        |at: DateTime| at.to_zoned(zone.clone()).map(|at| nanos(at.timestamp())).map_err(|e| e.to_string());
    let today = now.to_zoned(zone.clone()).date();
    match text {
        "now" => return Ok(nanos(now)),
        "today" => return here(today.to_datetime(Time::midnight())),
        "yesterday" => {
            let day = today.yesterday().map_err(|e| e.to_string())?;
            return here(day.to_datetime(Time::midnight()));
        }
        _ => {}
    }
    if let Some(span) = ago_nanos(text) {
        return Ok(nanos(now).saturating_sub(span));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(nanos(at));
    }
    if text.len() == 10
        && let Ok(day) = text.parse::<Date>()
    {
        return here(day.to_datetime(Time::midnight()));
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return here(at);
    }
    if let Ok(at) = text.parse::<Time>() {
        return here(today.to_datetime(at));
    }
    Err("use 10m, 2h, 3d, now, today, yesterday, 14:30, 2026-01-31 or 2026-01-31T14:30:00Z (without a zone: local time)".into())
}

/// `90s`, `10m`, `2h`, `3d`, `1w`, with or without `-` before or ` ago` behind.
fn ago_nanos(text: &str) -> Option<i64> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim();
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now: jiff::Timestamp = "2026-03-02T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let at = |text: &str| parse_at(text, now, &zone).map(utc_nanos);
        let is = |text: &str, expected: &str| assert_eq!(at(text).as_deref(), Ok(expected), "{text}");
        is("now", "2026-03-02T12:00:00.000000000Z");
        is("10m", "2026-03-02T11:50:00.000000000Z");
        is("-2h", "2026-03-02T10:00:00.000000000Z");
        is("3d ago", "2026-02-27T12:00:00.000000000Z");
        is("today", "2026-03-01T23:00:00.000000000Z");
        is("yesterday", "2026-02-28T23:00:00.000000000Z");
        is("14:30", "2026-03-02T13:30:00.000000000Z");
        is("2026-01-31", "2026-01-30T23:00:00.000000000Z");
        is("2026-01-31 08:00", "2026-01-31T07:00:00.000000000Z");
        is("2026-01-31T08:00:00.5Z", "2026-01-31T08:00:00.500000000Z");
        is("2026-01-31T08:00:00-02:00", "2026-01-31T10:00:00.000000000Z");
        for nonsense in ["soon", "10 parsecs", "", "2026-13-01", "99999999999999999999d"] {
            assert!(at(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn spans() {
        assert_eq!(span(7), "7s");
        assert_eq!(span(180), "3m");
        assert_eq!(span(7_200), "2h");
        assert_eq!(span(200_000), "2d");
    }

    #[test]
    fn utc() {
        assert_eq!(
            rfc3339(&Timestamp { seconds: 1_700_000_000, nanos: 120_000_000 }),
            "2023-11-14T22:13:20.120Z"
        );
    }
}
