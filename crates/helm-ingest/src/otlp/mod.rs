//! OTLP/HTTP logs (opentelemetry-proto, logs/v1): what both encodings have in common.

pub(crate) mod json;
pub(crate) mod proto;

use std::borrow::Cow;

use helm_lines::Level;
use helm_lines::sent::Field;

use crate::record::Draft;
use crate::shared::{ATTRIBUTES_MAX, Shared};
use crate::{Record, Refusal};

/// What a sender without a name of its own is called; the SDKs say so, too.
pub(crate) const UNKNOWN: &str = "unknown_service";

/// Deepest value; what lies deeper is said to be there, not copied.
pub(crate) const DEPTH: usize = 32;

/// What stands for a value that is nested too deeply.
pub(crate) const DEEP: &str = r#""nested too deeply""#;

/// One log record, its fields still apart.
#[derive(Debug, Default)]
pub(crate) struct LogRecord<'a> {
    pub(crate) time: i64,
    pub(crate) observed: i64,
    pub(crate) number: i64,
    pub(crate) text: Cow<'a, str>,
    /// The body as JSON; empty: none.
    pub(crate) body: String,
    pub(crate) trace: String,
    pub(crate) span: String,
    pub(crate) event: Cow<'a, str>,
    pub(crate) draft: Draft,
    attributes: usize,
}

impl LogRecord<'_> {
    /// An attribute; its value is JSON.
    pub(crate) fn attribute(&mut self, key: &str, raw: &str) {
        self.attributes += 1;
        if self.attributes > ATTRIBUTES_MAX {
            return;
        }
        if matches!(key, "enduser.id" | "user.id") && self.draft.record.user_id.is_none() {
            self.draft.record.user_id = self.draft.id("helm.user_id", &Field::Json(raw));
        }
        self.draft.context.json(key, raw);
    }

    /// The record for helmd.
    pub(crate) fn finish(mut self, shared: &Shared, scope: &str, whose: &str) -> Result<Record, Refusal> {
        let time = if self.time > 0 { self.time } else { self.observed };
        self.draft.record.at_ns = (time > 0).then_some(time);
        self.level();
        match (self.body.as_str(), &*self.event) {
            ("" | "null", "") => {}
            ("" | "null", event) => self.draft.message(Cow::Borrowed(event)),
            (body, event) => {
                self.draft.message(helm_lines::json::string(body).unwrap_or(Cow::Borrowed(body)));
                if !event.is_empty() {
                    self.draft.context.string("event_name", event);
                }
            }
        }
        let empty = !self.draft.said && self.draft.context.is_empty();
        if empty {
            return Err(Refusal::Empty);
        }
        let draft = &mut self.draft;
        draft.record.trace_id = named(&self.trace);
        if let Some(span) = named(&self.span) {
            draft.context.string("span_id", &span);
        }
        if self.attributes > ATTRIBUTES_MAX {
            draft.context.note("helm.attributes", &self.attributes.to_string());
        }
        if !scope.is_empty() {
            draft.context.string("scope", scope);
        }
        draft.record.hostname.clone_from(&shared.hostname);
        if let Some(process) = &shared.process {
            draft.process(&Field::Text(Cow::Borrowed(process)));
        }
        shared.beside("resource", draft);
        draft.service(shared.service().unwrap_or(if whose.is_empty() { UNKNOWN } else { "" }));
        self.draft.finish(whose)
    }

    /// The number says how serious it is; the text does where there is none, and is kept where it says more.
    fn level(&mut self) {
        let known = Level::from_severity(self.number);
        let text = self.text.trim();
        self.draft.record.level = known.map_or(text, |level| level.word()).chars().take(64).collect();
        if !text.is_empty() && known.is_some() && Level::parse(text) != known {
            self.draft.context.string("severity_text", text);
        }
    }
}

/// An id in hexadecimal digits; nothing but zeros is none.
fn named(id: &str) -> Option<String> {
    (!id.bytes().all(|digit| digit == b'0')).then(|| id.chars().take(64).collect::<String>().to_lowercase())
}

/// Takes an attribute of a resource; its value is JSON.
pub(crate) fn resource(shared: &mut Shared, key: &str, raw: &str) {
    let text = || match helm_lines::json::string(raw) {
        Some(text) => text.into_owned(),
        None => raw.to_owned(),
    };
    match key {
        "service.name" => shared.offer_service(0, &text()),
        "host.name" => shared.hostname = Some(text().chars().take(256).collect()),
        "process.pid" => shared.process = Some(text().chars().take(32).collect()),
        // Of every sender the same, and of no use beside an entry.
        "telemetry.sdk.language" | "telemetry.sdk.name" | "telemetry.sdk.version" => {}
        _ => shared.json(key, raw),
    }
}
