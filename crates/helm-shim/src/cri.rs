//! The CRI logging format: `<RFC 3339 with nanoseconds> stdout|stderr P|F <text>`, one piece of output a line.
//!
//! `F` ends a line; `P` says that the line goes on in the stream's next piece.

use helm_core::time::Wall;

use crate::rundir::STREAMS;

/// Longest text of one piece: a longer line is cut into pieces of this size.
pub const PIECE: usize = 16 << 10;

/// Bytes of a time stamp.
pub const STAMP: usize = 30;

/// `2026-11-23T23:58:32.123456789Z`
pub fn stamp(at: Wall) -> [u8; STAMP] {
    let (seconds, nanos) = (at.0.div_euclid(1_000_000_000), at.0.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00.000000000Z";
    for (at, width, value) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, second / 3600),
        (14, 2, second / 60 % 60),
        (17, 2, second % 60),
        (20, 9, nanos),
    ] {
        let mut rest = value;
        for digit in out[at..at + width].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
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

/// Days since 1970-01-01 of a date: the inverse of `civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

fn unstamp(text: &[u8]) -> Option<Wall> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?
            .iter()
            .try_fold(0i64, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (29, b'Z')];
    if text.len() != STAMP || marks.iter().any(|(at, mark)| text[*at] != *mark) {
        return None;
    }
    let day = days(number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = day * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(Wall(seconds.checked_mul(1_000_000_000)?.checked_add(number(20, 29)?)?))
}

/// One parsed line of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// When it was captured.
    pub at: Wall,
    /// 0 stdout, 1 stderr.
    pub stream: usize,
    /// It ends a line.
    pub full: bool,
    /// As the service wrote it, without the newline. Any bytes.
    pub text: &'a [u8],
}

/// Parses one line, with or without its newline.
pub fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (at, rest) = line.split_at_checked(STAMP)?;
    let rest = rest.strip_prefix(b" ")?;
    let stream = STREAMS.iter().position(|s| rest.starts_with(s.as_bytes()))?;
    let rest = rest[STREAMS[stream].len()..].strip_prefix(b" ")?;
    let (full, text) = match rest {
        [b'F', b' ', text @ ..] => (true, text),
        [b'P', b' ', text @ ..] => (false, text),
        _ => return None,
    };
    Some(Piece { at: unstamp(at)?, stream, full, text })
}

/// What stands in front of every piece of one batch: made once, copied per line.
#[derive(Debug, Clone)]
pub struct Prefix {
    full: Vec<u8>,
    partial: Vec<u8>,
}

impl Prefix {
    /// For `stream` at `at`.
    pub fn new(at: Wall, stream: usize) -> Self {
        let of = |kind: &str| [&stamp(at)[..], b" ", STREAMS[stream].as_bytes(), kind.as_bytes()].concat();
        Self { full: of(" F "), partial: of(" P ") }
    }

    /// Appends one whole line.
    pub fn line(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.extend_from_slice(&self.full);
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

/// How far [`render`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rendered {
    /// Bytes of the input that are rendered.
    pub taken: usize,
    /// The last piece was a `P`; `None` if there was no piece.
    pub mid_line: Option<bool>,
}

/// Renders the whole lines of `input`, and every full [`PIECE`] of a line that has no end yet. Stops at the first piece
/// with which `out` is at least `limit` long. Rendering `input[..taken]` again gives the same bytes: that is what the
/// capture protocol rests on.
pub fn render(out: &mut Vec<u8>, prefix: &Prefix, input: &[u8], limit: usize) -> Rendered {
    let mut done = Rendered::default();
    while done.taken < input.len() {
        let rest = &input[done.taken..];
        let window = &rest[..rest.len().min(PIECE + 1)];
        let (head, text, taken) = match memchr::memchr(b'\n', window) {
            // The newline is copied with the text: one copy less.
            Some(end) => (&prefix.full, &rest[..=end], end + 1),
            None if rest.len() >= PIECE => (&prefix.partial, &rest[..PIECE], PIECE),
            None => break,
        };
        let partial = !text.ends_with(b"\n");
        out.reserve(head.len() + text.len() + 1);
        out.extend_from_slice(head);
        out.extend_from_slice(text);
        if partial {
            out.push(b'\n');
        }
        done.taken += taken;
        done.mid_line = Some(partial);
        if out.len() >= limit {
            break;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stamps() {
        assert_eq!(&stamp(Wall(0)), b"1970-01-01T00:00:00.000000000Z");
        assert_eq!(&stamp(Wall(1_709_210_096_000_000_789)), b"2024-02-29T12:34:56.000000789Z");
        assert_eq!(&stamp(Wall(951_782_399_999_999_999)), b"2000-02-28T23:59:59.999999999Z");
    }

    #[test]
    fn a_line_is_parsed_as_it_was_written() {
        let line = b"2024-02-29T12:34:56.000000789Z stderr P a\0\xff b\n";
        let piece = parse(line).unwrap();
        assert_eq!(piece.at, Wall(1_709_210_096_000_000_789));
        assert_eq!((piece.stream, piece.full, piece.text), (1, false, &b"a\0\xff b"[..]));
        for bad in [
            "",
            "x",
            "2024-02-29T12:34:56.000000789Z stdlog F x",
            "2024-02-29T12:34:56.000000789Z stdout G x",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    fn text_of(rendered: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        for line in rendered.split_inclusive(|c| *c == b'\n') {
            let piece = parse(line).unwrap();
            text.extend_from_slice(piece.text);
            if piece.full {
                text.push(b'\n');
            }
        }
        text
    }

    #[test]
    fn a_long_line_is_cut_into_pieces_and_a_short_tail_waits() {
        let prefix = Prefix::new(Wall(1), 0);
        let mut input = vec![b'x'; 2 * PIECE + 10];
        let mut out = Vec::new();
        let done = render(&mut out, &prefix, &input, usize::MAX);
        assert_eq!((done.taken, done.mid_line), (2 * PIECE, Some(true)));
        input.push(b'\n');
        let mut out = Vec::new();
        let done = render(&mut out, &prefix, &input, usize::MAX);
        assert_eq!((done.taken, done.mid_line), (input.len(), Some(false)));
        assert_eq!(text_of(&out), input);
        // Exactly one piece and its newline is one line.
        let mut out = Vec::new();
        render(&mut out, &prefix, &input[PIECE + 10..], usize::MAX);
        assert_eq!(out.iter().filter(|c| **c == b'\n').count(), 1);
    }

    proptest! {
        #[test]
        fn stamps_go_both_ways(at in 0i64..i64::MAX) {
            prop_assert_eq!(unstamp(&stamp(Wall(at))), Some(Wall(at)));
        }

        /// In whatever batches a stream is rendered, each batch can be repeated and the text comes back whole.
        #[test]
        fn batches_repeat_and_lose_nothing(
            lines in prop::collection::vec((0usize..40_000, any::<u8>()), 1..8), limit in 0usize..60_000
        ) {
            let mut input = Vec::new();
            for (length, byte) in lines {
                input.extend(std::iter::repeat_n(if byte == b'\n' { 0 } else { byte }, length));
                input.push(b'\n');
            }
            let prefix = Prefix::new(Wall(5), 1);
            let (mut at, mut all) = (0, Vec::new());
            while at < input.len() {
                let mut out = Vec::new();
                let done = render(&mut out, &prefix, &input[at..], limit);
                prop_assert!(done.taken > 0);
                let mut again = Vec::new();
                let repeated = render(&mut again, &prefix, &input[at..at + done.taken], usize::MAX);
                prop_assert_eq!(repeated, done);
                prop_assert_eq!(&again, &out);
                at += done.taken;
                all.extend(out);
            }
            prop_assert_eq!(text_of(&all), input);
        }
    }
}
