//! JSON as text: taken apart and put together without building values, because most of it is only passed on.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Most fields of one object: more than a context has room for. What lies behind them is only passed over, so that a sender
/// cannot choose how much memory its fields take.
pub const FIELDS_MAX: usize = 16_384;

/// The first [`FIELDS_MAX`] fields of an object, in order, each value as its own text. `None` if `text` is no JSON object.
pub fn object(text: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    // The top-level keys go through serde_json's own unescaping; an odd one there makes the whole no object.
    serde_json::from_str::<Fields<'_>>(text).ok().map(|fields| fields.0)
}

/// The elements of an array, each as its own text: the first `most`, and how many there are. `None` if `text` is no JSON array.
/// Nothing is built of what lies behind `most`: what it costs is not the sender's to choose.
pub fn array(text: &str, most: usize) -> Option<(Vec<&str>, usize)> {
    let mut from = serde_json::Deserializer::from_str(text);
    let found = from.deserialize_seq(Elements(most)).ok()?;
    from.end().ok().map(|()| found)
}

struct Elements(usize);

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<&'de str>, usize);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0 {
            match seq.next_element::<&'de RawValue>()? {
                Some(element) => elements.push(element.get()),
                None => break,
            }
        }
        let mut count = elements.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok((elements, count))
    }
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while fields.len() < FIELDS_MAX {
                    let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? else { break };
                    fields.push((key.0, value.get()));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Fields(fields))
            }
        }
        from.deserialize_map(Take)
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// The text of a JSON string; `None` if `raw` is another kind of value.
pub fn string(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(&clean(raw).text).ok().map(Cow::Owned)
}

/// Appends `text` as a JSON string.
pub fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    let special = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    // Without branches, and nearly always enough.
    let bytes = if text.bytes().fold(false, |found, b| found | special(b)) { text } else { "" };
    for (at, b) in bytes.bytes().enumerate() {
        let short = match b {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0 => "\u{2400}",
            1..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if short.is_empty() {
            out.push_str(&format!("\\u{b:04x}"));
        } else {
            out.push_str(short);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

/// JSON text that any JSON type holds.
#[derive(Debug, PartialEq, Eq)]
pub struct Clean<'a> {
    /// The value.
    pub text: Cow<'a, str>,
    /// Nesting: 0 for a scalar, 1 for a flat object.
    pub depth: usize,
}

/// Replaces in valid JSON what PostgreSQL's `jsonb` and other readers refuse: `\u0000` and lone surrogates within strings,
/// numbers beyond a double (kept as strings).
pub fn clean(raw: &str) -> Clean<'_> {
    let bytes = raw.as_bytes();
    // Most values are text without escapes, or short numbers and literals.
    let simple = match bytes.first() {
        Some(b'"') => memchr::memchr(b'\\', bytes).is_none(),
        Some(b'{' | b'[') | None => false,
        Some(_) => {
            bytes.len() < 20 && !bytes.iter().any(|b| matches!(b, b'e' | b'E'))
                || matches!(raw, "true" | "false")
        }
    };
    if simple {
        return Clean { text: Cow::Borrowed(raw), depth: 0 };
    }
    let (mut out, mut copied) = (String::new(), 0);
    let (mut depth, mut deepest, mut at) = (0usize, 0usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                mend_string(raw, at, end, &mut out, &mut copied);
                at = end;
            }
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
                let end = at + length.count();
                let number = &raw[at..end];
                if (number.len() > 300 || number.contains(['e', 'E']))
                    && (!number.parse::<f64>().is_ok_and(f64::is_finite) || exponent(number) > 400)
                {
                    out.push_str(&raw[copied..at]);
                    quote(&mut out, number);
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    let text = if copied == 0 {
        Cow::Borrowed(raw)
    } else {
        out.push_str(&raw[copied..]);
        Cow::Owned(out)
    };
    Clean { text, depth: deepest }
}

/// `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON has not, as strings. `None` if there are none.
pub fn with_numbers_named(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(found) = memchr::memchr3(b'"', b'N', b'I', bytes.get(at..)?) {
        at += found;
        if bytes[at] == b'"' {
            at = string_end(bytes, at);
            continue;
        }
        let Some(name) = ["NaN", "Infinity"].into_iter().find(|name| text[at..].starts_with(name)) else {
            break;
        };
        let start = if bytes[..at].ends_with(b"-") { at - 1 } else { at };
        at += name.len();
        out.push_str(&text[copied..start]);
        quote(&mut out, &text[start..at]);
        copied = at;
    }
    out.push_str(&text[copied..]);
    (copied > 0).then_some(out)
}

/// How far the exponent of a number is from nought.
fn exponent(number: &str) -> u32 {
    let Some((_, digits)) = number.split_once(['e', 'E']) else { return 0 };
    let digits = digits.trim_start_matches(['+', '-']).trim_start_matches('0');
    if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u32::MAX) }
}

/// Where the string that begins at `start` ends (behind its quote).
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// Replaces the escapes within one string that stand for no character.
fn mend_string(raw: &str, start: usize, end: usize, out: &mut String, copied: &mut usize) {
    let mut at = start;
    while let Some(found) = memchr::memchr(b'\\', &raw.as_bytes()[at..end]) {
        at += found;
        let Some(unit) = unit(raw, at) else {
            at += 2;
            if at >= end {
                return;
            }
            continue;
        };
        let low = unit_is(raw, at + 6, 0xdc00..0xe000);
        let (length, instead) = match unit {
            0 => (6, Some("\\u2400")),
            0xd800..0xdc00 if low => (12, None),
            0xd800..0xe000 => (6, Some("\\ufffd")),
            _ => (6, None),
        };
        if let Some(instead) = instead {
            out.push_str(&raw[*copied..at]);
            out.push_str(instead);
            *copied = at + length;
        }
        at += length;
    }
}

/// The number of the `\uXXXX` at `at`.
fn unit(raw: &str, at: usize) -> Option<u32> {
    let digits = raw.get(at..at + 6)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

fn unit_is(raw: &str, at: usize, range: std::ops::Range<u32>) -> bool {
    unit(raw, at).is_some_and(|unit| range.contains(&unit))
}
