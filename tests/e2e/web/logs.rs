//! The log over HTTP (contract 5.2): pages, filters, single entries, counts, exports.

use std::collections::BTreeSet;

use harness::site::Site;
use harness::wait::eventually;
use hyper::Request;
use serde_json::{Value, json};

use super::{once, send, site};

/// Five entries of `a` and one of `b`.
fn filled() -> Site {
    let site = site();
    send(
        &site,
        "a",
        &json!([
            {"level": "INFO", "message": "one", "timestamp": "2026-01-01T00:00:01", "context": {"http": {"status": 200}}},
            {"level": "ERROR", "message": "two: it broke", "timestamp": "2026-01-01T00:00:02", "trace_id": "t-1", "user_id": "u-1"},
            {"level": "warning", "message": "three", "timestamp": "2026-01-01T00:00:03", "context": {"http": {"status": 500}}},
            {"level": "DEBUG", "message": "=four", "timestamp": "2026-01-01T00:00:04"},
            {"level": "CRITICAL", "message": "five", "timestamp": "2026-01-01T00:00:05"},
        ]),
    );
    send(&site, "b", &json!([{"level": "INFO", "message": "of b", "timestamp": "2026-01-01T00:00:06"}]));
    site
}

const ALL: &str = "start_time=2026-01-01T00:00:00&end_time=2026-01-01T00:01:00";

fn messages(page: &Value) -> Vec<&str> {
    page["logs"].as_array().unwrap().iter().map(|log| log["message"].as_str().unwrap()).collect()
}

#[test]
fn a_page_has_the_shape_of_the_contract_and_every_filter_filters() {
    let site = filled();
    let admin = site.user("admin");
    let page = site.get(&format!("/api/logs?{ALL}"), &admin).status(200).json();
    assert_eq!((&page["total"], &page["total_exact"]), (&json!(6), &json!(true)));
    assert_eq!((&page["limit"], &page["offset"]), (&json!(100), &json!(0)));
    assert_eq!(messages(&page), ["of b", "five", "=four", "three", "two: it broke", "one"]);
    let entry = &page["logs"][4];
    let keys: BTreeSet<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    for key in [
        "id",
        "timestamp",
        "service_name",
        "level",
        "message",
        "context",
        "trace_id",
        "user_id",
        "hostname",
        "process_id",
    ] {
        assert!(keys.contains(key), "{key}: {entry}");
    }
    assert_eq!(entry["timestamp"], "2026-01-01T00:00:02.000000");
    assert_eq!((&entry["trace_id"], &entry["user_id"]), (&json!("t-1"), &json!("u-1")));
    for (filter, found) in [
        ("service=a&level=ERROR", vec!["two: it broke"]),
        ("service=b,a&min_level=error", vec!["five", "two: it broke"]),
        ("trace_id=t-1", vec!["two: it broke"]),
        ("user=u-1", vec!["two: it broke"]),
        ("user_id=u-1", vec!["two: it broke"]),
        ("search=BROKE", vec!["two: it broke"]),
        ("regex=%5Et.*e%24", vec!["three", "two: it broke"]),
        ("service=a&exclude=o", vec!["five", "three"]),
        ("context.http.status=500", vec!["three"]),
        ("source=captured&service=a", vec![]),
        ("limit=2", vec!["of b", "five"]),
        ("limit=2&offset=4", vec!["two: it broke", "one"]),
        ("limit=2&order=oldest", vec!["one", "two: it broke"]),
        ("service=nobody-has-this-name", vec![]),
    ] {
        let page = site.get(&format!("/api/logs?{ALL}&{filter}"), &admin).status(200).json();
        assert_eq!(messages(&page), found, "{filter}: {page}");
    }
    let uncounted = site.get(&format!("/api/logs?{ALL}&total=false"), &admin).status(200).json();
    assert_eq!((&uncounted["total"], &uncounted["total_exact"]), (&Value::Null, &json!(false)));
}

#[test]
fn cursors_and_ids_go_on_where_a_page_ended() {
    let site = filled();
    let admin = site.user("admin");
    let (mut path, mut seen) = (format!("/api/logs?{ALL}&limit=4"), Vec::new());
    loop {
        let page = site.get(&path, &admin).status(200).json();
        seen.extend(messages(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["cursor"].as_str() else { break };
        path = format!("/api/logs?{ALL}&limit=4&cursor={cursor}");
    }
    assert_eq!(seen, ["of b", "five", "=four", "three", "two: it broke", "one"]);
    let page = site.get(&format!("/api/logs?{ALL}&search=four"), &admin).json();
    let id = page["logs"][0]["id"].as_i64().unwrap();
    let later = site.get(&format!("/api/logs?{ALL}&after_id={id}"), &admin).status(200).json();
    assert_eq!(messages(&later), ["five", "of b"], "oldest first");
    assert!(site.get("/api/logs?after_id=7", &admin).plain(404).contains('7'));
    let one = site.get(&format!("/api/logs/{id}"), &admin).status(200).json();
    assert_eq!(one, page["logs"][0]);
    assert_eq!(site.get("/api/logs/7", &admin).plain(404), "Log entry not found");
    let around = site.get(&format!("/api/v1/logs/{id}/context?before=1&after=1"), &admin).status(200).json();
    assert_eq!(messages(&around), ["three", "=four", "five"]);
}

#[test]
fn counts_are_by_step_service_and_level() {
    let site = filled();
    let admin = site.user("admin");
    let histogram = site.get(&format!("/api/v1/logs/histogram?{ALL}&step=60"), &admin).status(200).json();
    assert_eq!(histogram["exact"], true);
    let bucket = &histogram["buckets"][0];
    let counts: Vec<u64> = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
        .iter()
        .map(|level| bucket[level].as_u64().unwrap())
        .collect();
    assert_eq!((counts, &bucket["start_time"]), (vec![1, 2, 1, 1, 1], &json!("2026-01-01T00:00:00.000000")));
    let facets = site.get(&format!("/api/v1/logs/facets?{ALL}"), &admin).status(200).json();
    let of_b = facets["services"].as_array().unwrap().iter().find(|one| one["service_name"] == "b").unwrap();
    assert_eq!((&of_b["INFO"], &of_b["ERROR"]), (&json!(1), &json!(0)));
}

#[test]
fn exports_are_whole_and_come_in_pieces_through_nexus() {
    let site = filled();
    let admin = site.user("admin");
    let path = |more: &str| format!("/api/v1/logs/export?{ALL}{more}");
    let ndjson = site.get(&path(""), &admin).status(200);
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    assert!(ndjson.header("content-disposition").contains("helm-logs.ndjson"));
    let all: Vec<Value> = ndjson.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&str> = all.iter().map(|log| log["message"].as_str().unwrap()).collect();
    assert_eq!(told, ["one", "two: it broke", "three", "=four", "five", "of b"]);
    let csv = site.get(&path("&format=csv"), &admin).status(200).text();
    assert!(csv.starts_with("id,at,") && csv.contains(",'=four,"), "{csv}");
    assert_eq!(csv.lines().count(), 7);
    // As a file, which nobody on the way unpacks.
    let packed = site.get(&path("&format=csv.gz"), &admin).status(200);
    assert_eq!((packed.header("content-type"), packed.header("content-encoding")), ("application/gzip", ""));
    assert!(packed.header("content-disposition").contains("helm-logs.csv.gz"));
    assert_eq!(unpacked(&packed.body), csv);
    site.get(&path("&format=zip"), &admin).plain(400);
    let text = site.get(&path("&format=text&service=b"), &admin).status(200).text();
    assert_eq!(text, "2026-01-01T00:00:06.000000000Z INFO     b of b\n");
    let (mut cursor, mut pieces) = (String::new(), Vec::new());
    loop {
        let request = Request::get(path(&format!("&format=csv&limit=4{cursor}")))
            .header("authorization", format!("Bearer {admin}"))
            .header("x-forwarded-prefix", "/helm")
            .body("")
            .unwrap();
        let piece = site.send(request).status(200);
        pieces.push(piece.text());
        match piece.header("x-helm-cursor") {
            "" => break,
            next => cursor = format!("&cursor={next}"),
        }
    }
    assert_eq!((pieces.len(), pieces.concat()), (2, csv), "the head once, and each entry once");
}

#[test]
fn who_may_see_some_services_sees_nothing_of_others() {
    let site = filled();
    let billing = site.user("billing");
    let page = once(&site, &format!("/api/logs?{ALL}"), &billing, |page| page["total"] == 5);
    assert!(messages(&page).iter().all(|message| *message != "of b"), "{page}");
    site.get(&format!("/api/logs?{ALL}&service=b"), &billing).problem(403);
    let export = site.get(&format!("/api/v1/logs/export?{ALL}"), &billing).status(200);
    assert_eq!(export.text().lines().count(), 5);
    let admin = site.user("admin");
    let of_b = site.get(&format!("/api/logs?{ALL}&service=b"), &admin).json()["logs"][0]["id"].clone();
    site.get(&format!("/api/logs/{of_b}"), &billing).plain(404);
    site.get(&format!("/api/logs?after_id={of_b}"), &billing).plain(404);
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    let read = std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(bytes), &mut text);
    read.unwrap_or_else(|e| panic!("no gzip: {e}"));
    text
}

#[test]
fn an_export_breaks_off_when_its_session_ends() {
    use std::io::{Read, Write};

    let site = filled();
    let admin = site.user("admin");
    // More than what fits between helm-web and a reader that takes nothing.
    let long = "x".repeat(60_000);
    for _ in 0..3 {
        let entries: Value = (0..200).map(|_| json!({"message": long})).collect();
        super::send(&site, "a", &entries);
    }
    let mut reader = std::net::TcpStream::connect(site.address()).unwrap();
    let head = format!(
        "GET /api/v1/logs/export HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {admin}\r\n\r\n",
        site.address()
    );
    reader.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    reader.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    site.revoke(&admin);
    eventually("the log tells why", || {
        let said = site.home.read("web.err");
        if said.contains("breaks off") && said.contains("was ended") { Ok(()) } else { Err(said) }
    });
    // What was on its way comes; the last chunk, which would say that it is whole, does not.
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole");
}
