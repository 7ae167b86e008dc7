//! Lines as real programs write them, and how each is read.

use helm_core::time::Wall;
use helm_lines::{Explanation, Format, Rule, explain, explain_lines};

/// 2026-11-23T09:05:00Z, when all these lines are captured.
const CAPTURED: i64 = 1_795_424_700_000_000_000;
/// The host's zone: one hour east of UTC.
const OFFSET: i32 = 3600;

fn read_by(rule: &Rule, line: &str) -> Explanation {
    let mut all = explain_lines(rule, OFFSET, [line.as_bytes()], Wall(CAPTURED));
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

fn read(line: &str) -> Explanation {
    read_by(&Rule::Auto, line)
}

/// `-` stands for: there is none.
#[track_caller]
fn check_by(rule: &Rule, line: &str, format: Format, level: &str, time: &str, message: &str, context: &str) {
    let found = read_by(rule, line);
    let body = &found.entry.body;
    let of =
        |name: &str| found.fields().into_iter().find(|(n, _)| *n == name).map_or("-".to_owned(), |(_, v)| v);
    let found_level = if body.flags.level_given { body.level.word() } else { "-" };
    assert_eq!(
        (found.entry.format, found_level, of("time").as_str(), body.message.as_str()),
        (format, level, time, message),
        "{line}"
    );
    assert_eq!(body.context.as_deref().unwrap_or("-"), context, "{line}");
}

#[track_caller]
fn check(line: &str, format: Format, level: &str, time: &str, message: &str, context: &str) {
    check_by(&Rule::Auto, line, format, level, time, message, context);
}

#[test]
fn the_services_own_json_lines() {
    let line = r#"{"timestamp": "2026-11-23T09:04:00.424977Z", "level": "ERROR", "logger": "app", "message": "no ledger", "module": "routes", "function": "show", "line": 12, "correlation_id": "c-1", "user_id": "u-7", "username": "ada", "exception": "Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'"}"#;
    let context = r#"{"logger":"app","module":"routes","function":"show","line":12,"username":"ada","exception":"Traceback (most recent call last):\n  File \"a.py\", line 1\nKeyError: 'x'"}"#;
    check(line, Format::Json, "ERROR", "2026-11-23T09:04:00.424977Z", "no ledger", context);
    let body = read(line).entry.body;
    assert_eq!((body.trace_id.as_deref(), body.user_id.as_deref()), (Some("c-1"), Some("u-7")));
}

#[test]
fn naive_times_are_utc_in_json_and_local_in_text() {
    check(r#"{"time":"2026-11-23T09:04:00","msg":"x"}"#, Format::Json, "-", "2026-11-23T09:04:00Z", "x", "-");
    check(
        "2026-11-23 10:04:00,5 - app - INFO - x",
        Format::Stamped,
        "INFO",
        "2026-11-23T09:04:00.5Z",
        "x",
        r#"{"logger":"app"}"#,
    );
    check("2026-11-23T10:04:00+02:00 INFO x", Format::Stamped, "INFO", "2026-11-23T08:04:00Z", "x", "-");
}

#[test]
fn json_of_other_loggers() {
    let utc = "2026-11-23T09:04:00.424Z";
    // pino, bunyan
    check(
        r#"{"level":50,"time":1795424640424,"pid":1,"hostname":"h","reqId":"r-1","msg":"boom"}"#,
        Format::Json,
        "ERROR",
        utc,
        "boom",
        r#"{"pid":1,"hostname":"h"}"#,
    );
    check(
        r#"{"name":"app","level":30,"msg":"hi","time":"2026-11-23T09:04:00.424Z","v":0}"#,
        Format::Json,
        "INFO",
        utc,
        "hi",
        r#"{"name":"app","v":0}"#,
    );
    // zap, zerolog
    check(
        r#"{"level":"dpanic","ts":1795424640.424,"caller":"a.go:1","msg":"m"}"#,
        Format::Json,
        "CRITICAL",
        utc,
        "m",
        r#"{"caller":"a.go:1"}"#,
    );
    check(
        r#"{"level":"warn","time":1795424640,"message":"m"}"#,
        Format::Json,
        "WARNING",
        "2026-11-23T09:04:00Z",
        "m",
        "-",
    );
    // tracing-subscriber
    check(
        r#"{"timestamp":"2026-11-23T09:04:00.424000Z","level":"WARN","fields":{"message":"slow","ms":12},"target":"helmd::store"}"#,
        Format::Json,
        "WARNING",
        utc,
        "slow",
        r#"{"fields":{"ms":12},"target":"helmd::store"}"#,
    );
    // Quarkus, with a trace id in its diagnostic context
    let quarkus = r#"{"timestamp":"2026-11-23T10:04:00.424+01:00","sequence":7,"loggerName":"org.acme","level":"FINE","message":"m","mdc":{"traceId":"t-1"}}"#;
    check(
        quarkus,
        Format::Json,
        "DEBUG",
        utc,
        "m",
        r#"{"sequence":7,"loggerName":"org.acme","mdc":{"traceId":"t-1"}}"#,
    );
    assert_eq!(read(quarkus).entry.body.trace_id.as_deref(), Some("t-1"));
    // Elastic Common Schema, flat and nested
    check(
        r#"{"@timestamp":"2026-11-23T09:04:00.424Z","log.level":"ERROR","message":"m","trace.id":"t"}"#,
        Format::Json,
        "ERROR",
        utc,
        "m",
        "-",
    );
    check(
        r#"{"@timestamp":"2026-11-23T09:04:00.424Z","log":{"level":"error"},"message":"m"}"#,
        Format::Json,
        "ERROR",
        utc,
        "m",
        r#"{"log":{"level":"error"}}"#,
    );
    // docker's envelope around another format
    check(
        r#"{"log":"WARN  [io.quarkus] (main) late\n","stream":"stdout","time":"2026-11-23T09:04:00.424Z"}"#,
        Format::Json,
        "WARNING",
        utc,
        "late",
        r#"{"logger":"io.quarkus","thread":"main","stream":"stdout"}"#,
    );
    // structlog; Python's levelno is not pino's level
    check(
        r#"{"event":"login","level":"info","timestamp":"2026-11-23T09:04:00.424Z","n":1}"#,
        Format::Json,
        "INFO",
        utc,
        "login",
        r#"{"n":1}"#,
    );
    check(r#"{"message":"m","levelno":30}"#, Format::Json, "WARNING", "-", "m", "-");
    // GELF
    check(
        r#"{"short_message":"m","level":3,"timestamp":1795424640.424}"#,
        Format::Json,
        "ERROR",
        utc,
        "m",
        "-",
    );
}

#[test]
fn json_that_tells_little_or_lies() {
    check(r#"{"a":1}"#, Format::Json, "-", "-", r#"{"a":1}"#, r#"{"a":1}"#);
    check(
        r#"{"level":"loud","msg":"m","time":"soon"}"#,
        Format::Json,
        "-",
        "-",
        "m",
        r#"{"level":"loud","time":"soon"}"#,
    );
    check(r#"{"msg":17,"trace_id":null}"#, Format::Json, "-", "-", "17", "-");
    check(r#"{"msg":"cut of"#, Format::Plain, "-", "-", r#"{"msg":"cut of"#, "-");
    check(
        r#"{"msg":"a\u0000b","x":"\u0000\ud800","big":1e999}"#,
        Format::Json,
        "-",
        "-",
        "a\u{2400}b",
        r#"{"x":"\u2400\ufffd","big":"1e999"}"#,
    );
    // Python's json writes what JSON has not.
    check(
        r#"{"level":"ERROR","message":"NaN!","ms":NaN,"x":[-Infinity]}"#,
        Format::Json,
        "ERROR",
        "-",
        "NaN!",
        r#"{"ms":"NaN","x":["-Infinity"]}"#,
    );
    check(r#"{"message":"m" NaN}"#, Format::Plain, "-", "-", r#"{"message":"m" NaN}"#, "-");
    check(r#"[1,2]"#, Format::Plain, "-", "-", "[1,2]", "-");
}

#[test]
fn logfmt() {
    check(
        r#"time="2026-11-23T09:04:00Z" level=warning msg="it \"is\"\nlate" port=5004"#,
        Format::Logfmt,
        "WARNING",
        "2026-11-23T09:04:00Z",
        "it \"is\"\nlate",
        r#"{"port":"5004"}"#,
    );
    check(
        "ts=1795424640.5 lvl=eror msg=x trace_id=t",
        Format::Logfmt,
        "ERROR",
        "2026-11-23T09:04:00.5Z",
        "x",
        "-",
    );
    check("a=1 b=2", Format::Plain, "-", "-", "a=1 b=2", "-");
    check(
        "x=1 means that level=error was set",
        Format::Plain,
        "-",
        "-",
        "x=1 means that level=error was set",
        "-",
    );
    check_by(&Rule::Logfmt, "a=1 fast", Format::Logfmt, "-", "-", "a=1 fast", r#"{"a":"1","fast":true}"#);
}

#[test]
fn python() {
    let at = "2026-11-23T08:04:00.424Z";
    check(
        "2026-11-23 09:04:00,424 - app.views - WARNING - disk - nearly full",
        Format::Stamped,
        "WARNING",
        at,
        "disk - nearly full",
        r#"{"logger":"app.views"}"#,
    );
    check("2026-11-23 09:04:00,424 - CRITICAL - x", Format::Stamped, "CRITICAL", at, "x", "-");
    check(
        "2026-11-23 09:04:00,424 app.views ERROR x",
        Format::Stamped,
        "ERROR",
        at,
        "x",
        r#"{"logger":"app.views"}"#,
    );
    check("2026-11-23 09:04:00,424 INFO app: x", Format::Stamped, "INFO", at, "app: x", "-");
    check("2026-11-23 09:04:00,424:DEBUG:app:x", Format::Stamped, "DEBUG", at, "x", r#"{"logger":"app"}"#);
    check(
        "ERROR:app.views:no such user",
        Format::Leveled,
        "ERROR",
        "-",
        "no such user",
        r#"{"logger":"app.views"}"#,
    );
    check("WARNING:root:x: y", Format::Leveled, "WARNING", "-", "x: y", r#"{"logger":"root"}"#);
    check(
        "[2026-11-23 09:04:00 +0100] [4711] [INFO] Listening at: http://127.0.0.1:5000 (4711)",
        Format::Stamped,
        "INFO",
        "2026-11-23T08:04:00Z",
        "Listening at: http://127.0.0.1:5000 (4711)",
        r#"{"process":"4711"}"#,
    );
    check(
        "[2026-11-23 09:04:00,424] ERROR in app: Exception on /x [GET]",
        Format::Stamped,
        "ERROR",
        at,
        "Exception on /x [GET]",
        r#"{"logger":"app"}"#,
    );
    check(
        "2026-11-23 09:04:00.424 | SUCCESS  | app.main:run:12 - done | now",
        Format::Stamped,
        "INFO",
        at,
        "done | now",
        r#"{"logger":"app.main:run:12"}"#,
    );
    check(
        "INFO:     127.0.0.1:50212 - \"GET / HTTP/1.1\" 200 OK",
        Format::Leveled,
        "INFO",
        "-",
        "127.0.0.1:50212 - \"GET / HTTP/1.1\" 200 OK",
        "-",
    );
}

#[test]
fn access_logs() {
    let werkzeug = "127.0.0.1 - - [23/Nov/2026 09:04:00] \"\u{1b}[33mGET /nothing HTTP/1.1\u{1b}[0m\" 404 -";
    let context = r#"{"remote":"127.0.0.1","method":"GET","path":"/nothing","status":404}"#;
    check(werkzeug, Format::Access, "-", "2026-11-23T08:04:00Z", werkzeug, context);
    assert_eq!(
        read(werkzeug).entry.body.searched(),
        "127.0.0.1 - - [23/Nov/2026 09:04:00] \"GET /nothing HTTP/1.1\" 404 -"
    );
    let combined =
        "::1 - ada [23/Nov/2026:09:04:00 +0000] \"POST /a?b=\"c\" HTTP/1.1\" 500 12 \"-\" \"curl/8\"";
    check(
        combined,
        Format::Access,
        "-",
        "2026-11-23T09:04:00Z",
        combined,
        r#"{"remote":"::1","method":"POST","path":"/a?b=\"c\"","status":500}"#,
    );
    assert_eq!(read(combined).entry.body.user_id.as_deref(), Some("ada"));
}

#[test]
fn java() {
    let at = "2026-11-23T08:04:00.424Z";
    check(
        "2026-11-23 09:04:00,424 INFO  [io.quarkus] (main) Keycloak 26.0 on JVM started in 4.2s.",
        Format::Stamped,
        "INFO",
        at,
        "Keycloak 26.0 on JVM started in 4.2s.",
        r#"{"logger":"io.quarkus","thread":"main"}"#,
    );
    check(
        "2026-11-23 09:04:00,424 WARN  [org.keycloak.events] (executor-thread-1) type=\"LOGIN_ERROR\", error=\"x\"",
        Format::Stamped,
        "WARNING",
        at,
        "type=\"LOGIN_ERROR\", error=\"x\"",
        r#"{"logger":"org.keycloak.events","thread":"executor-thread-1"}"#,
    );
    check(
        "2026-11-23 09:04:00.424 [main] DEBUG com.example.Web - up",
        Format::Stamped,
        "DEBUG",
        at,
        "up",
        r#"{"thread":"main","logger":"com.example.Web"}"#,
    );
    check(
        "09:04:00.424 [main] ERROR com.example.Web -- down",
        Format::Stamped,
        "ERROR",
        at,
        "down",
        r#"{"thread":"main","logger":"com.example.Web"}"#,
    );
    check(
        "2026-11-23T09:04:00.424+01:00  INFO 12345 --- [demo] [           main] c.e.Demo                 : Started Demo",
        Format::Stamped,
        "INFO",
        at,
        "Started Demo",
        r#"{"process":12345,"app":"demo","thread":"main","logger":"c.e.Demo"}"#,
    );
    check(
        "2026-11-23 09:04:00.424+0100 INFO  Bolt enabled on localhost:7687.",
        Format::Stamped,
        "INFO",
        at,
        "Bolt enabled on localhost:7687.",
        "-",
    );
    check("SEVERE: it broke", Format::Leveled, "ERROR", "-", "it broke", "-");
    check("[INFO] Building demo 1.0", Format::Leveled, "INFO", "-", "Building demo 1.0", "-");
}

#[test]
fn syslog_and_its_kin() {
    let at = "2026-11-23T09:04:00.003Z";
    check(
        "<34>1 2026-11-23T09:04:00.003Z mx su - ID47 [x@1 a=\"b]\"] 'su root' failed",
        Format::Syslog,
        "CRITICAL",
        at,
        "'su root' failed",
        r#"{"host":"mx","app":"su","message_id":"ID47","structured_data":"[x@1 a=\"b]\"]","facility":4}"#,
    );
    check(
        "<13>Nov 23 10:04:00 host app[12]: hello: you",
        Format::Syslog,
        "INFO",
        "2026-11-23T09:04:00Z",
        "hello: you",
        r#"{"host":"host","app":"app","process":"12","facility":1}"#,
    );
    check(
        "Nov  3 10:04:00 host kernel: up",
        Format::Syslog,
        "-",
        "2026-11-03T09:04:00Z",
        "up",
        r#"{"host":"host","app":"kernel"}"#,
    );
    check("<4>watch out", Format::Syslog, "WARNING", "-", "watch out", "-");
    check("<6>ERROR:app:text", Format::Leveled, "ERROR", "-", "text", r#"{"logger":"app"}"#);
    check("<html> 12", Format::Plain, "-", "-", "<html> 12", "-");
    check(
        "E1123 10:04:00.003000   12 web.go:34] no route",
        Format::Klog,
        "ERROR",
        at,
        "no route",
        r#"{"process":"12","caller":"web.go:34"}"#,
    );
}

#[test]
fn years_and_days_that_are_not_written() {
    // Captured just after midnight of a new year: the line is of the old one.
    let new_year = Wall(1_798_761_605_000_000_000);
    let line = explain(&Rule::Auto, 0, b"Dec 31 23:59:59 host app: x", new_year).expect("one entry");
    assert!(line.to_string().contains("2026-12-31T23:59:59Z"), "{line}");
    let line = explain(&Rule::Auto, 0, b"[23:59:59.500] INFO (7): x", new_year).expect("one entry");
    assert!(line.to_string().contains("2026-12-31T23:59:59.5Z"), "{line}");
}

#[test]
fn rust_go_node_nginx_postgresql() {
    let utc = "2026-11-23T09:04:00.424977Z";
    check(
        "2026-11-23T09:04:00.424977Z  INFO helmd::store: ready n=3",
        Format::Stamped,
        "INFO",
        utc,
        "ready n=3",
        r#"{"logger":"helmd::store"}"#,
    );
    check(
        "\u{1b}[2m2026-11-23T09:04:00.424977Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \u{1b}[2mhelmd\u{1b}[0m\u{1b}[2m:\u{1b}[0m \u{1b}[1mslow\u{1b}[0m",
        Format::Stamped,
        "WARNING",
        utc,
        "\u{1b}[1mslow\u{1b}[0m",
        r#"{"logger":"helmd"}"#,
    );
    check(
        "[2026-11-23T09:04:00Z ERROR helmd::store] no disk",
        Format::Stamped,
        "ERROR",
        "2026-11-23T09:04:00Z",
        "no disk",
        r#"{"logger":"helmd::store"}"#,
    );
    check(
        "2026/11/23 09:04:00 listening on :80",
        Format::Stamped,
        "-",
        "2026-11-23T08:04:00Z",
        "listening on :80",
        "-",
    );
    check(
        "2026-11-23T09:04:00.424977Z\tERROR\tapi\tapi/web.go:12\tno route\t{\"a\": 1}",
        Format::Stamped,
        "ERROR",
        utc,
        "no route\t{\"a\": 1}",
        r#"{"logger":"api","caller":"api/web.go:12"}"#,
    );
    check(
        "2026/11/23 09:04:00 [error] 12#34: *5 open() \"/x\" failed",
        Format::Stamped,
        "ERROR",
        "2026-11-23T08:04:00Z",
        "*5 open() \"/x\" failed",
        r#"{"process":"12"}"#,
    );
    check(
        "2026-11-23 09:04:00.424 UTC [77] LOG:  database system is ready",
        Format::Stamped,
        "INFO",
        "2026-11-23T09:04:00.424Z",
        "database system is ready",
        r#"{"process":"77"}"#,
    );
    check(
        "2026-11-23 09:04:00.424 CET [77] helm@helm_db FATAL:  no pg_hba.conf entry",
        Format::Stamped,
        "CRITICAL",
        "2026-11-23T08:04:00.424Z",
        "no pg_hba.conf entry",
        r#"{"process":"77","session":"helm@helm_db"}"#,
    );
    check(
        "[09:04:00.424] INFO (web/77): up",
        Format::Stamped,
        "INFO",
        "2026-11-23T08:04:00.424Z",
        "up",
        r#"{"process":"web/77"}"#,
    );
    check("2026-11-23T09:04:00.424977Z info: up", Format::Stamped, "INFO", utc, "up", "-");
    check(
        "[Mon Nov 23 10:04:00.424977 2026] [core:warn] [pid 1:tid 2] AH00098: pid file",
        Format::Stamped,
        "WARNING",
        utc,
        "[pid 1:tid 2] AH00098: pid file",
        r#"{"logger":"core"}"#,
    );
}

#[test]
fn a_level_is_never_guessed_from_a_word() {
    for line in [
        "no error was found",
        "0 errors, 0 warnings",
        "Serving Flask app 'error'",
        "loaded module critical_path",
        "FATALITY: none",
        "http: TLS handshake error",
        "INFORMATION wants to be free",
        "12:00 error in the schedule",
        "2026-11-23 09:04:00 found an ERROR in the text",
        "2026-11-23 09:04:00 found ERROR in the text",
        "2026-11-23 09:04:00 job failed, ERROR:  none",
        "CRITICAL CSS inlined",
        "I 1123",
    ] {
        let entry = read(line).entry;
        assert!(!entry.body.flags.level_given, "{line}: {entry:?}");
        assert_eq!(entry.body.level.word(), "INFO");
    }
    // Nor is a word of the text taken for a name.
    check("INFO done - for now", Format::Leveled, "INFO", "-", "done - for now", "-");
    check(
        "2026-11-23T09:04:00Z INFO Listening: all",
        Format::Stamped,
        "INFO",
        "2026-11-23T09:04:00Z",
        "Listening: all",
        "-",
    );
    // What a program writes as the first word is no guess; how it is written stays.
    check("error: no such file", Format::Leveled, "ERROR", "-", "no such file", "-");
    check("Warning: old format", Format::Leveled, "WARNING", "-", "Warning: old format", "-");
}

#[test]
fn a_rule_that_is_named_reads_nothing_else() {
    let json = r#"{"level":"error","msg":"m"}"#;
    check_by(&Rule::Plain, json, Format::Plain, "-", "-", json, "-");
    check_by(&Rule::None, json, Format::Plain, "-", "-", json, "-");
    check_by(&Rule::Python, json, Format::Plain, "-", "-", json, "-");
    check_by(&Rule::Json, "ERROR:a:b", Format::Plain, "-", "-", "ERROR:a:b", "-");
    for name in ["auto", "json", "logfmt", "python", "java", "syslog", "plain", "none"] {
        assert_eq!(Rule::named(name).map(|rule| rule.name()).ok(), Some(name));
    }
    let unknown = Rule::named("xml").expect_err("no such rule").to_string();
    assert!(unknown.contains("`xml`") && unknown.contains("use auto, json"), "{unknown}");
}

#[test]
fn a_pattern_of_the_operators_own() {
    let rule =
        Rule::pattern(r"^(?P<time>\S+)\|(?P<level>\w+)\|(?P<user>\w*)\|(?P<shop>\d+)\|(?P<message>.*)$")
            .expect("a pattern");
    check_by(
        &rule,
        "1795424640|FINE|ada|7|sold",
        Format::Pattern,
        "DEBUG",
        "2026-11-23T09:04:00Z",
        "sold",
        r#"{"shop":"7"}"#,
    );
    check_by(&rule, "no match", Format::Plain, "-", "-", "no match", "-");
    assert!(Rule::pattern("(").is_err());
    assert!(Rule::pattern("(?P<level>x)").expect_err("no message").to_string().contains("(?P<message>...)"));
    assert!(Rule::pattern(r"(?P<message>(\w{50}){50}){50}").is_err(), "a pattern too large to be kept");
}

#[test]
fn times_from_the_future_are_clamped_and_kept() {
    check(
        r#"{"time":"2026-11-23T09:09:59Z","msg":"within five minutes"}"#,
        Format::Json,
        "-",
        "2026-11-23T09:09:59Z",
        "within five minutes",
        "-",
    );
    let entry = read(r#"{"time":"2027-01-01T00:00:00Z","msg":"m"}"#).entry;
    assert_eq!((entry.body.source_time, entry.body.flags.future_time), (Some(CAPTURED), true));
    assert_eq!(entry.body.context_json(), r#"{"helm.time":"2027-01-01T00:00:00Z"}"#);
    check(
        r#"{"time":"1999-01-01T00:00:00Z","msg":"m"}"#,
        Format::Json,
        "-",
        "1999-01-01T00:00:00Z",
        "m",
        "-",
    );
    check(
        r#"{"time":"2026-02-30T00:00:00Z","msg":"no such day"}"#,
        Format::Json,
        "-",
        "-",
        "no such day",
        r#"{"time":"2026-02-30T00:00:00Z"}"#,
    );
}

#[test]
fn an_explanation_can_be_read() {
    let text = read("2026-11-23 09:04:00,424 - app - ERROR - no disk").to_string();
    let wanted = "line 1: read as stamped (rule auto)\n  tried     json no, logfmt no, syslog no, klog no, stamped yes, leveled no, access no\n  level     ERROR\n  time      2026-11-23T08:04:00.424Z\n  context   {\"logger\":\"app\"}\n  message   no disk\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_keepers_own_file_is_explained_by_what_it_holds() {
    let file = [
        "2026-11-23T09:04:00.000000001Z stderr F Traceback (most recent call last):",
        "2026-11-23T09:04:00.000000001Z stdout P ERROR:app:ha",
        "2026-11-23T09:04:00.000000002Z stderr F   File \"a.py\", line 1",
        "2026-11-23T09:04:00.000000002Z stdout F lf",
        "2026-11-23T09:04:00.000000002Z stderr F ValueError: x",
        "2026-11-23T09:04:09.000000002Z stderr F   captured too late to belong",
    ];
    let found = explain_lines(&Rule::Auto, 0, file.map(str::as_bytes), Wall(CAPTURED));
    let seen: Vec<_> = found.iter().map(|e| (e.lines, e.entry.stream, e.entry.body.searched())).collect();
    let trace = "Traceback (most recent call last):\n  File \"a.py\", line 1\nValueError: x";
    assert_eq!(seen, [((1, 5), 1, trace), ((2, 4), 0, "half"), ((6, 6), 1, "  captured too late to belong")]);
    assert_eq!(found[1].entry.body.capture_time, 1_795_424_640_000_000_001);
}
