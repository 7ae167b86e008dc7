//! Whatever a body holds: each decoder ends, every entry has one verdict, and what is passed on keeps its bounds.

use helm_core::name::ServiceName;
use helm_core::time::Wall;
use helm_ingest::unpack::{UNPACKED_MAX, unpack};
use helm_ingest::{Asked, Decoded, Format, decode, explain};
use proptest::collection::vec;
use proptest::prelude::*;

fn asked(service: Option<&str>) -> Asked<'_> {
    Asked { service, index: Some("logs"), arrived: Wall(1_795_424_700_000_000_000) }
}

fn hold(decoded: &Decoded) {
    let mut verdicts: Vec<u32> = decoded.records.iter().map(|record| record.index).collect();
    verdicts.extend(decoded.rejected.iter().map(|rejected| rejected.index));
    assert_eq!(verdicts.len(), decoded.total as usize, "{decoded:?}");
    verdicts.sort_unstable();
    verdicts.dedup();
    assert_eq!(verdicts.len(), decoded.total as usize, "two verdicts for one entry: {decoded:?}");
    assert!(decoded.records.is_sorted_by_key(|record| record.index), "{decoded:?}");
    for record in &decoded.records {
        let service = if record.service.is_empty() { &decoded.service } else { &record.service };
        assert!(ServiceName::new(service).is_ok(), "{record:?}");
        assert!(record.context_json.len() <= 64 << 10 && record.message.len() <= 256 << 10, "{record:?}");
        assert!(
            !record.message.is_empty() || !record.context_json.is_empty(),
            "helmd refuses it: {record:?}"
        );
        if !record.context_json.is_empty() {
            let context: serde_json::Value =
                serde_json::from_str(&record.context_json).unwrap_or_else(|e| panic!("{e}: {record:?}"));
            assert!(context.is_object(), "{record:?}");
        }
    }
}

fn all(body: &[u8]) {
    for format in Format::ALL {
        for service in [None, Some("codex")] {
            if let Ok(decoded) = decode(format, &asked(service), body) {
                hold(&decoded);
                let told =
                    explain(format, &asked(service), body).unwrap_or_else(|e| panic!("{format:?}: {e}"));
                assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok(), "{told}");
            }
        }
    }
}

/// JSON of any shape, with the keys that the decoders look for.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:?}")),
        "[a-z\\\\\"\u{0}-\u{1f}é\u{fffd}]{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
        Just(r#""\ud800\u0000""#.to_owned()),
        Just(r#""2026-11-23T09:04:00""#.to_owned()),
    ];
    let key = prop::sample::select(vec![
        "service_name",
        "service",
        "logs",
        "message",
        "level",
        "timestamp",
        "context",
        "trace_id",
        "user_id",
        "hostname",
        "process_id",
        "resourceLogs",
        "resource",
        "attributes",
        "key",
        "value",
        "scopeLogs",
        "scope",
        "name",
        "logRecords",
        "body",
        "timeUnixNano",
        "severityNumber",
        "stringValue",
        "arrayValue",
        "kvlistValue",
        "values",
        "streams",
        "stream",
        "job",
        "index",
        "create",
        "delete",
        "_index",
        "other",
        "",
    ]);
    scalar.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            vec((key.clone(), inner), 0..6).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Protobuf of any shape, with the field numbers that the decoders look for.
fn protobuf() -> impl Strategy<Value = Vec<u8>> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2, bytes.len() as u8 & 0x7f];
        out.extend_from_slice(&bytes[..bytes.len() & 0x7f]);
        out
    };
    let leaf = prop_oneof![
        vec(any::<u8>(), 0..8),
        (1_u8..13, any::<u8>()).prop_map(|(number, value)| vec![number << 3, value & 0x7f]),
        "[a-z]{0,8}".prop_map(String::into_bytes),
    ];
    leaf.prop_recursive(8, 40, 4, move |inner| {
        vec((1_u8..13, inner), 0..4).prop_map(move |parts| {
            parts.iter().flat_map(|(number, bytes)| field(*number, bytes)).collect::<Vec<u8>>()
        })
    })
}

proptest! {
    #[test]
    fn any_bytes(body in vec(any::<u8>(), 0..400)) {
        all(&body);
    }

    #[test]
    fn any_json(body in json()) {
        all(body.as_bytes());
        all(format!(r#"{{"service_name":"codex","logs":[{body},{{"message":{body}}}]}}"#).as_bytes());
        all(format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{body},"attributes":[{body}]}}]}}]}}]}}"#).as_bytes());
        all(format!(r#"{{"streams":[{{"stream":{body},"values":[["1","x",{body}],{body}]}}]}}"#).as_bytes());
        all(format!("{{\"create\":{{}}}}\n{body}\n{body}\n{body}\n").as_bytes());
    }

    #[test]
    fn any_protobuf(body in protobuf()) {
        all(&body);
        if let Ok(packed) = snap::raw::Encoder::new().compress_vec(&body) {
            all(&packed);
        }
    }

    #[test]
    fn any_bytes_unpacked(body in vec(any::<u8>(), 0..400), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        for encoding in ["gzip", "zstd", "identity", "br"] {
            if let Ok(out) = unpack(Some(encoding), &body) {
                prop_assert!(out.len() <= UNPACKED_MAX);
            }
        }
        // And bytes that nearly are.
        let mut packed = zstd::encode_all(body.as_slice(), 1).expect("encode");
        let at = at.index(packed.len());
        packed[at] = with;
        let _ = unpack(Some("zstd"), &packed);
    }
}
