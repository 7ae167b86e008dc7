//! Attacks on helm-web as it is: each has an answer, and docs/attacks.md is the table of them.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use harness::bins::root;
use harness::site::Site;
use hyper::Request;
use serde_json::json;

use super::{once, send, site};

/// Longer than any limit of a head or a body.
const WITHIN: Duration = Duration::from_secs(40);

/// What comes back for these bytes, to the end of the connection.
fn answered(site: &Site, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(site.address()).expect("helm-web listens");
    stream.set_read_timeout(Some(WITHIN)).expect("a socket");
    // It may have heard enough before everything is said, and may end by a reset.
    let _ = stream.write_all(bytes);
    let mut told = Vec::new();
    if let Err(e) = stream.read_to_end(&mut told) {
        assert_eq!(e.kind(), std::io::ErrorKind::ConnectionReset, "{}", String::from_utf8_lossy(&told));
    }
    String::from_utf8_lossy(&told).into_owned()
}

/// The codes of all answers, in order; `closed`: none.
fn codes(told: &str) -> String {
    let codes: Vec<&str> = told.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)).collect();
    if codes.is_empty() { "closed".to_owned() } else { codes.join(", ") }
}

/// Requests that two programs could read as two things. Each is followed by a good one: where its answer (200) comes, the connection
/// went on; an answer to what was hidden would be one more.
fn shapes(site: &Site) -> Vec<(&'static str, String)> {
    let host = site.address();
    let hidden = format!("GET /api/v1/info HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let post = |more: &str, body: &str| {
        format!(
            "POST /api/logs/ingest HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\n{more}\r\n{body}"
        )
    };
    let get = |more: &str| format!("GET /health HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
    let length = hidden.len() + 5;
    vec![
        (
            "Content-Length and Transfer-Encoding",
            post(
                &format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        ("two lengths that differ", post("Content-Length: 0\r\nContent-Length: 5\r\n", "")),
        ("a length that is none", post("Content-Length: +5\r\n", "hello")),
        ("a length beyond all numbers", post("Content-Length: 99999999999999999999999\r\n", "")),
        ("Transfer-Encoding: xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        (
            "Transfer-Encoding: chunked, identity",
            post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ),
        ("a folded header", get("X-Folded: a\r\n b\r\n")),
        ("a space before the colon", get("X-Spaced : a\r\n")),
        ("NUL in a header", get("X-Zero: a\0b\r\n")),
        ("CR alone in a header", get("X-Return: a\rb\r\n")),
        ("no Host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("two Hosts", get("Host: evil.example\r\n")),
        (
            "another host in the target",
            format!("GET http://evil.example/health HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        ),
        ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("HTTP/0.9", "GET /health\r\n\r\n".to_owned()),
        ("TRACE", format!("TRACE /health HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("CONNECT", format!("CONNECT evil.example:443 HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("NUL in the path", format!("GET /api/\0 HTTP/1.1\r\nHost: {host}\r\n\r\n")),
        ("a path of 100,000 bytes", format!("GET /{} HTTP/1.1\r\nHost: {host}\r\n\r\n", "y".repeat(100_000))),
        ("1,000 headers", get(&"X-More: a\r\n".repeat(1000))),
    ]
}

/// Bodies whose rest never comes: the connection ends with the answer.
fn bodies(site: &Site) -> Vec<(&'static str, String)> {
    let head = format!(
        "POST /api/logs/ingest HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nConnection: close\r\n",
        site.address(),
        site.service("a")
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    vec![
        ("a body of 1 GB, announced", format!("{head}Content-Length: 1073741824\r\n\r\n{{")),
        ("a chunk of more bytes than there are numbers for", format!("{chunked}FFFFFFFFFFFFFFFFF\r\n")),
        ("a chunk of -1 bytes", format!("{chunked}-1\r\n")),
        ("a chunk of 0x5 bytes", format!("{chunked}0x5\r\nhello\r\n0\r\n\r\n")),
        ("a body that comes at a byte in ten seconds", format!("{head}Content-Length: 1000\r\n\r\n{{")),
        ("a head that does not end", "GET /health HTTP/1.1\r\nX-Slow: ".to_owned()),
    ]
}

/// What a JSON body or a header can be made of.
fn contents(site: &Site) -> Vec<(&'static str, String)> {
    let token = format!("Bearer {}", site.service("a"));
    let ask = |body: Vec<u8>, more: &[(&str, &str)]| {
        let mut request = Request::post("/api/logs/ingest").header("authorization", &token);
        if !more.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in more {
            request = request.header(*name, *value);
        }
        site.send(request.body(body).unwrap()).status.to_string()
    };
    let deep = format!(r#"{{"service_name":"a","logs":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let bomb = |program: &str| {
        let script = format!("head -c 67108864 /dev/zero | {program}");
        Command::new("sh").args(["-c", &script]).output().expect("a packer").stdout
    };
    let good = br#"{"service_name":"a","logs":[{"message":"good"}]}"#;
    vec![
        ("64 MiB of zeros as gzip", ask(bomb("gzip -9"), &[("content-encoding", "gzip")])),
        ("gzip that is none", ask(b"no".to_vec(), &[("content-encoding", "gzip")])),
        ("zstd that is none", ask(b"no".to_vec(), &[("content-encoding", "zstd")])),
        ("an encoding that nobody knows", ask(good.to_vec(), &[("content-encoding", "br")])),
        ("another content type", ask(good.to_vec(), &[("content-type", "text/html")])),
        ("17 MiB of spaces", ask(vec![b' '; 17 << 20], &[])),
        ("JSON 100,000 deep", ask(deep.into_bytes(), &[])),
        ("no UTF-8", ask(b"\xff\xfe".to_vec(), &[])),
        ("half a document", ask(good[..20].to_vec(), &[])),
        (
            "a sequence beyond all numbers",
            ask(good.to_vec(), &[("x-helm-sender", "s"), ("x-helm-sequence", "99999999999999999999999")]),
        ),
        ("Host: evil.example", ask(good.to_vec(), &[("host", "evil.example")])),
    ]
}

#[test]
fn each_attack_has_the_answer_of_the_documented_table() {
    let site = site();
    send(&site, "a", &json!([{"message": "before"}]));
    let mut table = String::from("| attack | answer |\n| --- | --- |\n");
    let mut row = |what: &str, answer: &str| {
        assert!(!answer.contains("500") && !answer.contains("502"), "{what}: {answer}");
        let _ = writeln!(table, "| {what} | {answer} |");
    };
    for (what, request) in shapes(&site) {
        let good = format!("GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", site.address());
        row(what, &codes(&answered(&site, format!("{request}{good}").as_bytes())));
    }
    let rows: Vec<(&str, String)> = std::thread::scope(|scope| {
        // Those that wait for a limit wait together.
        let asked: Vec<_> = bodies(&site)
            .into_iter()
            .map(|(what, request)| {
                (
                    what,
                    scope.spawn({
                        let site = &site;
                        move || codes(&answered(site, request.as_bytes()))
                    }),
                )
            })
            .collect();
        asked.into_iter().map(|(what, answer)| (what, answer.join().expect("an answer"))).collect()
    });
    for (what, answer) in rows.into_iter().chain(contents(&site)) {
        row(what, &answer);
    }
    site.get("/health", "").status(200);
    compare(&table);
}

#[track_caller]
fn compare(table: &str) {
    let file = root().join("docs/attacks.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once("<!-- attacks -->\n").expect("a place for the table");
    let (written, after) = rest.split_once("<!-- /attacks -->").expect("its end");
    if std::env::var_os("HELM_WRITE_TABLES").is_some() {
        std::fs::write(&file, format!("{before}<!-- attacks -->\n{table}<!-- /attacks -->{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/attacks.md; HELM_WRITE_TABLES=1 writes it anew, to be looked at");
}

#[test]
fn what_a_client_says_of_itself_makes_no_header() {
    let site = site();
    for (name, value) in [
        ("X-Correlation-ID", "a%0d%0aSet-Cookie: evil=1"),
        ("X-Correlation-ID", "a\tSet-Cookie: evil=1"),
        ("X-Forwarded-Prefix", "//evil.example"),
        ("X-Forwarded-Prefix", "/a%0d%0aSet-Cookie: evil=1"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Script-Name", "//evil.example"),
    ] {
        for path in ["/api/services", "/health", "/nowhere%0d%0aSet-Cookie:evil=1"] {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\n{name}: {value}\r\nConnection: close\r\n\r\n",
                site.address()
            );
            let told = answered(&site, request.as_bytes());
            let head = told.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
            assert!(head.starts_with("http/1.1 ") && !head.contains("evil"), "{name}: {value}: {head}");
            assert!(!head.starts_with("http/1.1 5"), "{head}");
        }
    }
}

#[test]
fn one_bad_entry_takes_no_good_one_with_it() {
    let site = site();
    send(&site, "a", &json!([{"message": "before"}]));
    let odd = json!({"service_name": "a", "logs": [
        {"message": "good 1"}, 7, null, {"message": {"deep": []}}, {"level": "loud", "message": "good 2"},
        {"message": "good 3", "timestamp": "99999-99-99"}, {"message": "a\u{0}b"}, {"message": "good 4", "process_id": 1e300},
    ]});
    let told = site.post("/api/logs/ingest", &site.service("a"), &odd).status(200).json();
    assert!(told["ingested"].as_u64().is_some_and(|kept| kept >= 4), "{told}");
    once(&site, "/api/logs?service=a", &site.user("admin"), |found| {
        let text = found.to_string();
        (1..=4).all(|n| text.contains(&format!("good {n}")))
    });
}

#[test]
fn ten_thousand_connections_that_say_nothing_keep_nobody_out() {
    let site = site();
    let token = site.service("a");
    once(&site, "/api/services/status", &token, |_| true);
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=20000:20000"]).status();
    assert!(raised.is_ok_and(|status| status.success()), "prlimit");
    let open: Vec<TcpStream> = (0..10_000)
        .map(|n| TcpStream::connect(site.address()).unwrap_or_else(|e| panic!("{n}: {e}")))
        .collect();
    site.get("/health", "").status(200);
    site.get("/api/services/status", &token).status(200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", site.pid())).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let kib: u64 = most.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(kib < 100 << 10, "{kib} KiB");
    drop(open);
}
