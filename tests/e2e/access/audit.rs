//! The audit trail: what is in it, who reads it, and that it never keeps anybody from a change.

use harness::home::{Home, fixture};
use harness::wait::eventually;
use harness::watch::block_on;
use helm_client::{Logs, Reason};
use helm_proto::v1::{
    AppendRequest, CreateTokenRequest, FollowLogsRequest, LogFacetsRequest, LogFilter, LogHistogramRequest,
    NewLogEntry, NoteRequest, QueryLogsRequest, SearchLogsRequest, StopRequest,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::{access, acting, denied, principal, refused, web};

fn started() -> Home {
    let home = Home::new(&json!({"a": {"command": fixture("chatty", "rate=5")}}));
    home.write("instance/helm.conf", "[roles]\ntechnician.operate = a\n");
    home.ctl(&["up"]).code(0);
    home
}

/// The trail once it holds what is wanted.
fn trail(home: &Home, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually("the trail holds it", || {
        let said = home.ctl(&["audit", "-n", "1000", "--json"]);
        let all: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if holds(&all) { Ok(all) } else { Err(format!("{}{}", said.out, said.err)) }
    })
}

fn has(all: &[Value], what: &str, outcome: &str) -> bool {
    all.iter().any(|entry| entry["what"] == what && entry["outcome"] == outcome)
}

fn named(services: &[&str]) -> Option<LogFilter> {
    Some(LogFilter { services: services.iter().map(|s| (*s).to_owned()).collect(), ..Default::default() })
}

#[test]
fn signals_stand_in_the_trail_too() {
    let home = started();
    home.ctl(&["signal", "a", "CONT"]).code(0);
    home.helmd().expect("it runs").signal(Signal::HUP);
    let by = |all: &[Value], what: &str, peer: &str, outcome: &str| {
        let is = |e: &&Value| e["what"] == what && e["peer"] == peer && e["outcome"] == outcome;
        all.iter().any(|entry| is(&entry))
    };
    trail(&home, |all| {
        has(all, "signal", "intent")
            && has(all, "signal", "done")
            && by(all, "reload", "SIGHUP", "intent")
            && by(all, "reload", "SIGHUP", "done")
    });
    home.helmd().expect("it runs").signal(Signal::TERM);
    eventually("helmd has left", || match home.helmd() {
        Some(helmd) => Err(format!("{helmd:?}")),
        None => Ok(()),
    });
    home.ctl(&["daemon", "start"]).code(0);
    trail(&home, |all| by(all, "shutdown", "SIGTERM", "done"));
}

#[test]
fn every_change_stands_before_and_after_it_is_made() {
    let home = started();
    for words in [
        &["stop", "a"][..],
        &["start", "a"],
        &["restart", "a"],
        &["signal", "a", "CONT"],
        &["retention", "set", "default", "80d"],
        &["token", "create", "CI", "--role", "client"],
        &["down"],
    ] {
        home.ctl(words).code(0);
    }
    let id = home.ctl(&["token", "list", "--json"]).json()[0]["id"].as_str().unwrap().to_owned();
    home.ctl(&["token", "revoke", &id]).code(0);
    home.ctl(&["daemon", "reexec"]).code(0);
    home.answers();
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    let changes = [
        "up",
        "stop",
        "start",
        "restart",
        "signal",
        "set_retention",
        "create_token",
        "down",
        "revoke_token",
        "reexec",
        "shutdown",
    ];
    let all =
        trail(&home, |all| changes.iter().all(|what| has(all, what, "intent") && has(all, what, "done")));
    for what in changes {
        let of =
            |outcome: &str| all.iter().position(|e| e["what"] == what && e["outcome"] == outcome).unwrap();
        assert!(of("intent") < of("done"), "{what}: {all:?}");
    }
    let stop = all.iter().find(|e| e["what"] == "stop" && e["outcome"] == "done").unwrap();
    assert_eq!(stop["targets"], json!(["a"]));
    assert!(stop["peer"].as_str().unwrap().contains("(helmctl)") && stop["principal"].is_null(), "{stop}");
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn whoever_helm_web_names_is_named_beside_it() {
    let home = started();
    block_on(async {
        let client = acting(&home, &principal("user", "technician")).await;
        let mut stopped =
            client.stop(StopRequest { names: vec!["a".into()], ..Default::default() }).await.unwrap();
        while let Some(message) = stopped.next().await {
            message.unwrap();
        }
        let other = acting(&home, &principal("user", "billing")).await;
        denied(other.stop(StopRequest { names: vec!["a".into()], ..Default::default() }).await.map(drop));
        let theirs = acting(&home, &principal("user", "technician")).await;
        denied(theirs.stop(StopRequest { names: vec!["b".into()], ..Default::default() }).await.map(drop));
        let note =
            NoteRequest { what: "core_key".into(), outcome: "another key".into(), from: "127.0.0.1".into() };
        access(&web(&home).await).await.note(note).await.unwrap();
    });
    let all = trail(&home, |all| {
        has(all, "stop", "done") && has(all, "stop", "refused") && has(all, "note", "done")
    });
    let done = all.iter().find(|e| e["what"] == "stop" && e["outcome"] == "done").unwrap();
    assert_eq!(
        (&done["principal"]["subject"], &done["principal"]["request_id"]),
        (&json!("5f3c"), &json!("req-7"))
    );
    assert!(done["peer"].as_str().unwrap().starts_with("uid "), "{done}");
    let refused = all.iter().find(|e| e["outcome"] == "refused").unwrap();
    assert_eq!(refused["targets"], json!(["b"]));
    home.ctl(&["audit"]).code(0).says("Ada (user 5f3c), request req-7, through uid");
}

#[test]
fn it_is_in_no_list_of_the_log_and_no_service_can_write_it() {
    let home = started();
    trail(&home, |all| has(all, "up", "done"));
    block_on(async {
        let mut logs = Logs::of(&home.client().await.unwrap()).await.unwrap();
        let asked = QueryLogsRequest { filter: named(&["audit"]), ..Default::default() };
        let entries = logs.query(asked.clone()).await.unwrap().entries;
        let id = entries.first().expect("the owner finds it, where it is named").id;
        assert!(logs.get(id).await.is_ok());
        let page = logs.query(QueryLogsRequest { limit: 1000, ..Default::default() }).await.unwrap();
        assert!(page.entries.iter().all(|e| e.service != "audit"));
        let mut search = logs.search(SearchLogsRequest::default()).await.unwrap();
        while let Some(message) = search.next().await {
            assert!(message.unwrap().entries.iter().all(|e| e.service != "audit"));
        }
        let facets = logs.facets(LogFacetsRequest::default()).await.unwrap().services;
        assert!(facets.iter().all(|f| f.service != "audit"), "{facets:?}");
        let counted: u64 = facets.iter().map(|f| f.debug + f.info + f.warning + f.error + f.critical).sum();
        let total =
            logs.query(QueryLogsRequest { total: true, limit: 1, ..Default::default() }).await.unwrap().total;
        assert!(total >= Some(counted));
        let minute = 60_000_000_000;
        let hour = LogHistogramRequest { filter: named(&["audit"]), from: 0, to: minute, step: minute };
        assert!(logs.histogram(hour.clone()).await.is_ok());
        let forged = AppendRequest {
            service: "audit".into(),
            entries: vec![NewLogEntry { message: "nothing happened".into(), ..Default::default() }],
            ..Default::default()
        };
        assert_eq!(logs.append(forged.clone()).await.unwrap().rejected.len(), 1);
        for role in ["technician", "billing", "client"] {
            let mut theirs = Logs::of(&acting(&home, &principal("user", role)).await).await.unwrap();
            denied(theirs.query(asked.clone()).await);
            denied(
                theirs
                    .follow(FollowLogsRequest { filter: named(&["audit"]), ..Default::default() })
                    .await
                    .map(drop),
            );
            denied(theirs.facets(LogFacetsRequest { filter: named(&["audit"]) }).await);
            denied(theirs.histogram(hour.clone()).await);
            denied(
                access(&acting(&home, &principal("user", role)).await).await.audit(Default::default()).await,
            );
        }
        let mut technician = Logs::of(&acting(&home, &principal("user", "technician")).await).await.unwrap();
        assert_eq!(refused(technician.get(id).await).0, Reason::UnknownEntry);
        assert_eq!(technician.append(forged).await.unwrap().rejected.len(), 1);
        let mut admin = access(&acting(&home, &principal("user", "admin")).await).await;
        assert!(!admin.audit(Default::default()).await.unwrap().entries.is_empty());
    });
    home.ctl(&["retention", "show"]).code(0).says("audit");
}

#[test]
fn a_store_that_is_away_keeps_nobody_from_a_change_and_gets_it_later() {
    let home = started();
    home.ctl(&["daemon", "stop"]).code(0);
    // A database that cannot be opened: a directory in the place of its files.
    let kept = home.path("store-aside");
    let store = home.path("instance/store");
    std::fs::rename(&store, &kept).unwrap();
    std::fs::write(&store, "no directory").unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["restart", "a"]).code(0);
    block_on(async {
        let request = CreateTokenRequest { name: "CI".into(), role: "client".into(), ..Default::default() };
        access(&home.client().await.unwrap()).await.create_token(request).await.unwrap();
    });
    eventually("it waits", || {
        let waits = home.read("instance/audit-waiting.jsonl");
        if waits.contains("restart") && waits.contains("create_token") { Ok(()) } else { Err(waits) }
    });
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&kept, &store).unwrap();
    let all = trail(&home, |all| has(all, "restart", "done") && has(all, "create_token", "done"));
    let count =
        |outcome: &str| all.iter().filter(|e| e["what"] == "restart" && e["outcome"] == outcome).count();
    assert_eq!((count("intent"), count("done")), (1, 1), "once each: {all:?}");
    eventually("nothing waits", || {
        let waits = home.read("instance/audit-waiting.jsonl");
        if waits.is_empty() { Ok(()) } else { Err(waits) }
    });
    home.ctl(&["logs", "verify"]).code(0);
}
