//! What HiveMatrix's services send (contract 4): `{"service_name": "core", "logs": [{...}, ...]}`, all five variants.

use helm_core::name::ServiceName;
use helm_lines::json;
use helm_lines::sent::Sent;

use crate::record::{Draft, of_sent};
use crate::{Asked, BodyError, Decoded, ENTRIES_MAX, Record, Refusal};

/// Reads a body.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let (text, invalid_utf8) = crate::text(body);
    let named;
    let text = match json::object(&text) {
        Some(_) => text.as_ref(),
        // Python's json writes NaN and Infinity, which JSON has not.
        None => {
            named = json::with_numbers_named(&text).ok_or_else(|| not_json(&text))?;
            named.as_str()
        }
    };
    let fields = json::object(text).ok_or_else(|| not_json(text))?;
    // Of repeated keys the last one counts.
    let field = |name: &str| fields.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| *raw);
    let logs = field("logs").ok_or(BodyError::MissingLogs)?;
    let (entries, count) = json::array(logs, ENTRIES_MAX).ok_or(BodyError::MissingLogs)?;
    if count > ENTRIES_MAX {
        return Err(BodyError::TooMany(count, ENTRIES_MAX));
    }
    let service = service(field("service_name"), asked)?;
    let mut decoded = Decoded { service, invalid_utf8, ..Decoded::default() };
    for (entry, index) in entries.into_iter().zip(0_u32..) {
        let result = record(entry, &decoded.service);
        decoded.take(index, result);
        decoded.total = index + 1;
    }
    Ok(decoded)
}

/// Whose the batch is. `null` counts as absent.
fn service(raw: Option<&str>, asked: &Asked<'_>) -> Result<String, BodyError> {
    match raw.filter(|raw| *raw != "null") {
        Some(raw) => {
            let name = json::string(raw).ok_or(BodyError::BadService)?;
            ServiceName::new(&name).map(String::from).map_err(|_| BodyError::BadService)
        }
        None => asked.service.map(str::to_owned).ok_or(BodyError::MissingService),
    }
}

fn record(entry: &str, whose: &str) -> Result<Record, Refusal> {
    let sent = Sent::from_json(entry).map_err(|_| Refusal::NoObject)?;
    let mut draft = Draft::default();
    of_sent(&sent, &mut draft);
    draft.finish(whose)
}

/// What is wrong with a text that should be JSON, with line and column.
pub(crate) fn not_json(text: &str) -> BodyError {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Err(error) => BodyError::NotJson(error.to_string()),
        Ok(_) => BodyError::Shape("a JSON object"),
    }
}
