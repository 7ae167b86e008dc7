//! Who is let in, and who is not: tokens, direct requests, other hosts, other sites, local sessions.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::site::Site;
use harness::wait::eventually;
use hyper::Request;
use serde_json::{Value, json};

use super::site;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn user(more: Value) -> Value {
    let mut claims = json!({"sub": "u", "jti": "j", "permission_level": "admin"});
    if let (Some(all), Some(more)) = (claims.as_object_mut(), more.as_object()) {
        all.extend(more.clone());
    }
    claims
}

/// The three parts of a token, the first or second made anew.
fn forged(token: &str, header: Option<&str>, payload: Option<&str>) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    format!("{}.{}.{}", header.unwrap_or(parts[0]), payload.unwrap_or(parts[1]), parts[2])
}

#[test]
fn tokens_that_do_not_count() {
    let site = site();
    let good = site.user("admin");
    // {"alg":"none"}, {"alg":"HS256"}: what the signature is then does not matter.
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap_or_default());
    let confused = forged(&good, Some("eyJhbGciOiJIUzI1NiJ9"), None);
    let altered = forged(
        &good,
        None,
        Some("eyJzdWIiOiJ4IiwianRpIjoiaiIsImV4cCI6OTk5OTk5OTk5OSwiaXNzIjoiaGl2ZW1hdHJpeC1jb3JlIn0"),
    );
    let expired = site.signed(&user(json!({"exp": now() - 1})));
    let foreign = site.signed(&user(json!({"iss": "somebody"})));
    let mut nameless = user(json!({}));
    nameless["jti"] = Value::Null;
    let service = |target: &str| json!({"sub": "service:core", "type": "service", "calling_service": "core", "target_service": target});
    let cases = [
        ("none", none, "another way"),
        ("HS256", confused, "another way"),
        ("altered", altered, "not signed"),
        ("expired", expired, "expired"),
        ("issuer", foreign, "not issued"),
        ("no jti", site.signed(&nameless), "no jti"),
        ("other target", site.signed(&service("ledger")), "for ledger"),
        ("garbage", "a.b.c".to_owned(), "no token"),
        ("oversized", "x".repeat(20_000), "no token"),
        ("empty", String::from(" "), "missing or invalid"),
    ];
    for (name, token, words) in cases {
        let request = Request::get("/api/services/status").header("authorization", format!("Bearer {token}"));
        let detail = site.send(request.body("").unwrap()).problem(401);
        let known = detail.contains(words) || detail.contains("no token as Core");
        assert!(known, "{name}: {detail}");
    }
    site.get("/api/services/status", &good).status(200);
    // A credential that does not count is never treated as none.
    let ingest = Request::post("/api/logs/ingest").header("authorization", "Bearer a.b.c");
    let ingest = ingest.header("content-type", "application/json").body(r#"{"service_name":"a","logs":[]}"#);
    site.send(ingest.unwrap()).status(401);
}

#[test]
fn a_session_that_core_ended_is_over_at_once_for_who_comes_anew() {
    let site = site();
    let token = site.user("admin");
    site.revoke(&token);
    let detail = site.get("/api/services", &token).problem(401);
    assert!(detail.contains("ended"), "{detail}");
}

#[test]
fn the_host_must_be_ours_and_forwarding_takes_rights_away() {
    let site = site();
    let body = r#"{"service_name":"a","logs":[{"message":"x"}]}"#;
    let post = |more: &[(&str, &str)]| {
        let mut request = Request::post("/api/logs/ingest").header("content-type", "application/json");
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        site.send(request.body(body).unwrap())
    };
    for host in ["evil.example", "localhost.evil.example", "localhost:1"] {
        post(&[("host", host)]).problem(421);
    }
    let through: [&[(&str, &str)]; 6] = [
        &[("x-forwarded-for", "10.0.0.1")],
        &[("x-forwarded-prefix", "/helm")],
        &[("x-forwarded-prefix", "//evil.example")],
        &[("via", "1.1 proxy")],
        &[("forwarded", "for=10.0.0.1")],
        &[("x-real-ip", "127.0.0.1")],
    ];
    for headers in through {
        post(headers).problem(401);
        let mut request = Request::get("/prometheus");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        site.send(request.body("").unwrap()).problem(401);
    }
    // X-Script-Name is nothing at all.
    let detail = site.send(Request::get("/x").header("x-script-name", "/evil").body("").unwrap());
    assert_eq!(detail.json()["instance"], "/x");
}

#[test]
fn pages_of_others_change_nothing_whatever_the_credential() {
    let site = site();
    let admin = format!("Bearer {}", site.user("admin"));
    let restart = |more: &[(&str, &str)]| {
        let mut request = Request::post("/api/services/a/restart").header("authorization", &admin);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        site.send(request.body("").unwrap()).status
    };
    let ours = format!("http://{}", site.address());
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", ours.as_str()), ("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(restart(headers), 403, "{headers:?}");
    }
    assert_ne!(restart(&[("origin", &ours), ("sec-fetch-site", "same-origin")]), 403);
}

#[test]
fn a_link_of_the_dashboard_works_once_and_its_session_counts_on_direct_requests_only() {
    let site = site();
    let printed = site.home.ctl(&["dashboard"]).code(0);
    let link = printed.out.lines().find(|line| line.contains("/sign-in?code=")).expect("a link").trim();
    let path = &link[link.find("/sign-in").unwrap()..];
    // What a page loads is no top-level GET.
    let embedded = Request::get(path).header("sec-fetch-dest", "image").body("").unwrap();
    site.send(embedded).problem(403);
    let through = Request::get(path).header("x-forwarded-for", "10.0.0.1").body("").unwrap();
    site.send(through).problem(403);
    // Who only looks whether the link works does not use it up.
    assert_eq!(site.ask("HEAD", path, "", None).status(405).header("allow"), "GET");
    let answer = site.get(path, "").status(200);
    let cookie = answer.header("set-cookie").to_owned();
    for word in ["helm_local=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    site.get(path, "").problem(401);
    let cookie = cookie.split(';').next().unwrap_or_default();
    let me = |more: &[(&str, &str)]| {
        let mut request = Request::get("/api/v1/me").header("cookie", cookie);
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        site.send(request.body("").unwrap())
    };
    let told = me(&[]).status(200).json();
    assert_eq!(told["via"], "session", "{told}");
    me(&[("x-forwarded-for", "10.0.0.1")]).problem(401);
    // Beside an Authorization header it is nothing.
    let technician = format!("Bearer {}", site.user("technician"));
    assert_eq!(me(&[("authorization", &technician)]).json()["role"], "technician");
    let signed_in = |entry: &&Value| entry["what"] == "sign_in" || entry["targets"] == json!(["sign_in"]);
    let trail = eventually("the trail holds it", || {
        let said = site.home.ctl(&["audit", "-n", "100", "--json"]);
        let all: Vec<Value> = said.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let whole = all.iter().filter(signed_in).count() >= 2;
        if whole { Ok(all) } else { Err(said.out) }
    });
    let told: Vec<&Value> = trail.iter().filter(signed_in).map(|entry| &entry["message"]).collect();
    assert_eq!(told.len(), 2, "one for the session, one for the refused second use: {told:?}");
}

#[test]
fn a_session_that_is_over_does_nothing_any_more() {
    let site = site();
    let sign_in = || {
        let printed = site.home.ctl(&["dashboard"]).code(0);
        let link = printed.out.lines().find(|line| line.contains("/sign-in?code=")).expect("a link").trim();
        let answer = site.get(&link[link.find("/sign-in").unwrap()..], "").status(200);
        answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    };
    let asked = |method: &str, path: &str, cookie: &str| {
        site.send(Request::builder().method(method).uri(path).header("cookie", cookie).body("").unwrap())
    };
    let sessions = || site.home.ctl(&["session", "list", "--json"]).code(0).json();
    let cookie = sign_in();
    asked("GET", "/api/v1/me", &cookie).status(200);
    let out = asked("POST", "/sign-out", &cookie).status(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
    assert_eq!(sessions(), json!([]), "helmd has ended it too");
    // The cookie that somebody kept is nothing.
    asked("GET", "/api/v1/me", &cookie).problem(401);
    asked("POST", "/sign-out", &cookie).status(204);
    let other = sign_in();
    asked("POST", "/api/services/a/start", &other).status(200);
    let id = sessions()[0]["id"].as_str().unwrap().to_owned();
    site.home.ctl(&["session", "end", &id]).code(0);
    eventually("the ended session administers no more", || {
        match asked("POST", "/api/services/a/stop", &other).status {
            401 => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

#[test]
fn a_service_token_reads_states_and_nothing_of_how_services_are_defined() {
    let site = site();
    let token = site.service("a");
    for path in ["/api/services/status", "/api/services/a/status", "/api/dashboard/status", "/api/metrics/a"]
    {
        site.get(path, &token).status(200);
    }
    for path in [
        "/api/services",
        "/api/v1/services",
        "/api/v1/services/a",
        "/api/v1/graph",
        "/api/v1/info",
        "/api/v1/jobs",
        "/api/v1/stream",
        "/api/v1/metrics",
        "/api/v1/logs/facets",
        "/settings/ssl-info",
    ] {
        assert_eq!(site.get(path, &token).plain(403), "This endpoint is for users only", "{path}");
    }
}

#[test]
fn strangers_learn_no_path_from_health() {
    let site = site();
    site.home.ctl(&["daemon", "stop"]).code(0);
    let stranger = || {
        let request = Request::get("/health").header("x-forwarded-for", "10.0.0.1").body("").unwrap();
        site.send(request).status(200).json()
    };
    let told = eventually("helm-web has noticed", || {
        let told = stranger();
        if told["checks"]["helmd"]["status"] == "unhealthy" { Ok(told) } else { Err(told.to_string()) }
    });
    let words = told["checks"]["helmd"]["error"].as_str().unwrap();
    assert!(words.contains("helmctl") && !words.contains('/'), "{words}");
    let own = site.get("/health", "").status(200).json();
    let whole = own["checks"]["helmd"]["error"].as_str().unwrap();
    assert!(whole.contains("helmd") && whole != words, "a direct request is told what helm-web met: {whole}");
}

#[test]
fn api_tokens_are_good_for_what_they_were_made_for() {
    let site = site();
    let made = |words: &[&str]| {
        let words = [&["token", "create"], words, &["--json"]].concat();
        site.home.ctl(&words).code(0).json()
    };
    let scrape = made(&["grafana", "--metrics"]);
    let ship = made(&["shipper", "--ingest", "--service", "a"]);
    let look = made(&["CI", "--role", "technician", "--service", "a"]);
    let secret = |token: &Value| token["secret"].as_str().unwrap_or_default().to_owned();
    site.get("/prometheus", &secret(&scrape)).status(200);
    site.get("/api/logs", &secret(&scrape)).status(403);
    let batch = |service: &str| json!({"service_name": service, "logs": [{"message": "x"}]});
    let kept = site.post("/api/logs/ingest", &secret(&ship), &batch("a")).status(200).json();
    assert_eq!(kept["ingested"], 1, "{kept}");
    let others = site.post("/api/logs/ingest", &secret(&ship), &batch("b"));
    assert!(others.status == 403 || others.json()["ingested"] == 0, "{}", others.text());
    site.get("/prometheus", &secret(&ship)).status(403);
    let seen = site.get("/api/services/status", &secret(&look)).status(200).json();
    assert_eq!(
        seen.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["a".to_owned()])
    );
    let id = look["id"].as_str().unwrap_or_default();
    site.home.ctl(&["token", "revoke", id]).code(0);
    site.get("/api/services/status", &secret(&look)).problem(401);
    site.get("/api/services/status", &format!("helm_{}", "0".repeat(64))).problem(401);
}

fn of(site: &Site) -> String {
    site.address().to_string()
}

#[test]
fn who_may_not_use_the_home_is_nobody_here() {
    // As a second user of the host: a direct request of another uid is not direct.
    let site = site();
    let curl = |path: &str, more: &[&str]| {
        let url = format!("http://{}{path}", of(&site));
        let mut words =
            vec!["--reuid", "65534", "--clear-groups", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
        words.extend(more);
        words.push(&url);
        let done = std::process::Command::new("setpriv").args(&words).output().expect("setpriv and curl");
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert_eq!(curl("/health", &[]), "200");
    assert_eq!(curl("/prometheus", &[]), "401");
    assert_eq!(curl("/api/services", &[]), "401");
    let ingest =
        ["-H", "Content-Type: application/json", "-d", r#"{"service_name":"a","logs":[{"message":"x"}]}"#];
    assert_eq!(curl("/api/logs/ingest", &ingest), "401");
    let printed = site.home.ctl(&["dashboard"]).code(0);
    let link =
        printed.out.lines().find(|line| line.contains("/sign-in?code=")).expect("a link").trim().to_owned();
    let path = link[link.find("/sign-in").unwrap()..].to_owned();
    assert_eq!(curl(&path, &[]), "403");
}

#[test]
fn who_guesses_tokens_is_told_to_wait_and_who_has_one_is_let_in_all_the_same() {
    let site = site();
    let admin = site.user("admin");
    let answers: Vec<u16> =
        (0..40).map(|n| site.get("/api/services", &format!("helm_{n:064x}")).status).collect();
    assert_eq!((answers[0], answers[39]), (401, 429), "{answers:?}");
    let slowed = site.get("/api/services", "helm_nobody's");
    assert!(slowed.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    site.get("/api/services", &admin).status(200);
}
