//! Elasticsearch's `_bulk`: a line that says what to do, a line with the document, and so on.

use std::borrow::Cow;

use helm_lines::json;

use crate::answer::Verb;
use crate::{Asked, BodyError, Decoded, FOREIGN_MAX, Record, Refusal, lines};

/// Reads a body. `index` counts documents.
pub(crate) fn decode(asked: &Asked<'_>, body: &[u8]) -> Result<Decoded, BodyError> {
    let mut decoded = Decoded { service: asked.service.unwrap_or_default().to_owned(), ..Decoded::default() };
    let mut left =
        body.split(|byte| *byte == b'\n').map(|line| line.trim_ascii()).filter(|line| !line.is_empty());
    // A document may wait for the action that turned out not to be its own.
    let mut next = left.next();
    while let Some(line) = next {
        next = left.next();
        let index = decoded.total;
        decoded.total += 1;
        if decoded.total as usize > FOREIGN_MAX {
            return Err(BodyError::TooMany(decoded.total as usize, FOREIGN_MAX));
        }
        let action = action(line);
        decoded.verbs.push(action.as_ref().map_or(Verb::Index, |(verb, _)| *verb));
        let result = match action {
            None => {
                // Its document comes next, unless that is an action.
                if next.is_some_and(|line| self::action(line).is_none()) {
                    next = left.next();
                }
                Err(Refusal::NoAction)
            }
            Some((Verb::Delete, _)) => Err(Refusal::Verb),
            Some((verb, into)) => {
                let document = next.take();
                next = left.next();
                match (verb, document) {
                    (Verb::Update | Verb::Delete, _) => Err(Refusal::Verb),
                    (Verb::Index | Verb::Create, None) => Err(Refusal::Damaged),
                    (Verb::Index | Verb::Create, Some(document)) => {
                        record(asked, &mut decoded, document, into.as_deref())
                    }
                }
            }
        };
        decoded.take(index, result);
    }
    Ok(decoded)
}

fn record(
    asked: &Asked<'_>,
    decoded: &mut Decoded,
    document: &[u8],
    into: Option<&str>,
) -> Result<Record, Refusal> {
    if document.first() != Some(&b'{') {
        return Err(Refusal::NoObject);
    }
    let body = lines::one(asked, document).ok_or(Refusal::Empty)?;
    decoded.invalid_utf8 |= body.flags.invalid_utf8;
    let index = into.or(asked.index).map(undated);
    lines::draft(body, &decoded.service, index.or(Some(crate::otlp::UNKNOWN))).finish(&decoded.service)
}

/// What a line asks for, and the index that it names: `{"create": {"_index": "logs"}}`.
fn action(line: &[u8]) -> Option<(Verb, Option<String>)> {
    let text = std::str::from_utf8(line).ok()?;
    let object = json::object(text)?;
    let [(verb, raw)] = object.as_slice() else { return None };
    let verb = match &**verb {
        "index" => Verb::Index,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "delete" => Verb::Delete,
        _ => return None,
    };
    let into = json::object(raw)?.into_iter().find(|(key, _)| key == "_index");
    Some((verb, into.and_then(|(_, raw)| json::string(raw)).map(Cow::into_owned)))
}

/// The name of an index without the version and the date that shippers put behind it: `filebeat-8.15.0-2026.11.23`. Every day would
/// be a service of its own.
fn undated(index: &str) -> &str {
    let dated =
        |tail: &str| tail.len() >= 7 && tail.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    match index.char_indices().find(|(at, letter)| *letter == '-' && dated(&index[at + 1..])) {
        Some((at, _)) if at > 0 => &index[..at],
        _ => index,
    }
}
