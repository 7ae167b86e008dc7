//! Requests that change something must come from our own pages, or from no page at all: whatever the credential, because
//! through Nexus a cookie arrives as a Bearer token (design 6).

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, Method, Uri};

use super::direct::host;

/// Whether a method may change something.
#[must_use]
pub fn is_change(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Why a request is taken for one of another site; `None`: it is not.
#[must_use]
pub fn fault(method: &Method, headers: &HeaderMap, public_url: Option<&str>) -> Option<&'static str> {
    if !is_change(method) {
        return None;
    }
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return Some("a page of another site asked for this change (Sec-Fetch-Site)");
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next()?;
    let is_ours = |origin: &str| {
        effective_origin(headers).is_some_and(|ours| ours == origin)
            || public_url.and_then(origin_of).is_some_and(|ours| ours == origin)
    };
    let ours =
        origins.next().is_none() && origin.to_str().is_ok_and(|origin| is_ours(&origin.to_ascii_lowercase()));
    (!ours).then_some("a page of another site asked for this change (Origin)")
}

/// Whether a page has part in it at all.
#[must_use]
pub fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
}

/// As the browser sees us: by the proxy's word where there is one, else by our own Host.
fn effective_origin(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = text("x-forwarded-proto").unwrap_or("http");
    let host = text("x-forwarded-host").or_else(|| host(headers))?;
    origin_of(&format!("{scheme}://{host}"))
}

/// Scheme, name and port of a URL; the scheme's own port is left out, as browsers do.
fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let name = uri.host()?.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = uri.port_u16().filter(|port| Some(*port) != usual);
    Some(port.map_or_else(|| format!("{scheme}://{name}"), |port| format!("{scheme}://{name}:{port}")))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn fault_of(pairs: &[(&str, &str)]) -> Option<&'static str> {
        let pair =
            |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        let headers: HeaderMap = pairs.iter().map(pair).collect();
        assert_eq!(fault(&Method::GET, &headers, None), None, "nothing is changed by a GET");
        fault(&Method::POST, &headers, Some("https://ops.example/"))
    }

    const HOST: (&str, &str) = ("host", "localhost:5004");
    const THROUGH: [(&str, &str); 3] = [
        ("host", "localhost:5004"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hive.example:443"),
    ];

    #[test]
    fn programs_and_our_own_pages_may() {
        for pairs in [
            vec![HOST],
            vec![HOST, ("sec-fetch-site", "same-origin"), ("origin", "http://localhost:5004")],
            vec![HOST, ("sec-fetch-site", "none")],
            [&THROUGH[..], &[("origin", "https://hive.example")]].concat(),
            vec![HOST, ("origin", "https://ops.example")],
        ] {
            assert_eq!(fault_of(&pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn others_may_not() {
        for pairs in [
            vec![HOST, ("sec-fetch-site", "cross-site")],
            vec![HOST, ("sec-fetch-site", "same-site")],
            vec![HOST, ("origin", "null")],
            vec![HOST, ("origin", "http://localhost:5005")],
            vec![HOST, ("origin", "https://localhost:5004")],
            vec![HOST, ("origin", "http://evil.example")],
            vec![HOST, ("origin", "http://localhost:5004"), ("origin", "http://evil.example")],
            vec![HOST, ("origin", "http://localhost:5004"), ("sec-fetch-site", "cross-site")],
            [&THROUGH[..], &[("origin", "http://localhost:5004")]].concat(),
            [&THROUGH[..], &[("origin", "http://hive.example")]].concat(),
        ] {
            assert!(fault_of(&pairs).is_some(), "{pairs:?}");
        }
    }
}
