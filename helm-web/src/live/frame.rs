//! Server-sent events as bytes (HTML standard, 9.2). What is sent is JSON in one line, so no line of it can be taken for a field.

use axum::body::Bytes;

use super::cursor::Cursor;

/// An event of this kind, behind which the stream is there.
#[must_use]
pub fn event(kind: &str, data: &str, at: Option<&Cursor>) -> Bytes {
    debug_assert!(!data.contains(['\n', '\r']), "JSON in one line");
    let id = at.map(|at| format!("id: {at}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {kind}\ndata: {data}\n\n"))
}

/// Several JSON texts as one event: an array of them.
#[must_use]
pub fn events<'a>(kind: &str, data: impl IntoIterator<Item = &'a str>, at: Option<&Cursor>) -> Bytes {
    let mut array = String::from("[");
    for (index, one) in data.into_iter().enumerate() {
        if index > 0 {
            array.push(',');
        }
        array.push_str(one);
    }
    array.push(']');
    event(kind, &array, at)
}

/// A word that nobody has to read: it says that the stream lives.
#[must_use]
pub fn heartbeat() -> Bytes {
    Bytes::from_static(b": \n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_fields_in_lines() {
        let at = Cursor { event: 3, log: "c".into() };
        assert_eq!(event("state", "{}", Some(&at)), "id: 3!c\nevent: state\ndata: {}\n\n");
        assert_eq!(events("logs", ["1", "2"], None), "event: logs\ndata: [1,2]\n\n");
        assert_eq!(events("logs", [], None), "event: logs\ndata: []\n\n");
    }
}
