//! Log entries over HTTP: what is taken, how it is kept, and what becomes of it while helmd is away.

use std::process::Command;

use harness::site::Site;
use harness::wait::eventually;
use hyper::Request;
use serde_json::{Value, json};

use super::{once, send, site};

/// What the log holds of a service, newest first.
fn logs(site: &Site, service: &str, holds: impl Fn(&Vec<Value>) -> bool) -> Vec<Value> {
    let admin = site.user("admin");
    let path = format!("/api/logs?service={service}&limit=1000");
    let found = once(site, &path, &admin, |page| page["logs"].as_array().is_some_and(&holds));
    found["logs"].as_array().cloned().unwrap_or_default()
}

#[test]
fn what_the_services_send_is_kept_and_a_bad_entry_loses_no_other() {
    let site = site();
    send(&site, "a", &json!([]));
    let batch = json!({"service_name": "a", "logs": [
        {"level": "WARNING", "message": "one\ntwo", "timestamp": "2026-11-23T09:04:00.424977", "context": {"path": "/x"}, "trace_id": null, "user_id": "u"},
        {"level": "warn", "message": null},
        7,
        {"level": "ERROR", "message": "\u{1b}[31mred\u{1b}[0m", "trace_id": "t".repeat(200), "process_id": 12, "hostname": "h"},
        {"message": 42},
    ]});
    let answer = site.post("/api/logs/ingest", &site.service("a"), &batch).status(200).json();
    assert_eq!(answer["success"], true, "{answer}");
    assert!(
        answer["rejected"].as_array().is_some_and(|all| all.iter().any(|one| one["index"] == 2)),
        "{answer}"
    );
    let kept = logs(&site, "a", |logs| logs.iter().any(|one| one["message"] == "one\ntwo"));
    let first = kept.iter().find(|one| one["message"] == "one\ntwo").expect("the first one");
    assert_eq!(first["timestamp"], "2026-11-23T09:04:00.424977");
    assert_eq!(
        (&first["level"], &first["context"]["path"], &first["user_id"]),
        (&json!("WARNING"), &json!("/x"), &json!("u"))
    );
}

#[test]
fn without_a_token_it_is_kept_with_a_mark_where_the_home_allows_it() {
    let site = site();
    send(&site, "a", &json!([]));
    let open = |body: &Value, media: &str| {
        let request = Request::post("/api/logs/ingest").header("content-type", media).body(body.to_string());
        site.send(request.unwrap())
    };
    let batch = json!({"service_name": "visitor", "logs": [{"message": "hi", "context": {"auth": "admin"}}]});
    assert_eq!(open(&batch, "application/json").status(200).json()["ingested"], 1);
    let kept = logs(&site, "visitor", |logs| !logs.is_empty());
    assert_eq!(kept[0]["context"]["auth"], "none", "{}", kept[0]);
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        open(&batch, media).problem(401);
    }
    site.home.write("instance/helm.conf", "[web]\nopen_ingest = no\n");
    site.home.ctl(&["reload"]).code(0);
    eventually("open ingest is closed", || {
        let answer = open(&batch, "application/json");
        if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
    });
}

#[test]
fn a_service_sends_as_itself_whatever_it_says() {
    let site = site();
    send(&site, "a", &json!([]));
    let batch = json!({"service_name": "b", "logs": [{"message": "mine"}]});
    let answer = site.post("/api/logs/ingest", &site.service("a"), &batch).status(200).json();
    assert_eq!(answer["ingested"], 1, "{answer}");
    let kept = logs(&site, "a", |logs| logs.iter().any(|one| one["message"] == "mine"));
    assert!(kept.iter().any(|one| one["message"] == "mine"));
}

#[test]
fn other_protocols_are_understood() {
    let site = site();
    send(&site, "a", &json!([]));
    let token = format!("Bearer {}", site.service("a"));
    let ask = |method: &str, path: &str, media: &str, body: &str| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media).header("authorization", &token);
        site.send(request.body(body.to_owned()).unwrap())
    };
    let post = |path: &str, media: &str, body: &str| ask("POST", path, media, body);
    let otlp = json!({"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "a"}}]},
        "scopeLogs": [{"logRecords": [{"timeUnixNano": "1764561600000000000", "severityNumber": 17, "body": {"stringValue": "from otlp"}}]}]}]});
    post("/v1/logs", "application/json", &otlp.to_string()).status(200);
    let loki = json!({"streams": [{"stream": {"service_name": "a"}, "values": [["1764561600000000000", "from loki"]]}]});
    post("/loki/api/v1/push", "application/json", &loki.to_string()).status(204);
    let bulk = "{\"create\":{\"_index\":\"a\"}}\n{\"message\":\"from bulk\"}\n";
    let answer = post("/es/_bulk", "application/x-ndjson", bulk).status(200);
    assert_eq!(answer.header("x-elastic-product"), "Elasticsearch");
    assert_eq!(answer.json()["errors"], false);
    let put = "{\"index\":{}}\n{\"message\":\"from a put\"}\n";
    // As Elasticsearch's own clients send it.
    let answer = ask("PUT", "/es/a/_bulk", "application/vnd.elasticsearch+x-ndjson; compatible-with=8", put);
    assert_eq!(answer.status(200).json()["errors"], false);
    post("/api/v1/logs/lines", "application/x-ndjson", "{\"message\":\"from lines\",\"level\":\"error\"}\n")
        .status(200);
    let all = ["from otlp", "from loki", "from bulk", "from a put", "from lines"];
    logs(&site, "a", |logs| all.iter().all(|text| logs.iter().any(|one| one["message"] == *text)));
    post("/v1/logs", "text/html", "x").status(415);
    post("/v1/logs", "application/json", "{").status(400);
    let probe = Request::get("/es/").header("authorization", &token).body(String::new()).unwrap();
    assert_eq!(site.send(probe).status(200).json()["tagline"], "You Know, for Search");
}

#[test]
fn a_dry_run_tells_and_keeps_nothing() {
    let site = site();
    send(&site, "a", &json!([]));
    let batch = json!({"service_name": "dry", "logs": [{"level": "loud", "message": "x"}]});
    let told = site.post("/api/logs/ingest?dry_run=1", &site.user("admin"), &batch).status(200).json();
    assert_eq!((&told["dry_run"], &told["total"]), (&json!(true), &json!(1)), "{told}");
    let kept = site.get("/api/logs?service=dry", &site.user("admin")).status(200).json();
    assert_eq!(kept["total"], 0, "{kept}");
}

#[test]
fn a_numbered_batch_is_kept_once() {
    let site = site();
    send(&site, "a", &json!([]));
    let token = format!("Bearer {}", site.service("a"));
    let numbered = |number: &str| {
        let request = Request::post("/api/logs/ingest").header("content-type", "application/json");
        let request = request.header("authorization", &token);
        let request = request.header("x-helm-sender", "logger-1").header("x-helm-sequence", number);
        site.send(
            request
                .body(
                    json!({"service_name": "a", "logs": [{"message": format!("batch {number}")}]})
                        .to_string(),
                )
                .unwrap(),
        )
    };
    for number in ["1", "1", "2", "2"] {
        assert_eq!(numbered(number).status(200).json()["ingested"], 1);
    }
    let kept = logs(&site, "a", |logs| logs.iter().any(|one| one["message"] == "batch 2"));
    for text in ["batch 1", "batch 2"] {
        assert_eq!(kept.iter().filter(|one| one["message"] == text).count(), 1, "{text}");
    }
    numbered("0").problem(400);
    numbered("x").problem(400);
}

#[test]
fn bodies_beyond_their_bounds_are_refused_clearly() {
    let site = site();
    let token = format!("Bearer {}", site.service("a"));
    let post = |encoding: &str, body: Vec<u8>| {
        let mut request = Request::post("/api/logs/ingest").header("content-type", "application/json");
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        site.send(request.header("authorization", &token).body(body).unwrap())
    };
    post("", vec![b' '; (16 << 20) + 1]).problem(413);
    post("br", b"x".to_vec()).status(415);
    post("gzip", b"no gzip".to_vec()).status(400);
    // 64 MiB of zeros in a few KiB.
    let bomb = Command::new("sh")
        .args(["-c", "head -c 67108864 /dev/zero | gzip -9"])
        .output()
        .expect("gzip")
        .stdout;
    assert!(bomb.len() < 100 << 10);
    post("gzip", bomb).status(413);
    let deep =
        format!("{{\"service_name\":\"a\",\"logs\":[{}1{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = post("", deep.into_bytes());
    assert!(answer.status == 400 || answer.status == 200, "{}", answer.text());
    let many = json!({"service_name": "a", "logs": vec![json!({"message": "x"}); 10_001]});
    assert!(site.post("/api/logs/ingest", &site.service("a"), &many).plain(400).contains("10001"));
}

/// helmd is killed under it, and comes back: a batch waits for that a while, a numbered one is sent until it is kept, once.
#[test]
fn a_batch_outlives_a_helmd_that_dies_under_it() {
    let site = site();
    send(&site, "a", &json!([{"message": "before"}]));
    site.home.kill_helmd();
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| {
            let body = json!({"service_name": "a", "logs": [{"message": "meanwhile"}]}).to_string();
            eventually("the batch is kept", || {
                let request = Request::post("/api/logs/ingest").header("content-type", "application/json");
                let request = request.header("authorization", format!("Bearer {}", site.service("a")));
                let request = request.header("x-helm-sender", "logger").header("x-helm-sequence", "1");
                let answer = site.send(request.body(body.clone()).unwrap());
                if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
            });
        });
        site.home.ctl(&["daemon", "start"]).code(0);
        sent.join().expect("it is kept");
    });
    let kept = logs(&site, "a", |logs| logs.iter().any(|one| one["message"] == "meanwhile"));
    assert_eq!(kept.iter().filter(|one| one["message"] == "meanwhile").count(), 1);
}

/// Nobody comes back in time: the sender is told so, and the loss is in the service's log afterwards.
#[test]
fn what_was_refused_is_written_into_the_services_log() {
    let site = site();
    send(&site, "a", &json!([{"message": "before"}]));
    site.home.ctl(&["daemon", "stop"]).code(0);
    let batch = json!({"service_name": "a", "logs": [{"message": "lost"}, {"message": "lost too"}]});
    let answer = site.post("/api/logs/ingest", &site.service("a"), &batch);
    // Who asks for a state is answered at once; entries wait.
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
    site.home.ctl(&["daemon", "start"]).code(0);
    logs(&site, "a", |logs| {
        logs.iter()
            .any(|one| one["message"].as_str().is_some_and(|text| text.contains("refused 2 log entries")))
    });
}
