//! Numbers over HTTP: as HiveMatrix asks for them, all of them, and those that services send.

use serde_json::{Value, json};

use super::{once, site};

#[test]
fn numbers_are_kept_with_tags_and_found_again() {
    let site = site();
    let (own, admin) = (site.service("a"), site.user("admin"));
    let batch = json!({"metrics": [
        {"metric_name": "jobs", "metric_value": 7, "tags": {"queue": "mail"}},
        {"metric_name": "jobs", "metric_value": 3, "tags": {"queue": "web"}},
        {"metric_name": "jobs", "metric_value": 1, "timestamp": "long ago"},
        {"metric_name": "cpu_percent", "metric_value": 1},
    ]});
    let kept = harness::wait::eventually("numbers are kept", || {
        let answer = site.post("/api/v1/metrics", &own, &batch);
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.text()) }
    });
    assert_eq!((&kept["success"], &kept["ingested"]), (&json!(true), &json!(2)));
    let refused: Vec<&Value> = kept["rejected"].as_array().unwrap().iter().map(|one| &one["index"]).collect();
    assert_eq!(refused, [2, 3], "a time that is none, and what helmd measures itself: {kept}");
    let series = once(&site, "/api/v1/metrics?service=a", &admin, |list| {
        list["series"]
            .as_array()
            .is_some_and(|all| all.iter().filter(|one| one["metric"] == "jobs").count() == 2)
    });
    assert!(
        series["series"].as_array().unwrap().iter().any(|one| one["tags"]["queue"] == "mail"),
        "{series}"
    );
    let points = site.get("/api/v1/metrics/a/jobs?tag.queue=mail", &admin).status(200).json();
    assert_eq!(points["points"][0]["last"], 7.0);
    let numbers = site.get("/api/metrics/a?metric_name=jobs&limit=1", &admin).status(200).json();
    assert_eq!((&numbers["service_name"], numbers["metrics"].as_array().unwrap().len()), (&json!("a"), 1));
    let number = &numbers["metrics"][0];
    assert_eq!((&number["metric_name"], &number["service_name"]), (&json!("jobs"), &json!("a")));
    for key in ["id", "timestamp", "metric_value", "tags"] {
        assert!(number.get(key).is_some_and(|value| !value.is_null()), "{key}: {number}");
    }
    let none = site.get("/api/metrics/nobody-has-this-name", &admin).status(200).json();
    assert_eq!(none["metrics"], json!([]));
    site.get("/api/v1/metrics/a/jobs", &admin).problem(404);
}

#[test]
fn a_service_sends_numbers_of_its_own_only() {
    let site = site();
    let batch = json!({"service_name": "b", "metrics": [{"metric_name": "jobs", "metric_value": 1}]});
    site.post("/api/v1/metrics", &site.service("a"), &batch).problem(403);
    let technician = site.user("technician");
    site.post("/api/v1/metrics", &technician, &batch).problem(403);
    let unnamed = json!({"metrics": []});
    site.post("/api/v1/metrics", &site.user("admin"), &unnamed).problem(400);
    site.post("/api/v1/metrics", &site.service("a"), &json!({})).problem(400);
}

#[test]
fn what_is_measured_has_the_seeds_names() {
    let site = site();
    let admin = site.user("admin");
    site.ask("POST", "/api/services/a/start", &admin, None).status(200);
    let path = "/api/metrics/a?metric_name=memory_mb";
    let numbers = once(&site, path, &admin, |numbers| numbers["metrics"][0]["metric_value"].is_number());
    let megabytes = numbers["metrics"][0]["metric_value"].as_f64().unwrap();
    assert!(megabytes > 0.0 && megabytes < 1000.0, "{numbers}");
}
