//! HiveMatrix's own format (contract 4): every variant, every mistake, and what its senders hear.

use helm_core::time::Wall;
use helm_ingest::{Asked, BodyError, Decoded, ENTRIES_MAX, Format, Record, Rejected, answer, decode};

const ASKED: Asked<'_> = Asked { service: None, index: None, arrived: Wall(1_795_424_700_000_000_000) };

fn read(body: &str) -> Decoded {
    decode(Format::HiveMatrix, &ASKED, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

fn refused(body: &str) -> BodyError {
    match decode(Format::HiveMatrix, &ASKED, body.as_bytes()) {
        Ok(decoded) => panic!("{body}: {decoded:?}"),
        Err(error) => error,
    }
}

/// The only record of a batch of one.
fn one(entry: &str) -> Record {
    let decoded = read(&format!(r#"{{"service_name":"codex","logs":[{entry}]}}"#));
    assert_eq!((decoded.total, decoded.rejected.len()), (1, 0), "{entry}: {:?}", decoded.rejected);
    decoded.records.into_iter().next().unwrap_or_default()
}

#[test]
fn cores_own_logger_is_read() {
    // Captured: `app/helm_logger.py` of hivematrix-core under werkzeug.
    let decoded = read(include_str!("bodies/hivematrix-core.json"));
    assert_eq!((decoded.service.as_str(), decoded.total, decoded.rejected.len()), ("core", 8, 0));
    assert!(decoded.records.iter().all(|record| record.at_ns.is_some() && record.trace_id.is_none()));
    let request = &decoded.records[3];
    assert_eq!((request.message.as_str(), request.user_id.as_deref()), ("in a request", Some("6b1e")));
    assert_eq!(request.context_json, r#"{"n":1,"path":"/x","method":"GET"}"#);
    let lines: Vec<_> = decoded.records.iter().map(|record| record.message.lines().count()).collect();
    assert_eq!(lines, [2, 1, 1, 1, 1, 1, 6, 1]);
}

#[test]
fn what_the_services_own_loggers_send_is_read() {
    // Variants A, B and C: naive UTC, a null trace, ANSI colours of werkzeug, a traceback.
    let decoded = read(concat!(
        r#"{"service_name": "core", "logs": ["#,
        r#"{"timestamp": "2026-11-23T09:04:00.424977", "level": "INFO", "message": "127.0.0.1 - - [23/Nov/2026 09:04:00] \"\u001b[33mGET /x HTTP/1.1\u001b[0m\" 404 -", "context": {}, "trace_id": null, "user_id": null}, "#,
        r#"{"timestamp": "2026-11-23T09:04:00", "level": "ERROR", "message": "boom\nTraceback (most recent call last):\n  File \"a.py\", line 1", "context": {"path": "/x", "method": "GET"}, "trace_id": null, "user_id": "6b1e"}]}"#
    ));
    assert_eq!((decoded.service.as_str(), decoded.total, decoded.invalid_utf8), ("core", 2, false));
    let [first, second] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(
        first,
        &Record {
            index: 0,
            at_ns: Some(1_795_424_640_424_977_000),
            level: "INFO".into(),
            message: "127.0.0.1 - - [23/Nov/2026 09:04:00] \"\u{1b}[33mGET /x HTTP/1.1\u{1b}[0m\" 404 -"
                .into(),
            ..Record::default()
        }
    );
    assert_eq!((second.index, second.at_ns), (1, Some(1_795_424_640_000_000_000)));
    assert_eq!(second.user_id.as_deref(), Some("6b1e"));
    assert_eq!(
        second.context_json,
        r#"{"path": "/x", "method": "GET"}"#.replace(": ", ":").replace(", ", ",")
    );
}

#[test]
fn the_seeds_copied_logger_and_its_curl_example_are_read() {
    // Variant D: an aware time, host and process; levels as Python's logging names them.
    let record = one(
        r#"{"level":"Level 25","message":"m","timestamp":"2026-11-23T10:04:00.5+01:00","hostname":"box","process_id":4711,"context":{"line":3}}"#,
    );
    assert_eq!(record.at_ns, Some(1_795_424_640_500_000_000));
    assert_eq!(
        (record.level.as_str(), record.hostname.as_deref(), record.process_id, record.context_json.as_str()),
        ("Level 25", Some("box"), Some(4711), r#"{"line":3}"#)
    );
    // Variant E.
    let record = one(r#"{"level": "INFO", "message": "Test log"}"#);
    assert_eq!(record, Record { level: "INFO".into(), message: "Test log".into(), ..Record::default() });
}

#[test]
fn a_time_is_what_its_offset_or_its_size_says() {
    for (time, at) in [
        (r#""2026-11-23T09:04:00""#, Some(1_795_424_640_000_000_000)),
        (r#""2026-11-23T09:04:00Z""#, Some(1_795_424_640_000_000_000)),
        (r#""2026-11-23 09:04:00.25 UTC""#, Some(1_795_424_640_250_000_000)),
        (r#""2026-11-23T04:04:00-05:00""#, Some(1_795_424_640_000_000_000)),
        ("1795424640", Some(1_795_424_640_000_000_000)),
        ("1795424640.125", Some(1_795_424_640_125_000_000)),
        ("1795424640125", Some(1_795_424_640_125_000_000)),
        ("1795424640125999", Some(1_795_424_640_125_999_000)),
        (r#""1795424640125999123""#, Some(1_795_424_640_125_999_123)),
        ("null", None),
        (r#""""#, None),
    ] {
        let record = one(&format!(r#"{{"level":"INFO","message":"m","timestamp":{time}}}"#));
        assert_eq!((record.at_ns, record.context_json.as_str()), (at, ""), "{time}");
    }
    for (odd, noted) in [(r#""yesterday""#, "yesterday"), ("12", "12"), ("[1]", "[1]"), ("true", "true")] {
        let record = one(&format!(r#"{{"level":"INFO","message":"m","timestamp":{odd}}}"#));
        assert_eq!(record.at_ns, None, "{odd}");
        assert_eq!(record.context_json, format!(r#"{{"helm.timestamp":"{noted}"}}"#));
    }
}

#[test]
fn each_mistake_is_mended_or_passed_on_to_be_mended() {
    assert_eq!(one(r#"{"level":"INFO","message":1.50}"#).message, "1.50");
    assert_eq!(one(r#"{"level":"INFO","message":{"a":[1]}}"#).message, r#"{"a":[1]}"#);
    // Nothing else in it: helmd must not take it for a mistake.
    for (message, level) in [("null", "null"), (r#""""#, r#""INFO""#)] {
        let record = one(&format!(r#"{{"level":{level},"message":{message}}}"#));
        assert_eq!(
            (record.message.as_str(), record.context_json.as_str()),
            ("", r#"{"helm.message":"empty"}"#)
        );
    }
    assert_eq!(one(r#"{"level":30,"message":"m"}"#).level, "30");
    assert_eq!(one(r#"{"message":"m"}"#).level, "");
    assert_eq!(one(r#"{"message":"a\u0000b\ud800"}"#).message, "a\u{2400}b\u{fffd}");
    let record = one(r#"{"message":"m","trace_id":{"a":1},"user_id":17,"process_id":"x","hostname":[]}"#);
    assert_eq!((record.trace_id, record.user_id.as_deref(), record.process_id), (None, Some("17"), None));
    assert_eq!(
        record.context_json,
        r#"{"helm.trace_id":"{\"a\":1}","helm.hostname":"[]","helm.process_id":"x"}"#
    );
    // Keys that nobody named, and a context that is none.
    assert_eq!(one(r#"{"message":"m","shop":7,"x":null}"#).context_json, r#"{"shop":7,"x":null}"#);
    assert_eq!(one(r#"{"message":"m","context":"why"}"#).context_json, r#"{"context":"why"}"#);
    assert_eq!(one(r#"{"message":"m","context":null}"#).context_json, "");
    // Repeated keys: the last one.
    assert_eq!(one(r#"{"message":"a","level":"INFO","message":"b"}"#).message, "b");
    // What Python's json writes and JSON has not.
    assert_eq!(
        one(r#"{"message":"m","context":{"n":NaN,"i":-Infinity}}"#).context_json,
        r#"{"n":"NaN","i":"-Infinity"}"#
    );
    // helmd's limit, and the true length beside it.
    let long = one(&format!(r#"{{"message":"{}"}}"#, "é".repeat(1 << 20)));
    assert_eq!(
        (long.message.len(), long.context_json.as_str()),
        (256 << 10, r#"{"helm.sent_bytes":"2097152"}"#)
    );
}

#[test]
fn a_bad_entry_loses_none_of_its_neighbours() {
    let decoded = read(
        r#"{"service_name":"codex","logs":[{"message":"a"},null,7,"text",[],{"level":"INFO"},{"message":"b"}]}"#,
    );
    assert_eq!(decoded.total, 7);
    let kept: Vec<_> = decoded.records.iter().map(|r| (r.index, r.message.as_str())).collect();
    assert_eq!(kept, [(0, "a"), (6, "b")]);
    let rejected: Vec<u32> = decoded.rejected.iter().map(|r| r.index).collect();
    assert_eq!(rejected, [1, 2, 3, 4, 5]);
    assert!(decoded.rejected[0].reason.starts_with("the entry is no JSON object"), "{:?}", decoded.rejected);
    assert!(decoded.rejected[4].reason.starts_with("the entry has no message"), "{:?}", decoded.rejected);
}

#[test]
fn the_shape_of_the_body_is_judged_as_the_seed_judges_it() {
    for (body, words, plain) in [
        (r"{}", "Missing logs array", true),
        (r#"{"service_name":"codex"}"#, "Missing logs array", true),
        (r#"{"service_name":"codex","logs":null}"#, "Missing logs array", true),
        (r#"{"service_name":"codex","logs":{"a":1}}"#, "Missing logs array", true),
        (r#"{"logs":[]}"#, "service_name is required", true),
        (r#"{"logs":[],"service_name":null}"#, "service_name is required", true),
        (r#"{"logs":[],"service_name":"Co dex"}"#, "Invalid service_name format", true),
        (r#"{"logs":[],"service_name":7}"#, "Invalid service_name format", true),
        ("[]", "the body is not a JSON object", false),
        ("", "the body is no JSON: EOF while parsing a value at line 1 column 0", false),
        (r#"{"logs":[}"#, "the body is no JSON: expected value at line 1 column 10", false),
    ] {
        let error = refused(body);
        assert_eq!(
            (error.to_string().as_str(), error.plain(), error.status()),
            (words, plain, 400),
            "{body}"
        );
    }
    let decoded = read(r#"{"service_name":"codex","logs":[]}"#);
    assert_eq!((decoded.total, decoded.records.len()), (0, 0));
    // The token says whose it is, and the body only where it says so itself.
    let asked = Asked { service: Some("nexus"), ..ASKED };
    let named = |body: &str| decode(Format::HiveMatrix, &asked, body.as_bytes()).expect(body).service;
    assert_eq!(named(r#"{"logs":[]}"#), "nexus");
    assert_eq!(named(r#"{"logs":[],"service_name":"codex"}"#), "codex");
}

#[test]
fn ten_thousand_entries_are_taken_and_one_more_is_not() {
    let body = |n: usize| {
        let entries = vec![r#"{"message":"m"}"#; n].join(",");
        format!(r#"{{"service_name":"codex","logs":[{entries}]}}"#)
    };
    assert_eq!(read(&body(ENTRIES_MAX)).records.len(), ENTRIES_MAX);
    assert_eq!(refused(&body(ENTRIES_MAX + 1)), BodyError::TooMany(10_001, 10_000));
}

#[test]
fn bytes_that_are_no_text_are_replaced_and_depth_costs_nothing() {
    let body = b"{\"service_name\":\"codex\",\"logs\":[{\"message\":\"a\xff\xfeb\"}]}";
    let decoded = decode(Format::HiveMatrix, &ASKED, body).expect("read");
    assert!(decoded.invalid_utf8);
    assert_eq!(decoded.records[0].message, "a\u{fffd}\u{fffd}b");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let record = one(&format!(r#"{{"message":"m","context":{{"deep":{deep}}}}}"#));
    assert!(record.context_json.len() < 70_000, "{}", record.context_json.len());
    // Half a million fields: those that a context has room for.
    let many: String = (0..500_000).map(|n| format!(r#","k{n}":1"#)).collect();
    assert!(one(&format!(r#"{{"message":"m"{many}}}"#)).context_json.len() < 70_000);
}

#[test]
fn the_answer_has_the_seeds_keys_and_names_what_was_refused() {
    let mut outcome = answer::Outcome { total: 2, ingested: 2, rejected: Vec::new() };
    assert_eq!(
        answer::hivematrix(&outcome),
        r#"{"ingested":2,"message":"Successfully ingested 2 log entries","success":true}"#
    );
    outcome.ingested = 1;
    outcome.rejected.push(Rejected { index: 1, reason: "no \"object\"".into() });
    assert_eq!(
        answer::hivematrix(&outcome),
        r#"{"ingested":1,"message":"Successfully ingested 1 log entries","success":true,"rejected":[{"index":1,"reason":"no \"object\""}]}"#
    );
}
