//! One entry on its way to helmd, and how it is put together.

use std::borrow::Cow;
use std::collections::BTreeMap;

use helm_core::name::ServiceName;
use helm_lines::sent::{Field, Sent};
use helm_lines::{Context, MESSAGE_MAX, json, sent_time};

/// Longest message that is passed on, in bytes. helmd cuts at [`MESSAGE_MAX`] and flags it; this bound is for the way there.
const PASSED_ON: usize = 4 * MESSAGE_MAX;

/// Fields among which a repeated one is looked for one by one.
const FEW: usize = 16;

/// Longest id or name that is passed on, in characters; helmd shortens to its columns.
const ID: usize = 1024;

/// An entry as helmd's `Append` takes it (`helm.v1.NewLogEntry`). helmd judges and mends it; here it is only put into this form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its place in the body, counted from 0: entries, lines, log records or documents.
    pub index: u32,
    /// A valid name; empty: the batch's, [`crate::Decoded::service`].
    pub service: String,
    /// Its own time in nanoseconds since 1970; `None`: the time of receipt.
    pub at_ns: Option<i64>,
    /// As it was sent; empty: none.
    pub level: String,
    /// What it says.
    pub message: String,
    /// Text of a JSON object, or empty.
    pub context_json: String,
    /// Trace or correlation id.
    pub trace_id: Option<String>,
    /// Who caused it.
    pub user_id: Option<String>,
    /// Where it was written.
    pub hostname: Option<String>,
    /// By which process.
    pub process_id: Option<i32>,
}

/// Why one entry of a body is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an object.
    #[error("the entry is no JSON object: send {{\"level\": ..., \"message\": ...}}")]
    NoObject,
    /// Nothing in it.
    #[error("the entry has no message and no context: there is nothing to store")]
    Empty,
    /// Nobody says whose it is.
    #[error("the entry names no service: give it a field `service`, or the request `?service=NAME`")]
    NoService,
    /// Not what its format says.
    #[error("the entry cannot be read: its bytes are not what the format says")]
    Damaged,
    /// `_bulk` has more verbs than a log has use for.
    #[error("only `index` and `create` are possible: entries of a log are neither changed nor deleted")]
    Verb,
    /// The place of a document of `_bulk` is not JSON that names an action.
    #[error("the line before the document names no action: send {{\"create\": {{}}}}")]
    NoAction,
}

/// A record in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) record: Record,
    pub(crate) context: Context,
    /// There was a message, if only an empty one or `null`.
    pub(crate) said: bool,
}

impl Draft {
    /// The service as another system calls it; its own name stays in the context where it had to be changed.
    pub(crate) fn service(&mut self, name: &str) {
        if name == self.record.service {
            return;
        }
        match ServiceName::fold(name) {
            Some(folded) => {
                if folded.as_str() != name {
                    self.context.note("helm.service", name);
                }
                self.record.service = folded.into();
            }
            None if name.is_empty() => {}
            None => self.context.note("helm.service", name),
        }
    }

    /// Fields of the context. Of repeated ones the last is kept.
    pub(crate) fn fields(&mut self, fields: &[(Cow<'_, str>, &str)]) {
        let mut last = BTreeMap::new();
        if fields.len() > FEW {
            last.extend(fields.iter().enumerate().map(|(at, (key, _))| (key.as_ref(), at)));
        }
        for (at, (key, raw)) in fields.iter().enumerate() {
            let again = match last.get(key.as_ref()) {
                Some(last) => *last > at,
                None => fields[at + 1..].iter().any(|(other, _)| other == key),
            };
            if !again {
                self.context.json(key, raw);
            }
        }
    }

    /// The message.
    pub(crate) fn message(&mut self, text: Cow<'_, str>) {
        self.said = true;
        self.record.message = if text.len() > PASSED_ON {
            self.context.note("helm.sent_bytes", &text.len().to_string());
            text[..text.floor_char_boundary(PASSED_ON)].to_owned()
        } else {
            text.into_owned()
        };
    }

    /// The time, as text or number; what cannot be read is noted.
    pub(crate) fn time(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        self.record.at_ns = sent_time(text);
        if self.record.at_ns.is_none() {
            self.context.note("helm.timestamp", text);
        }
    }

    /// An id or name, if it is text or a number; a structure goes to the context as `key`.
    pub(crate) fn id(&mut self, key: &str, field: &Field<'_>) -> Option<String> {
        let text = said(field)?;
        let structure = matches!(field, Field::Json(raw) if raw.starts_with(['{', '[', 't', 'f', 'n']));
        if structure {
            self.context.note(key, &text);
            return None;
        }
        let end = text.char_indices().nth(ID).map_or(text.len(), |(at, _)| at);
        if end < text.len() {
            self.context.note(key, &text);
        }
        (end > 0).then(|| text[..end].to_owned())
    }

    /// The number of a process.
    pub(crate) fn process(&mut self, field: &Field<'_>) {
        let Some(text) = said(field).filter(|text| !text.is_empty()) else { return };
        self.record.process_id = text.trim().parse().ok();
        if self.record.process_id.is_none() {
            self.context.note("helm.process_id", &text);
        }
    }

    /// The record, if there is anything in it. `whose` is the service of the whole batch.
    pub(crate) fn finish(mut self, whose: &str) -> Result<Record, Refusal> {
        if self.record.service.is_empty() && whose.is_empty() {
            return Err(Refusal::NoService);
        }
        if self.record.message.is_empty() && self.context.is_empty() {
            if !self.said {
                return Err(Refusal::Empty);
            }
            // helmd takes an entry with neither for a mistake; its sender meant it.
            self.context.note("helm.message", "empty");
        }
        self.record.context_json = self.context.finish().unwrap_or_default();
        Ok(self.record)
    }
}

/// The text of a field: a string without its quotes, anything else as JSON.
pub(crate) fn said<'a>(field: &'a Field<'_>) -> Option<Cow<'a, str>> {
    match field {
        Field::Absent => None,
        Field::Text(text) => Some(Cow::Borrowed(text)),
        Field::Json(raw) => Some(json::string(raw).unwrap_or(Cow::Borrowed(raw))),
    }
}

/// A record of an entry with the seed's fields.
pub(crate) fn of_sent(sent: &Sent<'_>, draft: &mut Draft) {
    match &sent.message {
        Field::Absent => {}
        Field::Json("null") => draft.message(Cow::Borrowed("")),
        Field::Json(raw) => draft.message(json::string(raw).unwrap_or_else(|| json::clean(raw).text)),
        Field::Text(text) => draft.message(Cow::Borrowed(text)),
    }
    draft.record.level = said(&sent.level).filter(|text| text != "null").unwrap_or_default().into_owned();
    if let Some(time) = said(&sent.timestamp) {
        draft.time(&time);
    }
    draft.record.trace_id = draft.id("helm.trace_id", &sent.trace_id);
    draft.record.user_id = draft.id("helm.user_id", &sent.user_id);
    draft.record.hostname = draft.id("helm.hostname", &sent.hostname);
    draft.process(&sent.process_id);
    match &sent.context {
        Field::Json(raw) => match json::object(raw) {
            Some(fields) => draft.fields(&fields),
            None => draft.context.json("context", raw),
        },
        Field::Text(_) | Field::Absent => {}
    }
    draft.fields(&sent.more);
}
