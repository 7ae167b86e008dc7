//! OTLP, Loki and `_bulk`: bodies as real senders sent them, every kind of value, and every mistake.

use helm_core::time::Wall;
use helm_ingest::answer::Verb;
use helm_ingest::{Asked, BodyError, Decoded, Format, Record, decode};

const ASKED: Asked<'_> = Asked { service: None, index: None, arrived: Wall(1_795_424_700_000_000_000) };

fn read(format: Format, body: &[u8]) -> Decoded {
    decode(format, &ASKED, body).unwrap_or_else(|error| panic!("{format:?}: {error}"))
}

fn refused(format: Format, body: &[u8]) -> BodyError {
    match decode(format, &ASKED, body) {
        Ok(decoded) => panic!("{format:?}: {decoded:?}"),
        Err(error) => error,
    }
}

fn seen(record: &Record) -> (&str, Option<i64>, &str, &str) {
    (&record.service, record.at_ns, &record.level, &record.message)
}

/// A protobuf field of bytes; numbers below 128 only.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

fn fields(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// An OTLP request of these log records, of one resource without attributes.
fn otlp(records: &[Vec<u8>]) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|record| field(2, record)).collect();
    field(1, &field(2, &fields(&records)))
}

fn text(words: &[u8]) -> Vec<u8> {
    field(1, words)
}

fn attribute(key: &str, value: &[u8]) -> Vec<u8> {
    field(6, &fields(&[field(1, key.as_bytes()), field(2, value)]))
}

#[test]
fn the_python_sdk_of_opentelemetry_is_read() {
    let decoded = read(Format::OtlpProtobuf, include_bytes!("bodies/otlp-python-sdk.bin"));
    assert_eq!((decoded.total, decoded.rejected.len(), decoded.invalid_utf8), (3, 0, false));
    let [plain, attributes, broke] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(
        (plain.service.as_str(), plain.level.as_str(), plain.message.as_str()),
        ("shop-checkout", "INFO", "plain words")
    );
    assert!(plain.at_ns.is_some_and(|at| at > 1_796_000_000_000_000_000), "{:?}", plain.at_ns);
    assert_eq!((plain.hostname.as_deref(), plain.process_id), (Some("box"), Some(4711)));
    for part in
        [r#""scope":"shop.till""#, r#""deployment.environment":"test""#, r#""helm.service":"Shop.Checkout""#]
    {
        assert!(plain.context_json.contains(part), "{part}: {}", plain.context_json);
    }
    assert!(!plain.context_json.contains("telemetry.sdk"), "{}", plain.context_json);
    assert_eq!((attributes.level.as_str(), attributes.user_id.as_deref()), ("WARNING", Some("u-1")));
    for part in [r#""order":17"#, r#""ratio":0.5"#, r#""tags":["a","b"]"#, r#""ok":true"#] {
        assert!(attributes.context_json.contains(part), "{part}: {}", attributes.context_json);
    }
    assert_eq!((broke.level.as_str(), broke.message.as_str()), ("ERROR", "it broke"));
    assert!(broke.context_json.contains("ZeroDivisionError: division by zero"), "{}", broke.context_json);
}

#[test]
fn the_specifications_example_is_read() {
    let decoded = read(Format::OtlpJson, include_bytes!("bodies/otlp-spec.json"));
    let [record] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(seen(record), ("my-service", Some(1_544_712_660_300_000_000), "INFO", "Example log record"));
    assert_eq!(record.trace_id.as_deref(), Some("5b8efff798038103d269b633813fc60c"));
    assert_eq!(
        record.context_json,
        concat!(
            r#"{"string.attribute":"some string","boolean.attribute":true,"int.attribute":10,"double.attribute":637.704,"#,
            r#""array.attribute":["many","values"],"map.attribute":{"some.map.key":"some value"},"#,
            r#""span_id":"eee19b7ec3c1b174","scope":"my.library","helm.service":"my.service"}"#
        )
    );
}

#[test]
fn both_encodings_of_otlp_say_the_same() {
    let kv = |key: &str, value: &[u8]| field(1, &fields(&[field(1, key.as_bytes()), field(2, value)]));
    let list = fields(&[field(1, &text(b"x")), field(1, &[0x18, 5]), field(1, b"")]);
    let record = fields(&[
        vec![0x09, 1, 0, 0, 0, 0, 0, 0, 0x10],
        vec![0x10, 21],
        field(3, b"emerg"),
        field(5, &field(6, &fields(&[kv("a", &[0x10, 1]), kv("b", &field(5, &list))]))),
        attribute("bytes", &field(7, b"helm!")),
        attribute("minus", &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        attribute("nan", &[0x21, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f]),
        field(9, &[0; 16]),
        field(10, &[0xab; 8]),
    ]);
    let binary = read(Format::OtlpProtobuf, &otlp(&[record]));
    let json = read(
        Format::OtlpJson,
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1152921504606846977","severityNumber":"SEVERITY_NUMBER_FATAL",
        "severityText":"emerg","body":{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}},{"key":"b","value":{"arrayValue":
        {"values":[{"stringValue":"x"},{"intValue":5},{}]}}}]}},"attributes":[{"key":"bytes","value":{"bytesValue":"aGVsbSE="}},
        {"key":"minus","value":{"intValue":"-1"}},{"key":"nan","value":{"doubleValue":"NaN"}}],"traceId":"00000000000000000000000000000000",
        "spanId":"ABABABABABABABAB"}]}]}]}"#,
    );
    assert_eq!(binary, json);
    let record = &binary.records[0];
    assert_eq!(
        seen(record),
        ("unknown_service", Some(0x1000_0000_0000_0001), "CRITICAL", r#"{"a":true,"b":["x",5,null]}"#)
    );
    assert_eq!(record.trace_id, None);
    assert_eq!(
        record.context_json,
        r#"{"bytes":"aGVsbSE=","minus":-1,"nan":"NaN","span_id":"abababababababab"}"#
    );
}

#[test]
fn a_number_that_is_text_is_one_in_the_context() {
    let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"a","value":{"intValue":"05"}},
        {"key":"b","value":{"intValue":"+7"}},{"key":"c","value":{"intValue":"x"}}]}]}]}]}"#;
    assert_eq!(read(Format::OtlpJson, body).records[0].context_json, r#"{"a":5,"b":7,"c":"x"}"#);
}

#[test]
fn what_otlp_leaves_out_is_made_up_for() {
    let observed = vec![0x59, 1, 0, 0, 0, 0, 0, 0, 0x10];
    let event = fields(&[observed, field(12, b"user.login"), vec![0x10, 18]]);
    let wordy = fields(&[field(3, b"Notice"), field(5, &text(b"m"))]);
    let decoded = read(Format::OtlpProtobuf, &otlp(&[event, wordy, Vec::new()]));
    assert_eq!(
        seen(&decoded.records[0]),
        ("unknown_service", Some(0x1000_0000_0000_0001), "ERROR", "user.login")
    );
    assert_eq!(seen(&decoded.records[1]), ("unknown_service", None, "Notice", "m"));
    assert_eq!((decoded.total, decoded.rejected[0].index), (3, 2));
    for (format, nothing) in [(Format::OtlpProtobuf, "".as_bytes()), (Format::OtlpJson, b"{}")] {
        assert_eq!(read(format, nothing).total, 0, "{format:?}");
    }
}

#[test]
fn a_damaged_log_record_loses_none_of_its_neighbours() {
    let good = field(5, &text(b"good"));
    let bad_text = field(5, &text(b"b\xffd"));
    let decoded = read(Format::OtlpProtobuf, &otlp(&[good.clone(), b"\x2a\x7fx".to_vec(), bad_text, good]));
    let kept: Vec<_> = decoded.records.iter().map(|r| (r.index, r.message.as_str())).collect();
    assert_eq!(kept, [(0, "good"), (2, "b\u{fffd}d"), (3, "good")]);
    assert_eq!((decoded.invalid_utf8, decoded.rejected[0].index), (true, 1));
    let decoded = read(
        Format::OtlpJson,
        br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[7,{"body":{"stringValue":"good"}},{"body":"plain"}]}]}]}"#,
    );
    let kept: Vec<_> = decoded.records.iter().map(|r| (r.index, r.message.as_str())).collect();
    assert_eq!((kept, decoded.rejected.len()), (vec![(1, "good"), (2, "plain")], 1));
    for (format, body) in [
        (Format::OtlpProtobuf, b"\x0a\xff\x01x".as_slice()),
        (Format::OtlpProtobuf, b"{}"),
        (Format::OtlpJson, b"[]"),
        (Format::OtlpJson, br#"{"resourceLogs":7}"#),
        (Format::OtlpJson, br#"{"resourceLogs":["x"]}"#),
        (Format::OtlpJson, b"\x0a\x00"),
    ] {
        assert_eq!(refused(format, body).status(), 400, "{body:?}");
    }
}

#[test]
fn depth_and_numbers_are_bounded() {
    let deep = (0..10_000).fold(text(b"x"), |inner, _| field(5, &field(1, &inner)));
    let many: Vec<_> = (0..3000).map(|n| attribute(&format!("k{n}"), &text(b"v"))).collect();
    let record = fields(&[field(5, &text(b"m")), attribute("deep", &deep), fields(&many)]);
    let resource = field(1, &field(1, &fields(&[field(1, b"big"), field(2, &text(&[b'x'; 5000]))])));
    let body = field(1, &fields(&[field(2, &field(2, &record)), resource]));
    let record = read(Format::OtlpProtobuf, &body).records.remove(0);
    assert!(record.context_json.contains("nested too deeply"));
    assert!(record.context_json.contains(r#""helm.attributes":"3001""#), "{}", record.context_json);
    assert!(record.context_json.contains(r#""helm.cut":"resource""#), "{}", record.context_json);
    // 200,000 empty records in 400 kB.
    let body = field(1, &field(2, &[0x12, 0].repeat(200_000)));
    assert!(matches!(refused(Format::OtlpProtobuf, &body), BodyError::TooMany(_, 100_000)));
    let body =
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}0]}}]}}]}}"#, "0,".repeat(100_000));
    assert!(matches!(refused(Format::OtlpJson, body.as_bytes()), BodyError::TooMany(100_001, 100_000)));
}

#[test]
fn lokis_json_is_read() {
    // As python-logging-loki sends it.
    let decoded = read(Format::LokiJson, include_bytes!("bodies/loki-python.json"));
    let [record] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(seen(record), ("till", Some(1_796_097_893_571_869_696), "ERROR", "it broke"));
    assert_eq!(record.trace_id.as_deref(), Some("abc"));
    assert_eq!(
        record.context_json,
        r#"{"helm.service":"Till","labels":{"application":"Till","severity":"error","logger":"x"}}"#
    );
    let decoded = read(
        Format::LokiJson,
        br#"{"streams":[{"stream":{"job":"b","service_name":"a","level":"warn","host":"box"},"values":[
        ["1795424640125999123","plain",{"traceID":"t","user_id":"u","n":"1"}],
        ["1795424640125999124","{\"level\":\"error\",\"msg\":\"own level\"}"],
        [1795424640125999125,7],["soon","no time"],"odd",["1",""]]}]}"#,
    );
    let first = &decoded.records[0];
    assert_eq!(seen(first), ("a", Some(1_795_424_640_125_999_123), "WARNING", "plain"));
    assert_eq!(
        (first.trace_id.as_deref(), first.user_id.as_deref(), first.hostname.as_deref()),
        (Some("t"), Some("u"), Some("box"))
    );
    assert!(
        first.context_json.starts_with(r#"{"traceID":"t","user_id":"u","n":"1","labels":{"job":"b","#),
        "{}",
        first.context_json
    );
    let said: Vec<_> = decoded
        .records
        .iter()
        .map(|r| (r.index, r.at_ns.is_some(), r.level.as_str(), r.message.as_str()))
        .collect();
    assert_eq!(
        said[1..],
        [
            (1, true, "ERROR", "own level"),
            (2, true, "WARNING", "7"),
            (3, false, "WARNING", "no time"),
            (4, false, "WARNING", "\"odd\""),
            (5, true, "WARNING", "")
        ]
    );
    assert_eq!((decoded.total, decoded.rejected.len()), (6, 0));
    for body in ["[]", "{}", r#"{"streams":7}"#, r#"{"streams":["x"]}"#, "words"] {
        assert_eq!(refused(Format::LokiJson, body.as_bytes()).status(), 400, "{body}");
    }
}

#[test]
fn lokis_protobuf_says_the_same_as_its_json() {
    // seconds 1, nanos 1.
    let stamp = field(1, &[0x08, 1, 0x10, 1]);
    let pair = field(3, &fields(&[field(1, b"n"), field(2, b"1")]));
    let entry = fields(&[stamp, field(2, b"plain"), pair]);
    let stream = fields(&[field(1, br#"{job="b", service_name="a\"q", level = "warn"}"#), field(2, &entry)]);
    let packed = snap::raw::Encoder::new().compress_vec(&field(1, &stream)).expect("compress");
    let binary = read(Format::LokiProtobuf, &packed);
    let json = read(
        Format::LokiJson,
        br#"{"streams":[{"stream":{"job":"b","service_name":"a\"q","level":"warn"},"values":[["1000000001","plain",{"n":"1"}]]}]}"#,
    );
    assert_eq!(binary, json);
    assert_eq!(seen(&binary.records[0]), ("a-q", Some(1_000_000_001), "WARNING", "plain"));
    // Labels that cannot be read lose no line.
    for labels in ["", "{", "{a", "{a=", "{a=\"", "{a=\"\\\"}", "{=\"\"}", "{a=b}", "{a=\"b\" c=\"d\"}"] {
        let stream = fields(&[field(1, labels.as_bytes()), field(2, &entry)]);
        let packed = snap::raw::Encoder::new().compress_vec(&field(1, &stream)).expect("compress");
        assert_eq!(read(Format::LokiProtobuf, &packed).records.len(), 1, "{labels}");
    }
    // A block that claims 4 GiB, and bytes that are none.
    for (body, status) in
        [(b"\xff\xff\xff\xff\x0f\x00".as_slice(), 413), (b"\x7f", 400), (b"", 400), (b"{}", 400)]
    {
        assert_eq!(refused(Format::LokiProtobuf, body).status(), status, "{body:?}");
    }
}

#[test]
fn bulk_of_the_official_client_is_read() {
    let decoded = read(Format::Bulk, include_bytes!("bodies/bulk-elasticsearch-py.ndjson"));
    let [shop, logs] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(seen(shop), ("shop", Some(1_795_424_640_125_000_000), "WARNING", "up"));
    assert_eq!((shop.hostname.as_deref(), shop.process_id), (Some("box"), Some(7)));
    assert_eq!(seen(logs), ("logs", None, "", "é"));
    assert_eq!(decoded.verbs, [Verb::Create, Verb::Index]);
}

#[test]
fn each_document_of_bulk_gets_its_own_verdict() {
    let body = concat!(
        "{\"create\":{\"_index\":\"filebeat-8.15.0-2026.11.23\"}}\n{\"message\":\"a\"}\n\n",
        "{\"delete\":{\"_index\":\"x\",\"_id\":\"1\"}}\n",
        "{\"update\":{\"_index\":\"x\",\"_id\":\"1\"}}\n{\"doc\":{}}\n",
        "no action\n{\"message\":\"its document\"}\n",
        "no action either\n",
        "{\"index\":{}}\n[\"no object\"]\n",
        "{\"index\":{}}\n{\"message\":\"b\"}\r\n",
        "{\"index\":{}}\n",
    );
    let asked = Asked { index: Some("path-2026.11"), ..ASKED };
    let decoded = decode(Format::Bulk, &asked, body.as_bytes()).expect("read");
    let kept: Vec<_> =
        decoded.records.iter().map(|r| (r.index, r.service.as_str(), r.message.as_str())).collect();
    assert_eq!(kept, [(0, "filebeat", "a"), (6, "path", "b")]);
    let rejected: Vec<_> = decoded.rejected.iter().map(|r| r.index).collect();
    assert_eq!(rejected, [1, 2, 3, 4, 5, 7]);
    assert_eq!((decoded.total, decoded.verbs.len()), (8, 8));
    assert_eq!(read(Format::Bulk, b"").total, 0);
}
