//! Times of queries and answers. Without a zone they are UTC, as the services of the ecosystem write them (contract 4).

use helm_proto::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::problem::{Problem, Result};

/// The present, in nanoseconds since 1970.
#[must_use]
pub(super) fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// A time of the query, in nanoseconds since 1970; an empty one is none.
///
/// # Errors
/// It is no ISO 8601 (the words of contract 5.2).
pub(super) fn given(text: Option<&str>, key: &str) -> Result<Option<i64>> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let at = parse(text).and_then(|at| i64::try_from(at.as_nanosecond()).ok());
    let words =
        || Problem::bad_request(format!("Invalid {key} format: use ISO 8601, like 2026-01-31T14:30:00"));
    at.map(Some).ok_or_else(|| words().plain())
}

/// A range; the end belongs to it, as in the Python Helm. What is not given: all.
///
/// # Errors
/// One of both is no time, or the range holds nothing.
pub(super) fn range(start: Option<&str>, end: Option<&str>) -> Result<(Option<i64>, Option<i64>)> {
    let since = given(start, "start_time")?;
    let until = given(end, "end_time")?.map(|until| until.saturating_add(1));
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            Err(Problem::bad_request("start_time lies behind end_time").plain())
        }
        range => Ok(range),
    }
}

fn parse(text: &str) -> Option<jiff::Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    // A `+` of a query that was not encoded is a space there.
    if let Some((time, zone)) = text.rsplit_once(' ').filter(|(_, zone)| zone.contains(':'))
        && let Ok(at) = format!("{time}+{zone}").parse()
    {
        return Some(at);
    }
    let civil: civil::DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// As the services write times: UTC without saying so.
#[must_use]
pub(super) fn naive(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// Likewise, of nanoseconds since 1970.
#[must_use]
pub(super) fn naive_nanos(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| String::new(), naive)
}

/// A time of helmd's.
#[must_use]
pub(super) fn instant(at: &Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::new(at.seconds, at.nanos).ok()
}

/// A time for helmd.
#[must_use]
pub(super) fn timestamp(at: i64) -> Timestamp {
    let nanos = i32::try_from(at.rem_euclid(1_000_000_000)).unwrap_or(0);
    Timestamp { seconds: at.div_euclid(1_000_000_000), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_without_a_zone_are_utc() {
        let same = [
            "2026-01-31T14:30:00",
            "2026-01-31T14:30:00.000000",
            "2026-01-31 14:30",
            "2026-01-31T14:30:00Z",
            "2026-01-31T15:30:00+01:00",
            "2026-01-31T15:30:00 01:00",
        ];
        for text in same {
            let at = given(Some(text), "start_time").unwrap().unwrap();
            assert_eq!(naive_nanos(at), "2026-01-31T14:30:00.000000", "{text}");
        }
        assert!(given(Some("2026-01-31"), "start_time").unwrap().is_some());
        assert_eq!(given(Some(" "), "start_time").unwrap(), None);
        for text in ["yesterday", "1767225600", "2026-13-01", "99999-01-01", "14:30"] {
            let problem = given(Some(text), "end_time").unwrap_err();
            assert!(problem.detail().starts_with("Invalid end_time format"), "{text}: {}", problem.detail());
        }
    }

    #[test]
    fn the_end_belongs_to_a_range() {
        let one = Some("2026-01-31T14:30:00");
        let (since, until) = range(one, one).unwrap();
        assert_eq!(until.unwrap() - since.unwrap(), 1);
        assert!(range(Some("2026-02-01"), one).is_err());
    }
}
