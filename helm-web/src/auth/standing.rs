//! What a user's token is worth, by what Core says of its session and when it said so (design 6): a function of values.

use std::time::Duration;

/// What Core answered when it was asked for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It lives.
    Lives,
    /// 401 with `valid: false`: it was ended, or never was.
    Ended,
    /// No answer that counts: a time-out, 5xx, HTML.
    Away,
}

/// What the token is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All that its role may.
    Whole,
    /// It reads.
    Reads,
    /// It reads no longer: Core never confirmed it, and is away.
    Unconfirmed,
    /// Its session was ended.
    Ended,
}

/// How long a confirmation carries changes, and a young token reading, while Core is away. Nexus takes tokens as long.
pub const GRACE: Duration = Duration::from_secs(300);

/// `since_confirmed`: since Core last confirmed it; `age`: since it was issued.
#[must_use]
pub fn standing(answer: Answer, since_confirmed: Option<Duration>, age: Duration) -> Standing {
    match answer {
        Answer::Lives => Standing::Whole,
        Answer::Ended => Standing::Ended,
        Answer::Away => match since_confirmed {
            Some(since) if since <= GRACE => Standing::Whole,
            Some(_) => Standing::Reads,
            None if age <= GRACE => Standing::Reads,
            None => Standing::Unconfirmed,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_decides_while_it_is_there_and_what_it_said_last_while_it_is_away() {
        let seconds = Duration::from_secs;
        let long = seconds(3000);
        for (answer, confirmed, age, worth) in [
            (Answer::Lives, None, long, Standing::Whole),
            (Answer::Ended, Some(seconds(1)), seconds(1), Standing::Ended),
            (Answer::Away, Some(seconds(300)), long, Standing::Whole),
            (Answer::Away, Some(seconds(301)), long, Standing::Reads),
            (Answer::Away, None, seconds(300), Standing::Reads),
            (Answer::Away, None, seconds(301), Standing::Unconfirmed),
        ] {
            assert_eq!(standing(answer, confirmed, age), worth, "{answer:?} {confirmed:?} {age:?}");
        }
    }
}
