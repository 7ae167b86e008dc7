//! What many entries of a body have in common (a resource, a stream's labels): read once, put beside each of them.

use helm_lines::json;

use crate::record::Draft;

/// Most bytes of it beside one entry: a body may have 100,000 of them.
const SHARED_MAX: usize = 1 << 10;

/// Most fields of an entry that are looked at one by one; what lies behind is passed over.
pub(crate) const ATTRIBUTES_MAX: usize = 1000;

/// Attributes in common, as one JSON object, and those that are columns.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    text: String,
    cut: bool,
    /// The best name of a service, and its rank: 0 is best.
    service: Option<(usize, String)>,
    /// Where all of it was written.
    pub(crate) hostname: Option<String>,
    /// By which process.
    pub(crate) process: Option<String>,
    /// How serious all of it is.
    pub(crate) level: Option<String>,
}

impl Shared {
    /// A name of a service, if none of a better rank (lower) is known.
    pub(crate) fn offer_service(&mut self, rank: usize, name: &str) {
        if !name.is_empty() && self.service.as_ref().is_none_or(|(best, _)| rank < *best) {
            self.service = Some((rank, name.chars().take(256).collect()));
        }
    }

    /// The best name.
    pub(crate) fn service(&self) -> Option<&str> {
        self.service.as_ref().map(|(_, name)| name.as_str())
    }

    /// One attribute: valid JSON.
    pub(crate) fn json(&mut self, key: &str, raw: &str) {
        if self.text.len() + key.len() + raw.len() + 6 > SHARED_MAX {
            self.cut = true;
            return;
        }
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        json::quote(&mut self.text, key);
        self.text.push(':');
        self.text.push_str(&json::clean(raw).text);
    }

    /// One attribute that is text.
    pub(crate) fn string(&mut self, key: &str, value: &str) {
        if value.len() > SHARED_MAX {
            self.cut = true;
            return;
        }
        let mut raw = String::new();
        json::quote(&mut raw, value);
        self.json(key, &raw);
    }

    /// Puts it beside an entry, under `name`.
    pub(crate) fn beside(&self, name: &str, draft: &mut Draft) {
        if !self.text.is_empty() {
            let closed = format!("{}}}", self.text);
            draft.context.json(name, &closed);
        }
        if self.cut {
            draft.context.note("helm.cut", name);
        }
    }
}
