//! Times for programs: RFC 3339 in UTC.

use helm_proto::Timestamp;

/// To milliseconds.
#[must_use]
pub fn rfc3339(at: &Timestamp) -> String {
    jiff::Timestamp::new(at.seconds, at.nanos).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
}

/// Likewise, where there is one.
#[must_use]
pub fn optional(at: Option<Timestamp>) -> Option<String> {
    at.as_ref().map(rfc3339)
}

/// Of nanoseconds since 1970, with all nine digits: as a log entry has it.
#[must_use]
pub fn utc_nanos(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| String::new(), |t| format!("{t:.9}"))
}

/// Of nanoseconds since 1970, to milliseconds.
#[must_use]
pub fn moment(at: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at)).map_or_else(|_| String::new(), |t| format!("{t:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        let at = Timestamp { seconds: 1_700_000_000, nanos: 120_000_000 };
        assert_eq!(rfc3339(&at), "2023-11-14T22:13:20.120Z");
        assert_eq!(moment(1_700_000_000_120_000_000), "2023-11-14T22:13:20.120Z");
        assert_eq!(utc_nanos(1_700_000_000_120_000_001), "2023-11-14T22:13:20.120000001Z");
        assert_eq!(optional(None), None);
    }
}
