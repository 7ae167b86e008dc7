//! `/api/v1`: the same JSON as `helmctl --json`.

use harness::home::fixture;
use harness::site::Site;
use serde_json::{Value, json};

use super::{once, site};

#[test]
fn services_tell_the_same_as_helmctl() {
    let site = site();
    let admin = site.user("admin");
    site.ask("POST", "/api/services/b/start", &admin, None).status(200);
    let over_http = site.get("/api/v1/services", &admin).status(200).json();
    let by_hand = site.home.ctl(&["status", "--json"]).code(0).json();
    let names = |all: &serde_json::Value| {
        let all = all["services"].as_array().unwrap().clone();
        all.into_iter()
            .map(|one| (one["name"].clone(), one["run"].clone(), one["state"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&over_http), names(&by_hand));
    let one = site.get("/api/v1/services/b", &admin).status(200).json();
    assert_eq!(one["status"]["state"], "running");
    assert_eq!(one["definition"]["depends_on"][0]["service"], "a");
    let graph = site.get("/api/v1/graph", &admin).status(200).json();
    assert_eq!(graph["needs"], json!([{"service": "b", "needs": "a", "condition": "ready"}]));
    let info = site.get("/api/v1/info", &admin).status(200).json();
    assert_eq!(info["home"], site.home.dir().display().to_string());
    site.get("/api/v1/services/nobody", &admin).problem(404);
}

#[test]
fn output_events_incidents_and_why_tell_what_happened() {
    let site = site();
    let admin = site.user("admin");
    let pid =
        site.ask("POST", "/api/services/a/start", &admin, None).status(200).json()["pid"].as_u64().unwrap();
    once(&site, "/api/v1/services/a/output?lines=2&stream=stdout", &admin, |output| {
        output["lines"].as_array().is_some_and(|lines| lines.len() == 2 && lines[0]["stream"] == "stdout")
    });
    harness::procs::Process::of(u32::try_from(pid).unwrap()).unwrap().kill();
    let incidents = once(&site, "/api/v1/incidents?service=a", &admin, |found| {
        found["incidents"].as_array().is_some_and(|all| !all.is_empty())
    });
    let number = &incidents["incidents"][0]["number"];
    let one = site.get(&format!("/api/v1/incidents/{number}"), &admin).status(200).json();
    assert_eq!((&one["service"], &one["exit"]), (&json!("a"), &json!("signal 9 (SIGKILL)")));
    let why = site.get("/api/v1/why/a", &admin).status(200).json();
    assert_eq!(&why["incident"], number, "{why}");
    let events = site.get("/api/v1/events?service=a&limit=1000", &admin).status(200).json();
    let all = events["events"].as_array().unwrap();
    assert!(
        all.iter().any(|event| event["kind"] == "exit" && event["exit"] == "signal 9 (SIGKILL)"),
        "{events}"
    );
    let last = all.last().unwrap()["id"].as_u64().unwrap();
    let after = site.get(&format!("/api/v1/events?service=a&after={}", last - 1), &admin).status(200).json();
    assert_eq!(after["events"][0]["id"], last);
    site.get("/api/v1/incidents/999", &admin).problem(404);
    site.get("/api/v1/why/nobody", &admin).problem(404);
}

#[test]
fn the_files_on_disk_are_planned_applied_compared_and_taken_back() {
    let site = site();
    let admin = site.user("admin");
    let nothing = site.ask("POST", "/api/v1/config/reload", &admin, None).status(200).json();
    assert_eq!((&nothing["success"], nothing.get("job")), (&json!(true), None));
    site.home.write("services.json", r#"{"c": {"command": ["sleep", "1000"]}}"#);
    let plan = site.get("/api/v1/config/plan?no_start=true", &admin).status(200).json();
    assert_eq!(plan["ok"], true);
    assert!(
        plan["services"].as_array().unwrap().iter().any(|one| one["name"] == "c" && one["kind"] == "added")
    );
    let applied = site.post("/api/v1/config/reload", &admin, &json!({"no_start": true})).status(202).json();
    once(&site, applied["job"]["url"].as_str().unwrap(), &admin, |job| job["state"] == "done");
    let history = once(&site, "/api/v1/config/history", &admin, |history| {
        history["versions"][0]["current"] == true && history["versions"][0]["number"] == applied["number"]
    });
    let former = history["versions"][1]["number"].as_u64().unwrap();
    let diff = site.get(&format!("/api/v1/config/diff?from={former}"), &admin).status(200).json();
    assert!(
        diff["services"].as_array().unwrap().iter().any(|one| one["name"] == "a" && one["kind"] == "removed")
    );
    site.home.write("services.json", "{");
    let faulty = site.ask("POST", "/api/v1/config/reload", &admin, None).status(409).json();
    assert_eq!((&faulty["success"], &faulty["plan"]["ok"]), (&json!(false), &json!(false)));
    let back = site.post("/api/v1/config/rollback", &admin, &json!({"number": former})).status(202).json();
    once(&site, back["job"]["url"].as_str().unwrap(), &admin, |job| job["state"] == "done");
    once(&site, "/api/services", &admin, |list| {
        list["services"].as_array().is_some_and(|all| all.contains(&json!("a")))
    });
    site.post("/api/v1/config/rollback", &admin, &json!({"number": 999})).problem(400);
    site.post("/api/v1/config/reload", &admin, &json!({"timeout_seconds": 0})).problem(400);
}

#[test]
fn the_store_tells_its_state_and_its_rules() {
    let site = site();
    let admin = site.user("admin");
    let status = once(&site, "/api/v1/store", &admin, |status| status["available"] == true);
    assert_eq!(status["engine"], "sqlite");
    let kept = site.get("/api/v1/store/retention?dry_run=true", &admin).status(200).json();
    assert_eq!(kept["removals"], json!([]));
    assert!(!kept["classes"].as_array().unwrap().is_empty());
}

#[test]
fn the_certificate_that_nexus_shows_is_told_to_admins() {
    let nexus = json!({"nexus": {"command": fixture("chatty", ""), "url": "https://localhost:8443", "path": "nexus"}});
    let site = Site::new(&nexus, "");
    let admin = site.user("admin");
    let told = || site.get("/settings/ssl-info", &admin).status(200).json();
    assert_eq!((&told()["exists"], &told()["certificates"]), (&json!(false), &json!([])));
    site.home.write("nexus/certs/README", "Nexus's certificate\n");
    let missing = told();
    assert_eq!((&missing["exists"], &missing["service"]), (&json!(false), &json!("nexus")));
    assert!(missing["error"].as_str().unwrap().contains("no such file"), "{missing}");
    let [key, crt] = ["key", "crt"].map(|ext| site.home.path(&format!("nexus/certs/nexus.{ext}")));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "20",
            "-subj",
            "/O=Hive/CN=localhost",
        ])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&crt)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let info = told();
    assert_eq!((&info["exists"], &info["error"]), (&json!(true), &Value::Null));
    assert_eq!(
        (&info["subject"], &info["issuer"]),
        (&json!("O=Hive, CN=localhost"), &json!("O=Hive, CN=localhost"))
    );
    assert_eq!((&info["names"], &info["self_signed"]), (&json!(["localhost", "127.0.0.1"]), &json!(true)));
    assert!(matches!(info["days_left"].as_i64(), Some(19 | 20)), "{info}");
    let end =
        std::process::Command::new("openssl").args(["x509", "-noout", "-enddate", "-in"]).arg(&crt).output();
    let end = String::from_utf8(end.expect("openssl").stdout).unwrap();
    assert_eq!(format!("notAfter={}", info["expires"].as_str().unwrap()), end.trim());
    assert!(!info.to_string().contains("nexus.key"), "{info}");
    site.get("/settings/ssl-info", &site.user("technician")).problem(403);
    site.get("/settings/ssl-info", "").problem(401);
}
