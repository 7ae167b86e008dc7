//! Access logs: Apache's and nginx's common and combined format, gunicorn's, werkzeug's.

use super::{Format, Head};
use crate::time::{self, Clock};

/// `127.0.0.1 - - [23/Nov/2026 09:04:00] "GET /health HTTP/1.1" 200 -`. The message is the whole line, as the services'
/// clients send it; what it is made of is in the context. A status says nothing about a level.
pub(super) fn read(line: &str, clock: Clock) -> Option<Head> {
    let (remote, rest) = line.split_once(' ')?;
    if remote.is_empty() || !remote.bytes().all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b':') {
        return None;
    }
    let (identity, rest) = rest.split_once(' ')?;
    let (user, rest) = rest.split_once(" [")?;
    if identity.len() > 64 || user.len() > 64 || user.contains(' ') {
        return None;
    }
    let (at, length) = time::access(rest, clock)?;
    let request = rest[length..].strip_prefix("] \"")?;
    // The request may hold quotes: it ends at the last one that a status follows.
    let end =
        request.match_indices("\" ").map(|(at, _)| at).find(|at| status(&request[at + 2..]).is_some())?;
    let mut head = Head::new(Format::Access);
    head.time = Some(at);
    head.context.string("remote", remote);
    let mut words = request[..end].split(' ');
    if let (Some(method), Some(path)) = (words.next(), words.next()) {
        head.context.string("method", method);
        head.context.string("path", path);
    }
    if let Some(status) = status(&request[end + 2..]) {
        head.context.number("status", status);
    }
    if user != "-" {
        head.user = Some(user.to_owned());
    }
    Some(head)
}

fn status(text: &str) -> Option<u16> {
    let digits = text.get(..3)?;
    let ends = text.as_bytes().get(3).is_none_or(|b| *b == b' ');
    digits.parse().ok().filter(|status| ends && (100..600).contains(status))
}
