//! From bytes to text: what is shown, and what is searched.
//!
//! The shown text keeps colours; only what no database and no terminal can hold is replaced (invalid UTF-8 by U+FFFD,
//! NUL by U+2400). The searched text has neither escape sequences nor control characters.

use std::borrow::Cow;

/// The picture of a NUL, which stands for it: PostgreSQL stores no NUL.
const NUL: &str = "\u{2400}";

/// The text as it is shown, and whether invalid UTF-8 was replaced in it.
pub(crate) fn shown(bytes: &[u8]) -> (Cow<'_, str>, bool) {
    let (text, invalid) = match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), false),
        Err(_) => (String::from_utf8_lossy(bytes), true),
    };
    if memchr::memchr(0, bytes).is_some() {
        (Cow::Owned(text.replace('\0', NUL)), invalid)
    } else {
        (text, invalid)
    }
}

/// Text that came as text: without NUL.
pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        Cow::Owned(text.replace('\0', NUL))
    } else {
        Cow::Borrowed(text)
    }
}

/// The first bytes of `text`, at most `limit`, cut between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// The first `limit` characters of `text`: as many as a column of that width holds.
pub(crate) fn first_chars(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    text.char_indices().nth(limit).map_or(text, |(at, _)| &text[..at])
}

/// The first bytes of `bytes`, at most `limit`, not cut within a UTF-8 character.
pub(crate) fn cut_bytes(bytes: &[u8], limit: usize) -> &[u8] {
    if bytes.len() <= limit {
        return bytes;
    }
    let mut end = limit;
    while end > limit.saturating_sub(3) && end > 0 && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    // Four continuation bytes in a row are no character anyway.
    if bytes[end] & 0xc0 == 0x80 { &bytes[..limit] } else { &bytes[..end] }
}

/// Whether the searched text may differ from the shown one. Without branches, so that it runs over many bytes at once.
fn suspicious(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, b| {
        // 0xC2 begins the C1 controls (and harmless Latin ones: looked at again, character by character).
        found | ((*b < 0x20) & (*b != b'\t') & (*b != b'\n')) | (*b == 0x7f) | (*b == 0xc2)
    })
}

/// The searched text: without ANSI escape sequences and control characters. `None` if it is the shown text itself.
pub fn plain(text: &str) -> Option<String> {
    if !suspicious(text.as_bytes()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let end = walk(text, usize::MAX, |c| out.push(c));
    debug_assert_eq!(end, text.len());
    (out != text).then_some(out)
}

/// Where in `text` the byte stands that is number `wanted` in `plain(text)`.
pub(crate) fn place(text: &str, wanted: usize) -> usize {
    walk(text, wanted, |_| {})
}

/// Gives every searched character to `take` until `until` bytes of them were given; says how far it came.
fn walk(text: &str, until: usize, mut take: impl FnMut(char)) -> usize {
    let (mut at, mut given) = (0, 0);
    while given < until {
        let Some(c) = text[at..].chars().next() else { break };
        match c {
            '\u{1b}' => at += escape(&text.as_bytes()[at..]),
            '\u{9b}' => at += c.len_utf8() + csi(&text.as_bytes()[at + c.len_utf8()..]),
            _ => {
                at += c.len_utf8();
                // A carriage return separates what was drawn over: words must not grow together.
                let c = if c == '\r' { ' ' } else { c };
                if !c.is_control() || c == '\t' || c == '\n' {
                    given += c.len_utf8();
                    take(c);
                }
            }
        }
    }
    at
}

/// Length of the escape sequence at the start of `bytes` (which begins with ESC).
fn escape(bytes: &[u8]) -> usize {
    match bytes.get(1) {
        Some(b'[') => 2 + csi(&bytes[2..]),
        // Operating system command and its kin: to BEL or ESC \; without an end only the introducer goes.
        Some(b']' | b'P' | b'X' | b'^' | b'_') => {
            let body = &bytes[2..];
            match memchr::memchr3(0x07, 0x1b, b'\n', body) {
                Some(end) if body[end] == 0x07 => 2 + end + 1,
                Some(end) if body[end] == 0x1b && body.get(end + 1) == Some(&b'\\') => 2 + end + 2,
                _ => 2,
            }
        }
        // Intermediate bytes, then a final one: ESC ( B.
        Some(0x20..=0x2f) => {
            let middle = bytes[1..].iter().take_while(|b| matches!(b, 0x20..=0x2f)).count();
            1 + middle + usize::from(bytes.get(1 + middle).is_some_and(|b| matches!(b, 0x30..=0x7e)))
        }
        Some(0x30..=0x7e) => 2,
        _ => 1,
    }
}

/// Length of a control sequence after its introducer: parameters, intermediates, a final byte if there is one.
fn csi(bytes: &[u8]) -> usize {
    let body = bytes.iter().take_while(|b| matches!(b, 0x20..=0x3f)).count();
    body + usize::from(bytes.get(body).is_some_and(|b| matches!(b, 0x40..=0x7e)))
}
