//! Times as people type them.

use jiff::civil;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::render::{note, time};

const FORMS: &str =
    "use 10m, 2h, 3d, now, today, yesterday, 14:30, 2026-01-31, 2026-01-31T14:30:00 or one with a zone";

/// `10m` (ago), `now`, `today`, `yesterday` (their midnights), a time of today, or ISO 8601; without a zone in the local one.
pub(crate) fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    parse_in(text.trim(), now, &TimeZone::system()).ok_or_else(|| format!("`{text}` is no time: {FORMS}"))
}

/// The same, in nanoseconds since 1970.
pub(crate) fn nanos(text: &str) -> Result<i64, String> {
    let at = parse(text, Timestamp::now())?;
    i64::try_from(at.as_nanosecond()).map_err(|_| format!("`{text}` is too far away"))
}

/// Refuses a range that ends before it begins, and remarks one that lies ahead.
pub(crate) fn holds_something(
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), String> {
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        let [since, until] = [since, until].map(time::to_second);
        return Err(format!("--since ({since}) must be before --until ({until})"));
    }
    if let Some(since) = since.filter(|since| *since > now) {
        note(&format!("--since ({}) lies ahead: nothing has come from then yet", time::to_second(since)));
    }
    Ok(())
}

fn parse_in(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today = now.to_zoned(zone.clone()).date();
    let local = |at: civil::DateTime| at.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp());
    let midnight = |day: civil::Date| local(day.to_datetime(civil::Time::midnight()));
    match text.to_lowercase().as_str() {
        "now" => return Some(now),
        "today" => return midnight(today),
        "yesterday" => return midnight(today.checked_sub(1.day()).ok()?),
        _ => {}
    }
    if let Some(ago) = span(text) {
        return now.checked_sub(ago).ok();
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return local(at);
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        return midnight(day);
    }
    let form = if text.matches(':').count() == 1 { "%H:%M" } else { "%H:%M:%S" };
    local(today.to_datetime(civil::Time::strptime(form, text).ok()?))
}

/// `90s`, `1.5h`, `2d`; also `1h30m`, and a plain `ago` behind it.
fn span(text: &str) -> Option<SignedDuration> {
    let text = text.strip_suffix("ago").unwrap_or(text).trim();
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit_at);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = match unit {
            "s" | "sec" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<String> {
        let now = "2026-03-15T12:00:00Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        parse_in(text, now, &zone).map(|t| t.to_string())
    }

    #[test]
    fn every_form() {
        let cases = [
            ("now", "2026-03-15T12:00:00Z"),
            ("10m", "2026-03-15T11:50:00Z"),
            ("1h30m", "2026-03-15T10:30:00Z"),
            ("-2h", "2026-03-15T10:00:00Z"),
            ("1.5h ago", "2026-03-15T10:30:00Z"),
            ("2d", "2026-03-13T12:00:00Z"),
            ("today", "2026-03-14T22:00:00Z"),
            ("Yesterday", "2026-03-13T22:00:00Z"),
            ("13:30", "2026-03-15T11:30:00Z"),
            ("2026-01-31", "2026-01-30T22:00:00Z"),
            ("2026-01-31T14:30:00", "2026-01-31T12:30:00Z"),
            ("2026-01-31 14:30", "2026-01-31T12:30:00Z"),
            ("2026-01-31T14:30:00Z", "2026-01-31T14:30:00Z"),
            ("2026-01-31T14:30:00-05:00", "2026-01-31T19:30:00Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(at(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_is() {
        for bad in ["", "soon", "5", "5 parsecs", "2026-13-01", "25:00", "m", "ago"] {
            assert_eq!(at(bad), None, "{bad}");
        }
        assert!(parse("soon", Timestamp::now()).is_err_and(|why| why.contains("yesterday")));
    }
}
