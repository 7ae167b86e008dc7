//! What probes of health leave in the access logs of services: a line each few seconds that says nothing.

use core::net::IpAddr;

/// Longest line that is looked at.
const LONGEST: usize = 512;

/// Whether a message (without colours) is the access line of a `GET /health` from this host, as werkzeug, gunicorn, nginx and uvicorn write
/// it. What the service answered makes no difference: Helm's own probes tell that.
pub fn is_health_probe(message: &str) -> bool {
    if message.len() > LONGEST
        || !message.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':' || c == '[')
    {
        return false;
    }
    let Some((head, request)) = message.split_once('"') else { return false };
    let Some((remote, between)) = head.split_once(' ') else { return false };
    // `- - [time] ` or, by uvicorn, `- `.
    let formed =
        between == "- " || (between.starts_with("- ") && between.ends_with("] ") && between.contains(" ["));
    formed && is_loopback(remote) && asks_health(request)
}

fn is_loopback(remote: &str) -> bool {
    let whole = remote.parse::<IpAddr>().ok();
    let address = whole.or_else(|| remote.rsplit_once(':')?.0.trim_matches(['[', ']']).parse().ok());
    address.is_some_and(|address| address.to_canonical().is_loopback())
}

/// `GET /health HTTP/1.1" 200 ...`
fn asks_health(request: &str) -> bool {
    let Some(rest) = request.strip_prefix("GET /health") else { return false };
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let Some((query, rest)) = rest.split_once(" HTTP/") else { return false };
    let answered = |rest: &str| {
        rest.split_once("\" ").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    (query.is_empty() || (query.starts_with('?') && !query.contains(['"', ' ', '\n'])))
        && answered(rest)
        && !rest.contains('\n')
}

#[cfg(test)]
mod tests {
    use super::is_health_probe;

    #[test]
    fn access_lines_of_probes_are_told_from_all_others() {
        for probe in [
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1" 503 -"#,
            r#"127.0.0.1 - - [01/Dec/2026:04:05:06 +0000] "GET /health HTTP/1.1" 200 51 "-" "helm/0.1""#,
            r#"127.0.0.1 - admin [01/Dec/2026:04:05:06 +0000] "GET /health/?quiet=1 HTTP/1.0" 200 51"#,
            r#"::1 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1" 200 -"#,
            r#"::ffff:127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1" 200 -"#,
            r#"127.0.0.1:59056 - "GET /health HTTP/1.1" 200 OK"#,
            r#"[::1]:59056 - "GET /health HTTP/1.1" 200 OK"#,
        ] {
            assert!(is_health_probe(probe), "{probe}");
        }
        for other in [
            r#"10.0.0.7 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /healthy HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /health/db HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /api/health HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "POST /health HTTP/1.1" 200 -"#,
            r#"127.0.0.1 - - [01/Dec/2026 04:05:06] "GET /health HTTP/1.1"#,
            r#"127.0.0.1 said "GET /health HTTP/1.1" 200"#,
            "127.0.0.1 - - [01/Dec/2026 04:05:06] \"GET /health HTTP/1.1\" 200 -\nand more",
            r#"the probe GET /health failed"#,
            "127.0.0.1",
            "",
        ] {
            assert!(!is_health_probe(other), "{other}");
        }
    }
}
