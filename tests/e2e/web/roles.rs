//! Who gets past at each route: the table of docs/web.md is what the real programs answer.

use std::fmt::Write;

use harness::bins::root;
use harness::site::Site;
use serde_json::{Value, json};

use super::{send, site};

/// A body that asks for something that is refused, or changes nothing, where the route lets the caller past.
fn body(method: &str, path: &str) -> Option<Value> {
    if method != "POST" {
        return None;
    }
    Some(match path {
        "/api/v1/config/rollback" => json!({"number": 999}),
        "/api/v1/metrics" => json!({"service_name": "a", "metrics": []}),
        "/api/logs/ingest" => json!({"service_name": "a", "logs": [{"level": "INFO", "message": "x"}]}),
        _ => json!({}),
    })
}

/// Streams have no end to wait for; what other formats are taken from whom is `logs/ingest`, and the entries of others are refused one by one.
const LEFT_OUT: [&str; 6] = [
    "/api/v1/stream",
    "/api/v1/logs/lines",
    "/v1/logs",
    "/loki/api/v1/push",
    "/es/_bulk",
    "/es/{index}/_bulk",
];

/// The path with its places filled: service `a`, and an entry that there is.
fn filled(path: &str, entry: &str) -> String {
    let part = |part: &str| match part {
        "{id}" if path.contains("/logs/") => entry.to_owned(),
        "{name}" | "{service}" | "{index}" => "a".to_owned(),
        "{metric}" => "cpu_percent".to_owned(),
        "{number}" => "1".to_owned(),
        _ if part.starts_with('{') => "none".to_owned(),
        _ => part.to_owned(),
    };
    let filled = path.split('/').map(part).collect::<Vec<_>>().join("/");
    if path.ends_with("/diff") { filled + "?from=1" } else { filled }
}

fn row(site: &Site, method: &str, path: &str, entry: &str, tokens: &[String]) -> String {
    let cells: Vec<&str> = tokens
        .iter()
        .map(|token| {
            match site.ask(method, &filled(path, entry), token, body(method, path).as_ref()).status {
                401 | 403 => "",
                status if status >= 500 => panic!("{method} {path}: {status}"),
                _ => "yes",
            }
        })
        .collect();
    format!("| {method} | `{path}` | {} |\n", cells.join(" | "))
}

#[test]
fn every_route_lets_past_whom_the_documented_table_says() {
    let site = site();
    send(&site, "a", &json!([{"level": "INFO", "message": "one"}]));
    let admin = site.user("admin");
    let entry = site.get("/api/logs?service=a", &admin).status(200).json()["logs"][0]["id"].to_string();
    let columns = ["no token", "client", "billing", "technician", "service token", "admin"];
    let tokens = [
        String::new(),
        site.user("client"),
        site.user("billing"),
        site.user("technician"),
        site.service("a"),
        admin.clone(),
    ];
    let mut table =
        format!("| method | path | {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len() + 2));
    let document = site.get("/openapi.json", "").status(200).json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "delete"] {
            if item.get(method).is_some() && !LEFT_OUT.contains(&path.as_str()) {
                let _ = write!(table, "{}", row(&site, &method.to_uppercase(), path, &entry, &tokens));
            }
        }
    }
    let file = root().join("docs/web.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let (before, rest) = page.split_once("<!-- roles -->\n").expect("a place for the table");
    let (written, after) = rest.split_once("<!-- /roles -->").expect("its end");
    if std::env::var_os("HELM_WRITE_TABLES").is_some() {
        std::fs::write(&file, format!("{before}<!-- roles -->\n{table}<!-- /roles -->{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/web.md; HELM_WRITE_TABLES=1 writes it anew, to be looked at");
}

#[test]
fn lists_hold_what_may_be_seen() {
    let site = site();
    for (role, seen) in [("admin", 3), ("technician", 3), ("billing", 1), ("client", 1)] {
        let list = site.get("/api/services", &site.user(role)).status(200).json();
        assert_eq!(list["services"].as_array().unwrap().len(), seen, "{role}: {list}");
        let keys: Vec<&String> = list["details"]["a"].as_object().unwrap().keys().collect();
        let public = ["url", "path", "port", "visible", "admin_only", "billing_or_admin_only"];
        assert!(keys.iter().all(|key| public.contains(&key.as_str())), "{keys:?}");
    }
    assert_eq!(site.get("/api/services", &site.service("a")).plain(403), "This endpoint is for users only");
    let operated = site.user("technician");
    site.ask("POST", "/api/services/a/start", &operated, None).status(200);
    site.ask("POST", "/api/services/b/start", &operated, None).problem(403);
    site.ask("POST", "/api/services/a/stop", &site.service("a"), None).problem(403);
    site.get("/api/services/b/status", &site.user("client")).problem(403);
}
