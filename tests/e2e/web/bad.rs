//! Bad input: each a clear refusal, never a 500, and helm-web goes on.

use harness::site::Site;
use hyper::Request;
use serde_json::json;

use super::site;

/// What no route may answer: it is our fault then.
fn is_ours(status: u16) -> bool {
    (500..600).contains(&status) && status != 503
}

#[test]
fn queries_that_make_no_sense_are_refused() {
    let site = site();
    let admin = site.user("admin");
    for (query, status) in [
        ("limit=ten", 400),
        ("limit=-1", 400),
        ("limit=0", 400),
        ("limit=99999999999999999999999", 400),
        ("offset=-1", 400),
        ("offset=10001", 400),
        ("level=loud", 400),
        ("service=a&service=b", 400),
        ("limit=1&limit=2", 400),
        ("start_time=yesterday", 400),
        ("end_time=1767225600", 400),
        ("start_time=2026-02-01&end_time=2026-01-01", 400),
        ("cursor=../../x", 400),
        ("regex=(", 400),
        ("search=a%00b", 400),
        ("source=moon", 400),
        ("after_id=x", 400),
        ("context.a=1&context.a=2", 400),
        ("search=%ff%fe", 200),
        ("unknown=1&unknown=2", 200),
    ] {
        let answer = harness::wait::eventually("the store is open", || {
            let answer = site.get(&format!("/api/logs?{query}"), &admin);
            if answer.status == 503 { Err(answer.text()) } else { Ok(answer) }
        });
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
    }
    let beyond = site.get("/api/logs?offset=10001", &admin).plain(400);
    assert!(beyond.contains("cursor"), "{beyond}");
    for path in [
        "/api/v1/logs/histogram?step=7",
        "/api/v1/logs/export?format=xml",
        "/api/v1/events?limit=1001",
        "/api/v1/events?after=1&before=2",
        "/api/v1/incidents?limit=0",
        "/api/v1/services/a/output?lines=10001",
        "/api/v1/services/a/output?stream=stdin",
        "/api/v1/metrics/a/x?points=0",
        "/api/v1/config/diff",
        "/api/v1/config/diff?from=x",
        "/api/metrics/a?limit=x",
        "/api/v1/logs/1/context?before=5000000000",
    ] {
        assert_eq!(site.get(path, &admin).status, 400, "{path}");
    }
}

#[test]
fn paths_lead_nowhere_else() {
    let site = site();
    let admin = site.user("admin");
    let long = format!("/api/services/{}/status", "x".repeat(5000));
    for path in [
        "/api/services/%2e%2e%2f%2e%2e%2fetc%2fpasswd/status",
        "/api/services/../../etc/passwd",
        "/api/logs/..",
        "/api/logs/1e3",
        "/api/logs/99999999999999999999",
        "/api/v1/incidents/-1",
        "/api/v1/services/%ff/output",
        "/helm/helm/api/services",
        "//api/services",
        "/api/services/",
        &long,
    ] {
        assert_eq!(site.get(path, &admin).status, 404, "{path}");
    }
    site.get("/api/services/a%00b/status", &admin).problem(400);
    site.get("/helm/api/services", &admin).status(200);
    let endless = format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "y".repeat(100_000), site.address());
    assert!(site.raw(endless.as_bytes()).contains(" 4"), "too long for a head");
}

#[test]
fn methods_types_and_bodies_are_checked() {
    let site = site();
    let admin = site.user("admin");
    for (method, path, allow) in [
        ("DELETE", "/api/logs", "GET,HEAD"),
        ("PUT", "/api/services/a/start", "POST"),
        ("OPTIONS", "/api/v1/metrics", "GET,HEAD,POST"),
    ] {
        let answer = site.ask(method, path, &admin, None);
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        answer.problem(405);
    }
    let send = |site: &Site, media: &str, body: Vec<u8>| {
        let request = Request::post("/api/services/a/start")
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", media);
        site.send(request.body(body).unwrap())
    };
    let deep = format!("{}{}", "[".repeat(100_000 / 4), "]".repeat(100_000 / 4));
    for (media, body, status) in [
        ("text/plain", b"mode=production".to_vec(), 415),
        ("application/json", b"{".to_vec(), 400),
        ("application/json", b"[]".to_vec(), 400),
        ("application/json", b"\xff\xfe".to_vec(), 400),
        ("application/json", br#"{"mode":"production","mode":"development"}"#.to_vec(), 400),
        ("application/json", deep.into_bytes(), 400),
        ("application/json", vec![b' '; 70_000], 413),
    ] {
        let answer = send(&site, media, body);
        assert_eq!(answer.status, status, "{media}: {}", answer.text());
    }
    assert_eq!(site.get("/api/services/a/status", &admin).json()["status"], "stopped");
}

#[test]
fn tokens_that_do_not_count_are_refused_everywhere() {
    let site = site();
    let good = site.user("admin");
    let (head, rest) = good.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    let user = json!({"sub": "u", "jti": "j", "permission_level": "admin"});
    let with = |key: &str, value: serde_json::Value| {
        let mut claims = user.clone();
        claims[key] = value;
        site.signed(&claims)
    };
    let revoked = site.user("admin");
    site.revoke(&revoked);
    for (what, token) in [
        ("none", String::new()),
        ("garbage", "garbage".to_owned()),
        ("the signature of another", format!("{head}.{claims}.AAAA")),
        ("no algorithm", format!("eyJhbGciOiJub25lIn0.{claims}.")),
        ("expired", with("exp", json!(1_700_000_000))),
        ("another issuer", with("iss", json!("somebody"))),
        ("no jti", with("jti", json!(null))),
        ("a session that was ended", revoked),
        ("too long", "x".repeat(9000)),
        ("an API token that there is none of", "helm_nobody".to_owned()),
        (
            "for another service",
            site.signed(&json!({"type": "service", "calling_service": "a", "target_service": "ledger"})),
        ),
    ] {
        for path in ["/api/services", "/api/logs", "/api/v1/info"] {
            assert_eq!(site.get(path, &token).status, 401, "{what}: {path}");
        }
    }
    let detail = site.get("/api/services", "").problem(401);
    assert!(detail.starts_with("401 Unauthorized: Authorization header is missing or invalid."), "{detail}");
}

#[test]
fn no_route_fails_on_anything() {
    let site = site();
    let tokens = [site.user("admin"), site.service("a"), String::new()];
    let document = site.get("/openapi.json", "").status(200).json();
    let odd = ["a%20b", "%F0%9F%92%A5", "0", "-1", "18446744073709551616", "'\"<x>", "%25s"];
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "put", "delete"].contains(&key.as_str()))
        {
            for (token, value) in tokens.iter().flat_map(|token| odd.iter().map(move |value| (token, value)))
            {
                let mut filled = String::new();
                for part in path.split('/').skip(1) {
                    filled.push('/');
                    filled.push_str(if part.starts_with('{') { value } else { part });
                }
                // Streams do not end by themselves.
                if path.ends_with("/stream") {
                    continue;
                }
                let filled = filled.replace(['\'', '"', '<', '>'], "x");
                let answer = site.ask(
                    &method.to_uppercase(),
                    &format!("{filled}?limit={value}").replace(['\'', '"', '<', '>'], "x"),
                    token,
                    None,
                );
                assert!(!is_ours(answer.status), "{method} {filled}: {} {}", answer.status, answer.text());
            }
        }
    }
    site.get("/health", "").status(200);
}
