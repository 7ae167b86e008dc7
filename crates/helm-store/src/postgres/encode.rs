//! Entries in PostgreSQL's binary COPY format.
//!
//! Header, then per row a count of fields (i16) and per field a length (i32, -1 for NULL) and its bytes, big-endian; then -1.

use std::collections::HashMap;

use crate::entry::Entry;

/// Columns in the order that [`rows`] writes them.
pub(super) const COLUMNS: &str = "id, at, seen, digest, service, flags, process_id, level, source, stream, message, plain, context, trace_id, user_id, hostname";
const FIELDS: i16 = 16;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// All of `entries`, ready to be sent. `services` must know every name: `Err` is the first that it does not.
pub(super) fn rows(entries: &[Entry], services: &HashMap<String, i32>) -> Result<Vec<u8>, String> {
    let texts: usize = entries.iter().map(|entry| entry.body.weight()).sum();
    let mut out = Vec::with_capacity(HEADER.len() + 2 + texts);
    out.extend_from_slice(HEADER);
    for entry in entries {
        let body = &entry.body;
        let service = services.get(&body.service).ok_or_else(|| body.service.clone())?;
        out.extend_from_slice(&FIELDS.to_be_bytes());
        for long in [entry.id.0, body.at, body.seen, entry.digest] {
            field(&mut out, &long.to_be_bytes());
        }
        field(&mut out, &service.to_be_bytes());
        field(&mut out, &body.flags.to_be_bytes());
        optional(&mut out, body.process.map(i32::to_be_bytes).as_ref().map(|bytes| bytes.as_slice()));
        for small in [body.level.number(), body.source as u8, body.stream] {
            field(&mut out, &i16::from(small).to_be_bytes());
        }
        field(&mut out, body.message.as_bytes());
        for text in [&body.plain, &body.context, &body.trace, &body.user, &body.hostname] {
            optional(&mut out, text.as_ref().map(|text| text.as_bytes()));
        }
    }
    out.extend_from_slice(&(-1i16).to_be_bytes());
    Ok(out)
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // The server refuses fields of 1 GiB; entries are cut long before.
    out.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => field(out, bytes),
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tests::sample;
    use crate::id::EntryId;

    #[test]
    fn a_row_is_written_as_the_manual_says() {
        let entry = Entry { id: EntryId(258), digest: -1, body: sample("hi") };
        let services = HashMap::from([("core".to_owned(), 5)]);
        let bytes = rows(std::slice::from_ref(&entry), &services).unwrap();
        assert_eq!(&bytes[..11], b"PGCOPY\n\xff\r\n\0");
        assert_eq!(&bytes[11..19], [0; 8]);
        assert_eq!(&bytes[19..33], [0, 16, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2]);
        // id, at, seen, digest are 12 bytes each with their lengths.
        let service = 21 + 4 * 12;
        assert_eq!(&bytes[service..service + 8], [0, 0, 0, 4, 0, 0, 0, 5]);
        assert_eq!(&bytes[service + 16..service + 24], [0, 0, 0, 4, 0, 0, 0, 7]);
        assert_eq!(&bytes[service + 24..service + 30], [0, 0, 0, 2, 0, 13]);
        let message = service + 24 + 18;
        assert_eq!(&bytes[message..message + 6], [0, 0, 0, 2, b'h', b'i']);
        assert_eq!(&bytes[message + 6..message + 10], [255; 4], "no plain text: NULL");
        assert_eq!(&bytes[bytes.len() - 2..], [255, 255]);
    }

    #[test]
    fn an_unknown_service_is_named() {
        let entry = Entry { id: EntryId(1), digest: 0, body: sample("x") };
        assert_eq!(rows(&[entry], &HashMap::new()), Err("core".to_owned()));
    }
}
