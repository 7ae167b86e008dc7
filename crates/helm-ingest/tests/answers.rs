//! What senders hear, and what `?dry_run=1` tells.

use helm_core::time::Wall;
use helm_ingest::answer::{self, Outcome, Verb};
use helm_ingest::{Asked, Decoded, Door, Format, Record, Rejected, elastic, explain};

fn outcome(rejected: &[(u32, &'static str)]) -> Outcome {
    let rejected: Vec<_> =
        rejected.iter().map(|(index, reason)| Rejected { index: *index, reason: (*reason).into() }).collect();
    Outcome { total: 3, ingested: 3 - rejected.len() as u32, rejected }
}

#[test]
fn otlp_says_nothing_on_success_and_counts_what_was_refused() {
    assert_eq!(answer::otlp(true, &outcome(&[])), b"{}");
    assert_eq!(answer::otlp(false, &outcome(&[])), b"");
    let some = outcome(&[(1, "it is \"odd\"")]);
    let words = "1 of 3 log records were refused; the first is number 1: it is \"odd\"";
    assert_eq!(
        String::from_utf8_lossy(&answer::otlp(true, &some)),
        format!(
            r#"{{"partialSuccess":{{"rejectedLogRecords":"1","errorMessage":"{}"}}}}"#,
            words.replace('"', "\\\"")
        )
    );
    let binary = answer::otlp(false, &some);
    let length = words.len() as u8;
    assert_eq!(binary[..6], [0x0a, length + 4, 0x08, 1, 0x12, length]);
    assert_eq!(&binary[6..], words.as_bytes());
    assert_eq!(answer::otlp_error(true, 503, "no store"), br#"{"code":14,"message":"no store"}"#);
    assert_eq!(answer::otlp_error(false, 400, "x"), [0x08, 3, 0x12, 1, b'x']);
}

#[test]
fn bulk_has_an_item_for_each_document() {
    let verbs = [Verb::Create, Verb::Index, Verb::Delete];
    assert_eq!(
        answer::bulk(&verbs, &outcome(&[(2, "no")])),
        concat!(
            r#"{"took":0,"errors":true,"items":[{"create":{"_index":"helm","status":201,"result":"created"}},"#,
            r#"{"index":{"_index":"helm","status":201,"result":"created"}},{"delete":{"_index":"helm","status":400,"#,
            r#""error":{"type":"illegal_argument_exception","reason":"no"}}}]}"#
        )
    );
    assert_eq!(answer::bulk(&[], &Outcome::default()), r#"{"took":0,"errors":false,"items":[]}"#);
    assert_eq!(
        answer::bulk_error(429, "later"),
        r#"{"error":{"type":"es_rejected_execution_exception","reason":"later"},"status":429}"#
    );
}

#[test]
fn an_answer_names_a_hundred_and_counts_the_rest() {
    let rejected = (0..150).map(|index| Rejected { index, reason: "no".into() }).collect();
    let text = answer::hivematrix(&Outcome { total: 150, ingested: 0, rejected });
    assert!(text.ends_with(r#"{"index":99,"reason":"no"}],"rejected_total":150}"#), "{text}");
}

#[test]
fn shippers_find_what_they_ask_for_before_they_send() {
    for (method, path, part) in [
        ("GET", "/", r#""number":"8.15.0""#),
        ("HEAD", "", "You Know, for Search"),
        ("GET", "/_license", r#""type":"basic""#),
        ("GET", "/_xpack", r#""ilm""#),
        ("GET", "/_cluster/health", r#""status":"green""#),
        ("GET", "/_nodes/http", r#""nodes":{}"#),
        ("GET", "/_index_template/filebeat-8.15.0", "{}"),
        ("HEAD", "/_template/logstash", "{}"),
        ("PUT", "/_ilm/policy/filebeat", "acknowledged"),
        ("PUT", "/_ingest/pipeline/x", "acknowledged"),
        ("GET", "/filebeat/_alias", "{}"),
        ("HEAD", "/filebeat", "{}"),
        ("PUT", "/filebeat", "acknowledged"),
    ] {
        let probe = elastic::probe(method, path).unwrap_or_else(|| panic!("{method} {path}"));
        assert!(probe.status == 200 && probe.body.contains(part), "{method} {path}: {probe:?}");
        assert!(explain_is_json(probe.body), "{method} {path}: {}", probe.body);
    }
    for (method, path) in [
        ("DELETE", "/filebeat"),
        ("GET", "/x/_search"),
        ("POST", "/_search"),
        ("POST", "/"),
        ("GET", "/_tasks"),
    ] {
        assert_eq!(elastic::probe(method, path), None, "{method} {path}");
    }
}

fn explain_is_json(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok()
}

#[test]
fn a_dry_run_tells_what_would_be_kept_and_why_it_was_mended() {
    let asked = Asked { service: None, index: None, arrived: Wall(1_795_424_700_000_000_000) };
    let body = br#"{"service_name":"codex","logs":[{"level":"warn","message":"m","timestamp":1795424640,"user_id":7},
        {"level":"LOUD","message":null,"process_id":5,"hostname":"box"},3]}"#;
    let told = explain(Format::HiveMatrix, &asked, body).expect("told");
    assert_eq!(
        told,
        concat!(
            r#"{"dry_run":true,"format":"HiveMatrix","total":3,"invalid_utf8":false,"entries":[{"index":0,"service":"codex","#,
            r#""timestamp":"2026-11-23T09:04:00Z","level":"WARNING","message":"m","user_id":"7","context":{},"mended":[]},"#,
            r#"{"index":1,"service":"codex","timestamp":null,"level":"INFO","message":"","hostname":"box","process_id":5,"#,
            r#""context":{"helm.level":"LOUD","helm.message":"empty"},"mended":["the message is no text: stored as JSON text","#,
            r#""the level is none of DEBUG, INFO, WARNING, ERROR, CRITICAL: stored as INFO"]}],"#,
            r#""rejected":[{"index":2,"reason":"the entry is no JSON object: send {\"level\": ..., \"message\": ...}"}],"rejected_total":1}"#
        )
    );
    assert!(explain(Format::HiveMatrix, &asked, b"{}").is_err());
}

#[test]
fn records_are_cut_into_what_one_append_takes() {
    let record = |bytes: usize| Record { message: "m".repeat(bytes), ..Record::default() };
    let sizes = |records: Vec<Record>| Decoded::pieces(records).map(|piece| piece.len()).collect::<Vec<_>>();
    assert!(sizes(Vec::new()).is_empty());
    assert_eq!(sizes(vec![record(1); 25_000]), [10_000, 10_000, 5000]);
    assert_eq!(sizes(vec![record(256 << 10); 40]), [16, 16, 8]);
}

#[test]
fn the_content_type_says_how_a_body_is_read() {
    for (door, kind, format) in [
        (Door::HiveMatrix, Some("application/json; charset=utf-8"), Some(Format::HiveMatrix)),
        (Door::HiveMatrix, Some("text/plain"), None),
        (Door::HiveMatrix, None, None),
        (Door::Lines, None, Some(Format::Lines)),
        (Door::Lines, Some("application/x-ndjson"), Some(Format::Lines)),
        (Door::Lines, Some("text/plain"), Some(Format::Lines)),
        (Door::Lines, Some("image/png"), None),
        (Door::Otlp, Some("application/x-protobuf"), Some(Format::OtlpProtobuf)),
        (Door::Otlp, Some("Application/JSON"), Some(Format::OtlpJson)),
        (Door::Otlp, None, None),
        (Door::Loki, Some("application/json"), Some(Format::LokiJson)),
        (Door::Loki, Some("application/x-protobuf"), Some(Format::LokiProtobuf)),
        (Door::Loki, None, Some(Format::LokiProtobuf)),
        (Door::Loki, Some("text/plain"), None),
        (Door::Bulk, Some("application/vnd.elasticsearch+x-ndjson; compatible-with=8"), Some(Format::Bulk)),
        (Door::Bulk, Some("application/json"), Some(Format::Bulk)),
        (Door::Bulk, Some("application/x-protobuf"), None),
    ] {
        assert_eq!(Format::of(door, kind), format, "{door:?} {kind:?}");
    }
}
