//! The context of an entry: one JSON object, as text, with bounds that no input can pass.

use std::fmt::Display;

use crate::json;
use crate::text::cut;

/// Longest context, in bytes of its JSON text.
pub const CONTEXT_MAX: usize = 64 << 10;

/// Deepest nesting of a field; a deeper one is kept as its text.
pub const DEPTH_MAX: usize = 32;

/// Room that is kept for Helm's own notes about an entry.
const NOTES: usize = 1 << 10;

/// Bytes of a usual context: reserved at once.
const USUAL: usize = 160;

/// What happened to fields on the way into a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounded {
    /// A field was nested too deeply: it is there as text.
    pub(crate) deep: bool,
    /// A field was too long: its beginning is there as text.
    pub(crate) long: bool,
    /// JSON escapes or numbers were replaced that no database holds.
    pub(crate) mended: bool,
}

/// Builds the text of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    text: String,
    /// Bytes that the fields would have taken, had there been no bound.
    asked: usize,
    pub(crate) bounded: Bounded,
}

impl Context {
    fn key(&mut self, key: &str) {
        if self.text.is_empty() {
            self.text.reserve(USUAL);
        }
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        json::quote(&mut self.text, key);
        self.text.push(':');
    }

    /// Bytes left for a field with this key.
    fn room(&self, key: &str) -> usize {
        (CONTEXT_MAX - NOTES).saturating_sub(self.text.len() + key.len() * 6 + 8)
    }

    /// A field whose value is valid JSON.
    pub fn json(&mut self, key: &str, raw: &str) {
        let clean = json::clean(raw);
        self.bounded.mended |= matches!(clean.text, std::borrow::Cow::Owned(_));
        if clean.depth > DEPTH_MAX {
            self.bounded.deep = true;
            return self.string(key, raw);
        }
        if clean.text.len() > self.room(key) {
            return self.shortened(key, raw);
        }
        self.asked += key.len() + raw.len();
        self.key(key);
        self.text.push_str(&clean.text);
    }

    /// A field that is text.
    pub fn string(&mut self, key: &str, value: &str) {
        // Escaping may take six bytes for one: measured only where it could matter.
        if self.room(key) == 0 || value.len() > self.room(key) / 6 {
            return self.shortened(key, value);
        }
        self.asked += key.len() + value.len();
        self.key(key);
        json::quote(&mut self.text, value);
    }

    /// A field that is a number, or a literal.
    pub fn number(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        self.json(key, &value);
    }

    /// Appends the fields of another context.
    pub(crate) fn extend(&mut self, other: Context) {
        let Context { text, .. } = other;
        let Some(fields) = text.strip_prefix('{') else { return };
        if fields.len() <= self.room("") {
            self.text.push(if self.text.is_empty() { '{' } else { ',' });
            self.text.push_str(fields);
        } else {
            self.bounded.long = true;
        }
        self.asked += fields.len();
    }

    /// As much of `value` as there is room for.
    fn shortened(&mut self, key: &str, value: &str) {
        self.asked += key.len() + value.len();
        let room = self.room(key);
        let mut quoted = String::new();
        json::quote(&mut quoted, value);
        if quoted.len() <= room {
            self.key(key);
            return self.text.push_str(&quoted);
        }
        self.bounded.long = true;
        let part = cut(value, room / 6);
        if !part.is_empty() {
            self.key(key);
            json::quote(&mut self.text, part);
        }
    }

    /// A note of Helm's own (its key begins with `helm.`): for these there is always room, once each.
    pub fn note(&mut self, key: &str, value: &str) {
        let room = (CONTEXT_MAX - 64).saturating_sub(self.text.len() + key.len() + 8) / 6;
        self.key(key);
        json::quote(&mut self.text, cut(value, room));
    }

    /// It has no field yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The object, or nothing if it has no field.
    pub fn finish(mut self) -> Option<String> {
        if self.bounded.long {
            let asked = self.asked.to_string();
            self.note("helm.context_bytes", &asked);
        }
        if self.text.is_empty() {
            return None;
        }
        self.text.push('}');
        Some(self.text)
    }
}
