//! The HTTP examples of the seed's README, pasted as they stand there, at port 5004 of a network of their own.

use std::process::Command;

use harness::site::Site;
use serde_json::{Value, json};

use super::site;

/// Runs helm-web with its own addresses, then each command; what each printed lies in `seed.N` of the home.
const SCRIPT: &str = r#"
ip link set lo up
"$HELM_WEB" --home "$HELM_OF" 2> "$HELM_OF/seed.err" &
web=$!
trap 'kill "$web"; wait "$web"' EXIT
until curl -s -o /dev/null http://localhost:5004/health; do
    kill -0 "$web" || exit 1
    sleep 0.05
done
number=0
for command in "$@"; do
    bash -c "$command" > "$HELM_OF/seed.$number" 2> "$HELM_OF/seed.complaints" || exit 1
    number=$((number + 1))
done
"#;

/// What each of these commands prints, where nothing but helm-web and they are.
#[track_caller]
fn pasted(site: &Site, commands: &[String]) -> Vec<String> {
    let web = site.home.command("helm-web");
    let mut inside = Command::new("unshare");
    inside.args(["--net", "bash", "-c", SCRIPT, "seed"]).args(commands).current_dir("/");
    for (key, value) in web.get_envs() {
        match value {
            Some(value) => inside.env(key, value),
            None => inside.env_remove(key),
        };
    }
    inside.env("HELM_WEB", web.get_program()).env("HELM_OF", site.home.dir());
    let done = inside.output().expect("unshare");
    let said = ["seed.err", "seed.complaints"].map(|file| site.home.read(file)).concat();
    assert!(done.status.success(), "{}{said}", String::from_utf8_lossy(&done.stderr));
    (0..commands.len()).map(|number| site.home.read(&format!("seed.{number}"))).collect()
}

fn as_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn the_seeds_curl_examples_work_as_they_stand() {
    let site = site();
    super::send(&site, "b", &json!([{"message": "the store is open"}]));
    let commands = [
        "curl http://localhost:5004/health",
        r#"curl -X POST http://localhost:5004/api/logs/ingest \
  -H "Content-Type: application/json" \
  -d '{
    "service_name": "test",
    "logs": [{
      "level": "INFO",
      "message": "Test log"
    }]
  }'"#,
        // The example under "Log Ingestion", which gives method, path and body.
        r#"curl -X POST http://localhost:5004/api/logs/ingest -H "Content-Type: application/json" -d '
{
  "service_name": "codex",
  "logs": [
    {
      "level": "INFO",
      "message": "Service started",
      "context": {"version": "1.0"},
      "trace_id": "abc-123",
      "user_id": "user@example.com"
    }
  ]
}'"#,
    ];
    let answers = pasted(&site, &commands.map(str::to_owned));
    let health = as_json(&answers[0]);
    assert_eq!(health["service"], "helm", "{health}");
    assert!(health["status"].is_string() && health["timestamp"].is_string(), "{health}");
    for answer in &answers[1..] {
        assert_eq!(as_json(answer)["ingested"], 1, "{answer}");
    }
    let admin = site.user("admin");
    let kept = site.get("/api/logs?service=codex&trace_id=abc-123", &admin).status(200).json();
    let log = &kept["logs"][0];
    assert_eq!((&log["message"], &log["user_id"]), (&json!("Service started"), &json!("user@example.com")));
    assert_eq!(log["context"]["version"], "1.0");
}

#[test]
fn the_seeds_routes_answer_where_the_seed_says() {
    let site = site();
    super::send(&site, "codex", &json!([{"level": "ERROR", "message": "it broke"}]));
    let admin = site.user("admin");
    let id = site.get("/api/logs?service=codex", &admin).status(200).json()["logs"][0]["id"].clone();
    // As the seed lists them, with a service and an entry in the places of the names.
    let routes = [
        "/api/services".to_owned(),
        "/api/services/status".to_owned(),
        "/api/services/a/status".to_owned(),
        "/api/dashboard/status".to_owned(),
        "/api/logs?service=codex&level=ERROR&limit=100".to_owned(),
        format!("/api/logs/{id}"),
        "/api/metrics/a?start_time=2025-01-01T00:00:00&end_time=2025-01-02T00:00:00".to_owned(),
        "/health".to_owned(),
    ];
    let commands = routes.map(|path| {
        format!("curl --fail-with-body -H 'Authorization: Bearer {admin}' 'http://localhost:5004{path}'")
    });
    let answers: Vec<Value> = pasted(&site, &commands).iter().map(|text| as_json(text)).collect();
    assert!(answers[0]["services"].as_array().unwrap().contains(&json!("a")), "{}", answers[0]);
    assert_eq!(answers[1]["a"]["status"], "stopped", "{}", answers[1]);
    assert_eq!(answers[2]["service_name"], "a", "{}", answers[2]);
    assert!(answers[3]["statuses"].is_object() && answers[3]["log_stats"].is_object(), "{}", answers[3]);
    assert_eq!((&answers[4]["total"], &answers[4]["limit"]), (&json!(1), &json!(100)), "{}", answers[4]);
    assert_eq!((&answers[5]["id"], &answers[5]["message"]), (&id, &json!("it broke")));
    assert_eq!((&answers[6]["service_name"], &answers[6]["metrics"]), (&json!("a"), &json!([])));
    assert_eq!(answers[7]["service"], "helm");
}
