//! NDJSON and text.

use helm_core::time::Wall;
use helm_ingest::{Asked, Decoded, Format, decode};

const ASKED: Asked<'_> =
    Asked { service: Some("shop"), index: None, arrived: Wall(1_795_424_700_000_000_000) };

fn read(body: &str) -> Decoded {
    decode(Format::Lines, &ASKED, body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn each_line_is_read_as_captured_output_is() {
    let decoded = read(concat!(
        "{\"level\":\"warn\",\"msg\":\"slow\",\"time\":1795424640125,\"pid\":7,\"hostname\":\"box\",\"ms\":12}\r\n",
        "\n",
        "2026-11-23 09:04:00,250 - app - ERROR - down\n",
        "plain words",
    ));
    assert_eq!((decoded.service.as_str(), decoded.total, decoded.rejected.len()), ("shop", 3, 0));
    let [json, python, plain] = decoded.records.as_slice() else { panic!("{decoded:?}") };
    assert_eq!((json.index, json.level.as_str(), json.message.as_str()), (0, "WARNING", "slow"));
    assert_eq!(json.at_ns, Some(1_795_424_640_125_000_000));
    assert_eq!((json.process_id, json.hostname.as_deref()), (Some(7), Some("box")));
    assert_eq!(json.context_json, r#"{"pid":7,"hostname":"box","ms":12}"#);
    assert_eq!((python.index, python.level.as_str(), python.message.as_str()), (2, "ERROR", "down"));
    assert_eq!(python.at_ns, Some(1_795_424_640_250_000_000));
    assert_eq!(
        (plain.index, plain.level.as_str(), plain.message.as_str(), plain.at_ns),
        (3, "", "plain words", None)
    );
}

#[test]
fn a_stack_trace_is_one_entry() {
    let decoded = read(
        "2026-11-23 09:04:00,250 - app - ERROR - down\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nValueError: x\n2026-11-23 09:04:01,250 - app - INFO - up\n",
    );
    let seen: Vec<_> = decoded.records.iter().map(|r| (r.index, r.message.lines().count())).collect();
    assert_eq!(seen, [(0, 5), (5, 1)]);
}

#[test]
fn whose_a_line_is_it_says_itself_or_the_request_does() {
    let decoded = read(concat!(
        "{\"message\":\"a\",\"service\":\"Shop.Cart\"}\n",
        "{\"message\":\"b\",\"service\":{\"name\":\"till\"}}\n",
        "{\"message\":\"c\"}\n",
    ));
    let whose: Vec<_> = decoded.records.iter().map(|r| r.service.as_str()).collect();
    assert_eq!(whose, ["shop-cart", "till", ""]);
    assert_eq!(decoded.records[0].context_json, r#"{"service":"Shop.Cart","helm.service":"Shop.Cart"}"#);
    let nobody = Asked { service: None, ..ASKED };
    let decoded =
        decode(Format::Lines, &nobody, b"{\"message\":\"a\",\"app\":\"till\"}\nwords\n").expect("read");
    assert_eq!((decoded.records.len(), decoded.rejected.len(), decoded.rejected[0].index), (1, 1, 1));
    assert!(decoded.rejected[0].reason.contains("?service=NAME"), "{:?}", decoded.rejected);
}

#[test]
fn what_is_no_json_and_no_text_is_kept_all_the_same() {
    let decoded = decode(Format::Lines, &ASKED, b"{\"message\":\n\xff\xfe{}\n[1]\n").expect("read");
    assert!(decoded.invalid_utf8);
    let said: Vec<_> = decoded.records.iter().map(|r| r.message.as_str()).collect();
    assert_eq!(said, ["{\"message\":", "\u{fffd}\u{fffd}{}", "[1]"]);
    assert_eq!(read("").total, 0);
    assert_eq!(read("\n \r\n").total, 0);
}
