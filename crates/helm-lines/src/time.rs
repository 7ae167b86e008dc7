//! Time stamps in text: into nanoseconds since 1970 (UTC). No time zone database: an offset is written, or given.

use helm_core::time::Wall;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Entries from further ahead of their capture than this are taken for a wrong clock.
pub const FUTURE: i64 = 300 * SECOND;

/// What a reader knows about time when a stamp leaves something out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// When the line was captured: gives a year, or a day, where the stamp has none.
    pub(crate) at: Wall,
    /// Seconds east of UTC for stamps without a zone.
    pub(crate) offset: i32,
}

impl Clock {
    /// The same capture time, naive stamps being UTC.
    pub(crate) fn utc(self) -> Clock {
        Clock { offset: 0, ..self }
    }

    fn of(self, seconds: i64, nanos: i64, zone: Option<i32>) -> Option<i64> {
        let utc = seconds - i64::from(zone.unwrap_or(self.offset));
        utc.checked_mul(SECOND)?.checked_add(nanos)
    }

    /// Local date of the capture.
    fn today(self) -> (i64, i64, i64) {
        civil((self.at.0.div_euclid(SECOND) + i64::from(self.offset)).div_euclid(DAY))
    }
}

/// A stamp that was read, and its length.
pub(crate) type Stamp = Option<(i64, usize)>;

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, wanted: &[u8]) -> Option<u8> {
        let found = self.peek().filter(|b| wanted.contains(b))?;
        self.at += 1;
        Some(found)
    }

    /// Exactly `width` digits, no greater than `most`.
    fn digits(&mut self, width: usize, most: i64) -> Option<i64> {
        let end = self.at + width;
        let mut value = 0;
        for b in self.bytes.get(self.at..end)? {
            value = value * 10 + i64::from(b.is_ascii_digit().then(|| b - b'0')?);
        }
        self.at = end;
        (value <= most).then_some(value)
    }

    fn month(&mut self) -> Option<i64> {
        const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.bytes.get(self.at..self.at + 3)?;
        let at = NAMES.chunks_exact(3).position(|n| n == name)?;
        self.at += 3;
        Some(at as i64 + 1)
    }

    /// `HH:MM:SS` in seconds, and nanoseconds after `.` or `,`.
    fn clock(&mut self) -> Option<(i64, i64)> {
        let hour = self.digits(2, 23)?;
        self.eat(b":")?;
        let minute = self.digits(2, 59)?;
        self.eat(b":")?;
        // 60: a leap second.
        let second = self.digits(2, 60)?;
        let mut nanos = 0;
        if matches!(self.peek(), Some(b'.' | b','))
            && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit)
        {
            self.at += 1;
            let mut unit = SECOND;
            while let Some(d) = self.peek().filter(u8::is_ascii_digit) {
                unit /= 10;
                nanos += i64::from(d - b'0') * unit;
                self.at += 1;
            }
        }
        Some((hour * 3600 + minute * 60 + second, nanos))
    }

    /// `Z`, `UTC`, `GMT`, `+01:00`, `+0100`, `+01`, with or without a space before. Leaves the place alone if there is none.
    fn zone(&mut self) -> Option<i32> {
        let start = self.at;
        let found = self.zone_here();
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn zone_here(&mut self) -> Option<i32> {
        if self.eat(b"Zz").is_some() {
            return Some(0);
        }
        let spaced = self.eat(b" ").is_some();
        if spaced && matches!(self.bytes.get(self.at..self.at + 3), Some(b"UTC" | b"GMT")) {
            self.at += 3;
            return Some(0);
        }
        let sign = if self.eat(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.digits(2, 23)?;
        let colon = self.eat(b":").is_some();
        let minutes = match self.peek() {
            Some(b'0'..=b'9') => self.digits(2, 59)?,
            // `- 12` after a space is no zone.
            _ if colon || spaced => return None,
            _ => 0,
        };
        if self.peek().is_some_and(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        i32::try_from(sign * (hours * 3600 + minutes * 60)).ok()
    }
}

fn scan(text: &str) -> Scan<'_> {
    Scan { bytes: text.as_bytes(), at: 0 }
}

/// `2026-11-23T09:04:00.424977+01:00`, also with a space, a comma, slashes, without fraction or zone; a date alone.
pub(crate) fn iso(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    let year = s.digits(4, 9999)?;
    let mark = s.eat(b"-/")?;
    let month = s.digits(2, 12)?;
    s.eat(&[mark])?;
    let day = days(year, month, s.digits(2, 31)?)?;
    if s.peek().is_none() {
        return Some((clock.of(day * DAY, 0, None)?, s.at));
    }
    s.eat(b"T t")?;
    let (second, nanos) = s.clock()?;
    let zone = s.zone();
    Some((clock.of(day * DAY + second, nanos, zone)?, s.at))
}

/// `23/Nov/2026:09:04:00 +0100` of access logs, `23/Nov/2026 09:04:00` of werkzeug.
pub(crate) fn access(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    let day = s.digits(2, 31)?;
    s.eat(b"/")?;
    let month = s.month()?;
    s.eat(b"/")?;
    let day = days(s.digits(4, 9999)?, month, day)?;
    s.eat(b": ")?;
    let (second, nanos) = s.clock()?;
    let zone = s.zone();
    Some((clock.of(day * DAY + second, nanos, zone)?, s.at))
}

/// `Nov  3 09:04:00` of syslog: the year is the one that brings it nearest to the capture.
pub(crate) fn month_day(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    let month = s.month()?;
    s.eat(b" ")?;
    let day = if s.eat(b" ").is_some() { s.digits(1, 9)? } else { s.digits(2, 31)? };
    s.eat(b" ")?;
    let (second, nanos) = s.clock()?;
    Some((nearest_year(month, day, second, nanos, clock)?, s.at))
}

/// `1123 09:04:00.123456` of klog and glog.
pub(crate) fn klog(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    let (month, day) = (s.digits(2, 12)?, s.digits(2, 31)?);
    s.eat(b" ")?;
    let (second, nanos) = s.clock()?;
    Some((nearest_year(month, day, second, nanos, clock)?, s.at))
}

/// `Wed Nov 23 09:04:00.123456 2026` of Apache's error log.
pub(crate) fn ctime(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    s.at = 4;
    let month = s.month()?;
    s.eat(b" ")?;
    let day = if s.eat(b" ").is_some() { s.digits(1, 9)? } else { s.digits(2, 31)? };
    s.eat(b" ")?;
    let (second, nanos) = s.clock()?;
    s.eat(b" ")?;
    let day = days(s.digits(4, 9999)?, month, day)?;
    Some((clock.of(day * DAY + second, nanos, None)?, s.at))
}

/// `09:04:00.123`: the day is the one that brings it nearest to the capture.
pub(crate) fn of_day(text: &str, clock: Clock) -> Stamp {
    let mut s = scan(text);
    let (second, nanos) = s.clock()?;
    let (year, month, day) = clock.today();
    let today = days(year, month, day)?;
    let on = |day: i64| clock.of(day * DAY + second, nanos, None);
    let best =
        [today - 1, today, today + 1].into_iter().filter_map(on).min_by_key(|t| t.abs_diff(clock.at.0))?;
    Some((best, s.at))
}

fn nearest_year(month: i64, day: i64, second: i64, nanos: i64, clock: Clock) -> Option<i64> {
    let (year, ..) = clock.today();
    [year - 1, year, year + 1]
        .into_iter()
        .filter_map(|year| clock.of(days(year, month, day)? * DAY + second, nanos, None))
        .min_by_key(|t| t.abs_diff(clock.at.0))
}

/// A count since 1970, in a unit that its size tells: seconds, milliseconds, microseconds or nanoseconds; a fraction is
/// read exactly. Nothing before 1973: small numbers are durations.
pub(crate) fn epoch(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || whole.len() > 19 || !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let value: i64 = whole.parse().ok()?;
    let mut unit = match value {
        100_000_000..100_000_000_000 => SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1000,
        100_000_000_000_000_000.. => 1,
        _ => return None,
    };
    let mut nanos = value.checked_mul(unit)?;
    for digit in fraction.bytes() {
        unit /= 10;
        nanos = nanos.checked_add(i64::from(digit.checked_sub(b'0').filter(|d| *d <= 9)?) * unit)?;
    }
    Some(nanos)
}

/// A whole text that is a time: ISO 8601 or a count since 1970.
pub(crate) fn whole(text: &str, clock: Clock) -> Option<i64> {
    let text = text.trim();
    match iso(text, clock) {
        Some((time, length)) => (length == text.len()).then_some(time),
        None => epoch(text),
    }
}

/// A time as a sender may spell it: ISO 8601 (UTC if it names no zone), or a count since 1970 whose size tells the unit.
pub fn sent_time(text: &str) -> Option<i64> {
    // Neither of the two needs to know when it arrived.
    whole(text, Clock { at: helm_core::time::Wall(0), offset: 0 })
}

/// A time as text: `2026-11-23T09:04:00.424977Z`, the fraction as short as it is exact.
pub fn write(ns: i64) -> String {
    let (seconds, nanos) = (ns.div_euclid(SECOND), ns.rem_euclid(SECOND));
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let s = seconds.rem_euclid(DAY);
    let mut out = format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    if nanos != 0 {
        out.push_str(format!(".{nanos:09}").trim_end_matches('0'));
    }
    out.push('Z');
    out
}

/// Year, month and day of a count of days since 1970-01-01 (proleptic Gregorian; H. Hinnant's algorithm).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Days since 1970-01-01 of a date that there is: the inverse of `civil`.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let count = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    (civil(count) == (year, month, day)).then_some(count)
}
