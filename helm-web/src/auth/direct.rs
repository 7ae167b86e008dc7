//! Direct requests: by a program of this host, to this program, with nothing in between (design 6). Forwarding headers never
//! give a right, they only take this one away.

use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, HOST, VIA};

use crate::serve::Client;

/// Headers of those that pass requests on.
const PASSED_ON: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-real-ip"];

/// Whether a proxy, or what looks like one, has had its hands on it.
#[must_use]
pub fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || PASSED_ON.iter().any(|name| headers.contains_key(*name))
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"))
}

/// Whether the host that the request was meant for is this one, by a name of its own and at our port.
#[must_use]
pub fn is_own_host(host: &str, port: u16) -> bool {
    let (name, given) = split(host);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
        && given.map_or(port == 80, |given| given == port.to_string())
}

/// Name and port of a Host header.
fn split(host: &str) -> (&str, Option<&str>) {
    match host.rfind(':') {
        Some(at) if !host.ends_with(']') => (&host[..at], Some(&host[at + 1..])),
        _ => (host, None),
    }
}

/// The port of a Host header, or the default where it names none; `None`: what it names is no port.
#[must_use]
pub fn port_of(host: &str, default: u32) -> Option<u32> {
    match split(host).1 {
        Some(port) => port.parse().ok(),
        None => Some(default),
    }
}

/// Whether a host is one of these names, with the port where one is given there.
#[must_use]
pub fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let host = host.to_ascii_lowercase();
    let (name, _) = split(&host);
    allowed.iter().any(|allowed| *allowed == host || allowed == name)
}

/// The Host header, if there is exactly one that can be read.
#[must_use]
pub fn host(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(HOST).iter();
    let host = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(host)
}

/// Whether a request is direct, where these users (Helm's own, root, `[web] trusted_uids`) are trusted.
#[must_use]
pub fn is_direct(headers: &HeaderMap, client: &Client, own_uid: u32, trusted: &[u32]) -> bool {
    let by_own = client.uid.is_some_and(|uid| uid == own_uid || uid == 0 || trusted.contains(&uid));
    by_own
        && client.far.ip().is_loopback()
        && !is_passed_on(headers)
        && host(headers).is_some_and(|host| is_own_host(host, client.near.port()))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair =
            |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn client(uid: Option<u32>) -> Client {
        Client { far: "127.0.0.1:40000".parse().unwrap(), near: "127.0.0.1:5004".parse().unwrap(), uid }
    }

    #[test]
    fn own_programs_and_those_of_root_are_direct() {
        let headers = headers(&[("host", "localhost:5004")]);
        for (uid, direct) in
            [(Some(1000), true), (Some(0), true), (Some(33), true), (Some(7), false), (None, false)]
        {
            assert_eq!(is_direct(&headers, &client(uid), 1000, &[33]), direct, "{uid:?}");
        }
    }

    #[test]
    fn whatever_passes_requests_on_takes_it_away() {
        let names = [
            "forwarded",
            "via",
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x-real-ip",
            "x-forwarded-anything",
        ];
        for name in names {
            let headers = headers(&[("host", "127.0.0.1:5004"), (name, "")]);
            assert!(!is_direct(&headers, &client(Some(0)), 1000, &[]), "{name}");
        }
    }

    #[test]
    fn only_names_of_this_host_with_our_port_count() {
        for (host, own) in [
            ("localhost:5004", true),
            ("127.0.0.1:5004", true),
            ("[::1]:5004", true),
            ("localhost", false),
            ("localhost:5005", false),
            ("localhost.:5004", false),
            ("127.0.0.1.evil.example:5004", false),
            ("evil.example:5004", false),
            ("[::1]", false),
            ("", false),
            (":5004", false),
        ] {
            assert_eq!(is_own_host(host, 5004), own, "{host}");
        }
        assert!(is_own_host("localhost", 80));
        let two: HeaderMap = headers(&[("host", "localhost:5004"), ("host", "evil.example")]);
        assert!(!is_direct(&two, &client(Some(0)), 0, &[]), "two of them");
    }

    #[test]
    fn allowed_names_hold_with_any_port_unless_one_is_given() {
        let allowed = ["helm.example".to_owned(), "ops.example:8443".to_owned()];
        for (host, may) in [
            ("helm.example", true),
            ("HELM.example:5004", true),
            ("ops.example:8443", true),
            ("ops.example", false),
            ("helm.example.evil.example", false),
        ] {
            assert_eq!(is_allowed(host, &allowed), may, "{host}");
        }
    }
}
