//! Entries that others send: what becomes of each kind of mistake.

use helm_core::time::Wall;
use helm_lines::sent::{Field, Reason, Refusal, Sent, SentEntry, Verdict, repair};
use helm_lines::{CONTEXT_MAX, Level, MESSAGE_MAX};
use proptest::prelude::*;

const ARRIVED: Wall = Wall(1_795_424_700_000_000_000);

fn judge(json: &str) -> Verdict {
    Sent::from_json(json).map_or_else(Verdict::Refused, |sent| repair(sent, ARRIVED))
}

#[track_caller]
fn taken(json: &str) -> SentEntry {
    let verdict = judge(json);
    let Verdict::Ok(entry) = verdict else { panic!("{json}: {verdict:?}") };
    entry
}

#[track_caller]
fn repaired(json: &str, reasons: &[Reason]) -> SentEntry {
    let verdict = judge(json);
    let Verdict::Repaired(entry, found) = verdict else { panic!("{json}: {verdict:?}") };
    assert_eq!(found, reasons, "{json}");
    entry
}

#[test]
fn what_the_services_clients_send_is_taken_as_it_is() {
    let entry = taken(
        r#"{"level":"INFO","message":"GET / 200","timestamp":"2026-11-23T09:04:00.424977","context":{"path":"/","n":[1,{"a":2}]},"trace_id":null,"user_id":"u-1"}"#,
    );
    let body = &entry.body;
    assert_eq!(
        (body.level, body.message.as_str(), body.user_id.as_deref()),
        (Level::Info, "GET / 200", Some("u-1"))
    );
    // Naive: UTC.
    assert_eq!(body.source_time, Some(1_795_424_640_424_977_000));
    assert_eq!(body.context_json(), r#"{"path":"/","n":[1,{"a":2}]}"#);
    assert_eq!((entry.hostname, entry.process_id, entry.body.trace_id), (None, None, None));

    let entry = taken(
        r#"{"level":"warn","message":"x","timestamp":"2026-11-23T10:04:00+01:00","context":{},"hostname":"h","process_id":77}"#,
    );
    assert_eq!((entry.body.level, entry.body.source_time), (Level::Warning, Some(1_795_424_640_000_000_000)));
    assert_eq!(
        (entry.hostname.as_deref(), entry.process_id, entry.body.context),
        (Some("h"), Some(77), None)
    );
    assert_eq!(taken(r#"{"level":"ERROR","message":"no more"}"#).body.source_time, None);
    assert_eq!(
        taken(r#"{"level":"ERROR","message":"m","timestamp":1795424640.5}"#).body.source_time,
        Some(1_795_424_640_500_000_000)
    );
    assert_eq!(taken(r#"{"level":"ERROR","message":"m","shop":7}"#).body.context_json(), r#"{"shop":7}"#);
}

#[test]
fn each_mistake_is_repaired_and_nothing_is_lost() {
    let body = repaired(r#"{"level":"LOUD","message":"m"}"#, &[Reason::Level]).body;
    assert_eq!((body.level, body.context_json()), (Level::Info, r#"{"helm.level":"LOUD"}"#));
    assert!(!body.flags.level_given);
    repaired(r#"{"level":null,"message":"m"}"#, &[Reason::Level]);
    assert_eq!(repaired(r#"{"level":"INFO","message":null}"#, &[Reason::Message]).body.message, "");
    assert_eq!(repaired(r#"{"level":"INFO","message":1.50}"#, &[Reason::Message]).body.message, "1.50");
    assert_eq!(
        repaired(r#"{"level":"INFO","message":{"a":1}}"#, &[Reason::Message]).body.message,
        r#"{"a":1}"#
    );
    assert_eq!(
        repaired(r#"{"level":"INFO","message":"a\u0000b"}"#, &[Reason::Nul]).body.message,
        "a\u{2400}b"
    );
    let body =
        repaired(r#"{"level":"INFO","message":"m","timestamp":"yesterday"}"#, &[Reason::Timestamp]).body;
    assert_eq!((body.source_time, body.context_json()), (None, r#"{"helm.timestamp":"yesterday"}"#));
    let body =
        repaired(r#"{"level":"INFO","message":"m","timestamp":"2030-01-01T00:00:00Z"}"#, &[Reason::Future])
            .body;
    assert_eq!(
        (body.source_time, body.context_json()),
        (Some(ARRIVED.0), r#"{"helm.time":"2030-01-01T00:00:00Z"}"#)
    );
    let id = "é".repeat(37);
    let body =
        repaired(&format!(r#"{{"level":"INFO","message":"m","trace_id":"{id}"}}"#), &[Reason::TraceId]).body;
    assert_eq!(body.trace_id.map(|id| id.chars().count()), Some(36));
    assert_eq!(body.context, Some(format!(r#"{{"helm.trace_id":"{id}"}}"#)));
    let user = "u".repeat(101);
    repaired(&format!(r#"{{"level":"INFO","message":"m","user_id":"{user}"}}"#), &[Reason::UserId]);
    assert_eq!(taken(r#"{"level":"INFO","message":"m","user_id":7}"#).body.user_id.as_deref(), Some("7"));
    let body = repaired(r#"{"level":"INFO","message":"m","trace_id":["x"]}"#, &[Reason::NotText]).body;
    assert_eq!((body.trace_id, body.context.as_deref()), (None, Some(r#"{"helm.trace_id":"[\"x\"]"}"#)));
    let host = "h".repeat(256);
    repaired(&format!(r#"{{"level":"INFO","message":"m","hostname":"{host}"}}"#), &[Reason::Hostname]);
    let entry = repaired(r#"{"level":"INFO","message":"m","process_id":4294967296}"#, &[Reason::ProcessId]);
    assert_eq!(entry.body.context_json(), r#"{"helm.process_id":"4294967296"}"#);
    let body = repaired(r#"{"level":"INFO","message":"m","context":[1]}"#, &[Reason::Context]).body;
    assert_eq!(body.context_json(), r#"{"context":[1]}"#);
    let body = repaired(
        r#"{"level":"INFO","message":"m","context":{"a":"\ud800\u0000","b":"\\u0000"}}"#,
        &[Reason::ContextMended],
    )
    .body;
    assert_eq!(body.context_json(), r#"{"a":"\ufffd\u2400","b":"\\u0000"}"#);
}

#[test]
fn what_is_too_much_is_cut_and_says_so() {
    let text = "x".repeat(10_000_000);
    let body = repaired(&format!(r#"{{"level":"INFO","message":"{text}"}}"#), &[Reason::MessageCut]).body;
    assert_eq!((body.message.len(), body.flags.truncated), (MESSAGE_MAX, true));
    assert_eq!(body.context_json(), r#"{"helm.message_bytes":"10000000"}"#);
    let body = repaired(
        &format!(r#"{{"level":"INFO","message":"m","context":{{"a":"{text}","b":1}}}}"#),
        &[Reason::ContextCut],
    )
    .body;
    let context: serde_json::Value = serde_json::from_str(body.context_json()).expect("JSON");
    assert!(body.context_json().len() <= CONTEXT_MAX);
    assert!(context["a"].as_str().is_some_and(|a| !a.is_empty()) && context["b"] == 1);
    let (open, close) = ("{\"a\":".repeat(50), "}".repeat(50));
    let body = repaired(
        &format!(r#"{{"level":"INFO","message":"m","context":{open}1{close}}}"#),
        &[Reason::ContextDeep],
    )
    .body;
    let context: serde_json::Value = serde_json::from_str(body.context_json()).expect("JSON");
    assert_eq!(context["a"].as_str().map(|a| a.matches('{').count()), Some(49));
}

#[test]
fn what_holds_nothing_is_refused_alone() {
    for json in ["null", "7", "\"text\"", "[]", "{", "{\"level\":\"INFO\""] {
        assert_eq!(judge(json), Verdict::Refused(Refusal::NoObject), "{json}");
    }
    assert_eq!(judge(r#"{"level":"INFO"}"#), Verdict::Refused(Refusal::Empty));
    assert_eq!(repaired(r#"{"level":"INFO","context":{"a":1}}"#, &[Reason::Message]).body.message, "");
    assert!(Refusal::NoObject.to_string().contains("{\"level\": ..., \"message\": ...}"));
}

#[test]
fn typed_fields_are_judged_alike() {
    let text = |text: &'static str| Field::Text(text.into());
    let sent =
        Sent { level: text("fatal"), message: text("a\0b"), context: text("no json"), ..Sent::default() };
    let Verdict::Repaired(entry, reasons) = repair(sent, ARRIVED) else { panic!("was not repaired") };
    assert_eq!(reasons, [Reason::Nul, Reason::Context]);
    assert_eq!((entry.body.level, entry.body.message.as_str()), (Level::Critical, "a\u{2400}b"));
    assert_eq!(entry.body.context_json(), r#"{"context":"no json"}"#);
    let sent =
        Sent { level: text("INFO"), message: text("m"), context: text(" {\"a\": 1} "), ..Sent::default() };
    let Verdict::Ok(entry) = repair(sent, ARRIVED) else { panic!("was not taken") };
    assert_eq!(entry.body.context_json(), r#"{"a":1}"#);
}

#[test]
fn every_usual_spelling_of_a_level() {
    let spellings = [
        (Level::Trace, "trace TRC FINEST finer silly t 10"),
        (Level::Debug, "debug DBG FINE verbose D 7 20"),
        (Level::Info, "info Information notice config I 6 5 30 success"),
        (Level::Warning, "warn WARNING wrn W 4 40"),
        (Level::Error, "error err E SEVERE 3 50"),
        (Level::Critical, "critical CRIT fatal F panic alert emerg 0 2 60"),
    ];
    for (level, words) in spellings {
        for word in words.split(' ') {
            assert_eq!(Level::parse(word), Some(level), "{word}");
        }
        assert_eq!(Level::parse(level.word()), Some(level));
        assert_eq!(Level::from_severity(i64::from(level.severity())), Some(level));
    }
    for word in ["", "loud", "NOTSET", "8", "-1", "999999999999999999999", "informational and more"] {
        assert_eq!(Level::parse(word), None, "{word}");
    }
    assert_eq!(Level::Trace.seed(), "DEBUG");
}

proptest! {
    #[test]
    fn any_object_becomes_an_entry_that_can_be_stored(
        level in ".{0,12}", message in ".{0,40}", trace in ".{0,60}", time in ".{0,30}",
        context in prop::collection::vec((".{0,9}", ".{0,20}"), 0..5),
    ) {
        let context: serde_json::Map<String, serde_json::Value> =
            context.into_iter().map(|(key, value)| (key, value.into())).collect();
        let json = serde_json::json!({
            "level": level, "message": message, "trace_id": trace, "timestamp": time, "context": context,
        });
        let (Verdict::Ok(entry) | Verdict::Repaired(entry, _)) = judge(&json.to_string()) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!(entry.body.message, message.replace('\0', "\u{2400}"));
        let kept: serde_json::Value = serde_json::from_str(entry.body.context.as_deref().unwrap_or("{}")).expect("JSON");
        for (key, value) in &context {
            let value = value.as_str().expect("text").replace('\0', "\u{2400}");
            prop_assert_eq!(kept[key.replace('\0', "\u{2400}")].as_str(), Some(value.as_str()));
        }
        prop_assert!(entry.body.trace_id.is_none_or(|id| id.chars().count() <= 36));
    }
}
