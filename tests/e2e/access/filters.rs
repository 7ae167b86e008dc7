//! What somebody sees of services that are only partly theirs.

use std::time::Duration;

use harness::home::{Home, fixture};
use harness::wait::eventually;
use harness::watch::block_on;
use helm_client::{ClientError, Logs, Reason};
use helm_proto::v1::{
    AppendMetricsRequest, AppendRequest, EventsRequest, FollowLogsRequest, ListIncidentsRequest,
    LogContextRequest, LogFacetsRequest, LogFilter, LogHistogramRequest, LogText, NewLogEntry, NewMetric,
    OutputRequest, Principal, QueryLogsRequest, QueryMetricsRequest, SearchLogsRequest, StartRequest,
    StopRequest, UpRequest,
};
use serde_json::json;
use tokio_stream::StreamExt;

use super::{access, acting, denied, principal, refused, service};

/// `mine` is listed for everybody, `theirs` for nobody; both log, and end now and then.
const ROLES: &str = "[roles]\ntechnician = mine\ntechnician.operate = mine\nbilling = mine\nclient = mine\n";

fn started() -> Home {
    let ends = |code: u32| fixture("exiter", &format!("after=0.2 code={code} rate=20"));
    let home = Home::new(&json!({
        "mine": {"command": ends(3), "backoff": {"initial": "1s", "max": "1s"}},
        "theirs": {"command": ends(4), "backoff": {"initial": "1s", "max": "1s"}},
        "needs": {"command": fixture("chatty", "rate=5"), "depends_on": ["theirs"]},
    }));
    home.write("instance/helm.conf", ROLES);
    home.ctl(&["up", "--no-wait"]).code(0);
    eventually("both are in the log, and have ended", || {
        let stats = home.ctl(&["logs", "stats", "--json"]).out;
        let incidents = home.ctl(&["incidents", "--json", "mine"]).out
            + &home.ctl(&["incidents", "--json", "theirs"]).out;
        let there = |text: &str, name: &str| text.contains(&format!("\"{name}\""));
        let all = ["mine", "theirs"].iter().all(|name| there(&stats, name) && there(&incidents, name));
        if all { Ok(()) } else { Err(format!("{stats}{incidents}")) }
    });
    home
}

fn technician() -> Principal {
    principal("user", "technician")
}

async fn logs(home: &Home, who: &Principal) -> Logs {
    Logs::of(&acting(home, who).await).await.unwrap()
}

fn of(services: &[&str]) -> Option<LogFilter> {
    Some(LogFilter { services: services.iter().map(|s| (*s).to_owned()).collect(), ..Default::default() })
}

#[test]
fn status_lists_and_streams_hold_what_is_listed() {
    let home = started();
    block_on(async {
        let mut client = acting(&home, &technician()).await;
        let names: Vec<String> = client.list().await.unwrap().into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["mine"]);
        let seen = client.status(Vec::new()).await.unwrap().services;
        assert_eq!(seen.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["mine"]);
        // What is not theirs is refused alike, whether it is there or not.
        let there = denied(client.status(vec!["theirs".into()]).await);
        let not = denied(client.status(vec!["nothing".into()]).await);
        assert_eq!(there.replace("theirs", "X"), not.replace("nothing", "X"));
        let mut watch = client.watch_status(Vec::new()).await.unwrap();
        for _ in 0..5 {
            let message = watch.next().await.unwrap().unwrap();
            assert!(message.services.iter().all(|s| s.name == "mine"), "{message:?}");
        }
        let mut events = client
            .events(EventsRequest { follow: true, last: Some(1000), ..Default::default() })
            .await
            .unwrap();
        for _ in 0..20 {
            assert_eq!(events.next().await.unwrap().unwrap().service, "mine");
        }
        denied(
            client
                .events(EventsRequest { names: vec!["theirs".into()], ..Default::default() })
                .await
                .map(drop),
        );
        denied(client.output(OutputRequest { name: "theirs".into(), ..Default::default() }).await.map(drop));
        denied(client.tree("theirs").await);
        assert!(client.tree("mine").await.is_ok());
    });
}

#[test]
fn a_client_is_told_name_and_state_and_no_more() {
    let home = started();
    block_on(async {
        let mut client = acting(&home, &principal("user", "client")).await;
        let seen = client.status(Vec::new()).await.unwrap().services;
        let [mine] = &seen[..] else { panic!("{seen:?}") };
        assert!(
            !mine.state.is_empty()
                && mine.reason.is_empty()
                && mine.last_exit.is_none()
                && mine.restarts == 0
        );
        assert_eq!(client.list().await.unwrap()[0].path, "");
        assert_eq!(client.info().await.unwrap().home, "");
        denied(client.events(EventsRequest::default()).await.map(drop));
        denied(logs(&home, &principal("user", "client")).await.query(QueryLogsRequest::default()).await);
        // Nothing is listed for a token that is narrowed past all that its role sees.
        let mut billing = acting(&home, &principal("user", "billing")).await;
        assert_eq!(billing.status(Vec::new()).await.unwrap().services.len(), 1);
        denied(billing.incidents(ListIncidentsRequest::default()).await);
    });
}

#[test]
fn the_log_holds_what_is_listed() {
    let home = started();
    block_on(async {
        for who in [technician(), principal("user", "billing")] {
            let mut logs = logs(&home, &who).await;
            let page = logs
                .query(QueryLogsRequest { limit: 1000, total: true, ..Default::default() })
                .await
                .unwrap();
            assert!(!page.entries.is_empty() && page.entries.iter().all(|e| e.service == "mine"));
            for services in [&["theirs"][..], &["mine", "theirs"], &["nothing"]] {
                denied(logs.query(QueryLogsRequest { filter: of(services), ..Default::default() }).await);
                denied(
                    logs.search(SearchLogsRequest { filter: of(services), ..Default::default() })
                        .await
                        .map(drop),
                );
                denied(
                    logs.follow(FollowLogsRequest { filter: of(services), ..Default::default() })
                        .await
                        .map(drop),
                );
                denied(logs.facets(LogFacetsRequest { filter: of(services) }).await);
            }
            let mut search = logs.search(SearchLogsRequest::default()).await.unwrap();
            while let Some(message) = search.next().await {
                assert!(message.unwrap().entries.iter().all(|e| e.service == "mine"));
            }
            let facets = logs.facets(LogFacetsRequest::default()).await.unwrap().services;
            assert_eq!(facets.iter().map(|f| &*f.service).collect::<Vec<_>>(), ["mine"]);
        }
    });
}

#[test]
fn entries_of_others_are_not_found_by_their_id() {
    let home = started();
    block_on(async {
        let mut all = Logs::of(&home.client().await.unwrap()).await.unwrap();
        let theirs =
            all.query(QueryLogsRequest { filter: of(&["theirs"]), ..Default::default() }).await.unwrap();
        let id = theirs.entries[0].id;
        assert!(all.get(id).await.is_ok());
        let mut logs = logs(&home, &technician()).await;
        assert_eq!(refused(logs.get(id).await).0, Reason::UnknownEntry);
        let around = LogContextRequest { id, before: 5, after: 5 };
        assert_eq!(refused(logs.context(around).await).0, Reason::UnknownEntry);
        let mine =
            logs.query(QueryLogsRequest { limit: 1, ..Default::default() }).await.unwrap().entries[0].id;
        assert!(logs.get(mine).await.is_ok());
        assert!(logs.context(LogContextRequest { id: mine, before: 5, after: 5 }).await.is_ok());
    });
}

#[test]
fn a_follower_is_told_of_what_is_listed() {
    let home = started();
    block_on(async {
        let logs = logs(&home, &technician()).await;
        let mut follow = logs.follow(FollowLogsRequest { last: 50, ..Default::default() }).await.unwrap();
        let mut all = Logs::of(&home.client().await.unwrap()).await.unwrap();
        let entry = |message: &str| NewLogEntry { message: message.into(), ..Default::default() };
        let send = |service: &str, text: &str| AppendRequest {
            service: service.into(),
            entries: vec![entry(text)],
            ..Default::default()
        };
        all.append(send("theirs", "secret")).await.unwrap();
        all.append(send("mine", "the last one")).await.unwrap();
        let (mut seen, mut last) = (Vec::new(), false);
        while !last {
            let message =
                tokio::time::timeout(Duration::from_secs(60), follow.next()).await.unwrap().unwrap().unwrap();
            last = message.entries.iter().any(|e| e.message == "the last one");
            seen.extend(message.entries);
        }
        assert!(seen.iter().all(|e| e.service == "mine"), "{seen:?}");
    });
}

#[test]
fn counts_tell_nothing_of_what_is_in_entries() {
    let home = started();
    block_on(async {
        // A service token may count everything (the dashboard does), and read nothing.
        let mut logs = logs(&home, &service("mine")).await;
        let counted = logs.facets(LogFacetsRequest::default()).await.unwrap().services;
        assert!(counted.iter().any(|f| f.service == "theirs"), "{counted:?}");
        let hour =
            LogHistogramRequest { from: 0, to: 60_000_000_000, step: 60_000_000_000, ..Default::default() };
        assert!(logs.histogram(hour.clone()).await.is_ok());
        let text = LogText { pattern: "password".into(), ..Default::default() };
        let filter = Some(LogFilter { texts: vec![text], ..Default::default() });
        denied(logs.facets(LogFacetsRequest { filter: filter.clone() }).await);
        denied(logs.histogram(LogHistogramRequest { filter, ..hour }).await);
        denied(logs.query(QueryLogsRequest::default()).await);
    });
}

#[test]
fn incidents_and_reasons_are_of_what_is_listed() {
    let home = started();
    block_on(async {
        let mut owner = home.client().await.unwrap();
        let all = owner
            .incidents(ListIncidentsRequest { limit: 200, ..Default::default() })
            .await
            .unwrap()
            .incidents;
        let theirs = all.iter().find(|i| i.service == "theirs").expect("an incident").number;
        let mut client = acting(&home, &technician()).await;
        let seen = client.incidents(ListIncidentsRequest::default()).await.unwrap().incidents;
        assert!(!seen.is_empty() && seen.iter().all(|i| i.service == "mine"));
        assert!(
            seen.iter().flat_map(|i| &i.before).all(|told| told.service.is_empty() || told.service == "mine")
        );
        assert_eq!(refused(client.incident(theirs).await).0, Reason::UnknownEntry);
        assert!(client.incident(seen[0].number).await.is_ok());
        denied(client.why("theirs").await);
        assert!(client.why("mine").await.is_ok());
        denied(
            client
                .incidents(ListIncidentsRequest { names: vec!["theirs".into()], ..Default::default() })
                .await,
        );
    });
}

#[test]
fn numbers_are_of_what_is_listed() {
    let home = started();
    let both = |home: &Home| home.ctl(&["metrics", "--json"]).out;
    eventually("numbers are there", || {
        let said = both(&home);
        if said.contains("theirs") && said.contains("mine") { Ok(()) } else { Err(said) }
    });
    block_on(async {
        let mut client = acting(&home, &technician()).await;
        let series = client.list_metrics("").await.unwrap().series;
        assert!(!series.is_empty() && series.iter().all(|s| s.service == "mine"), "{series:?}");
        denied(client.list_metrics("theirs").await);
        let query = |service: &str| QueryMetricsRequest {
            service: service.into(),
            metric: "memory_bytes".into(),
            from: 0,
            to: i64::MAX,
            ..Default::default()
        };
        assert!(client.query_metrics(query("mine")).await.is_ok());
        for other in ["theirs", "host", "helmd"] {
            denied(client.query_metrics(query(other)).await);
        }
        let send = |service: &str| AppendMetricsRequest {
            service: service.into(),
            metrics: vec![NewMetric { metric: "orders".into(), value: 1.0, ..Default::default() }],
        };
        let mut token = acting(&home, &service("mine")).await;
        assert_eq!(token.append_metrics(send("mine")).await.unwrap().kept, 1);
        denied(token.append_metrics(send("theirs")).await);
        denied(client.append_metrics(send("mine")).await);
    });
}

#[test]
fn a_service_sends_as_itself() {
    let home = started();
    block_on(async {
        let entry = |service: &str| NewLogEntry {
            service: service.into(),
            message: "x".into(),
            ..Default::default()
        };
        let batch = AppendRequest {
            service: "mine".into(),
            entries: vec![entry(""), entry("theirs"), entry("mine")],
            sender: "logger".into(),
            sequence: 1,
            ..Default::default()
        };
        let mut mine = logs(&home, &service("mine")).await;
        let answer = mine.append(batch.clone()).await.unwrap();
        assert_eq!((answer.kept, answer.rejected.len(), answer.rejected[0].index), (2, 1, 1));
        assert!(answer.rejected[0].reason.contains("`theirs`"));
        assert!(mine.append(batch.clone()).await.unwrap().duplicate);
        // Who names another's sender does not take its numbers away.
        let mut theirs = logs(&home, &service("theirs")).await;
        assert!(!theirs.append(AppendRequest { service: "theirs".into(), ..batch }).await.unwrap().duplicate);
        let direct =
            AppendRequest { service: "new".into(), entries: vec![entry("new")], ..Default::default() };
        assert_eq!(logs(&home, &principal("direct", "")).await.append(direct).await.unwrap().kept, 1);
    });
}

#[test]
fn operators_operate_what_is_listed_and_their_name_is_on_it() {
    let home = started();
    block_on(async {
        let client = acting(&home, &technician()).await;
        let names = |name: &str| vec![name.to_owned()];
        denied(client.stop(StopRequest { names: names("theirs"), ..Default::default() }).await.map(drop));
        denied(client.up(UpRequest::default()).await.map(drop));
        denied(client.start(StartRequest { names: names("nothing"), ..Default::default() }).await.map(drop));
        let mut stopped =
            client.stop(StopRequest { names: names("mine"), ..Default::default() }).await.unwrap();
        while let Some(message) = stopped.next().await {
            message.unwrap();
        }
    });
    let events = home.ctl(&["events", "mine", "--json"]).code(0).out;
    assert!(
        events.contains("Ada (user 5f3c) from 127.0.0.1 uid 1000, request req-7, through uid"),
        "{events}"
    );
}

#[test]
fn a_start_starts_nothing_that_was_stopped_and_is_not_theirs() {
    let home = started();
    home.write("instance/helm.conf", "[roles]\ntechnician.operate = needs\n");
    home.ctl(&["reload"]).code(0);
    home.ctl(&["stop", "needs", "theirs"]).code(0);
    block_on(async {
        let client = acting(&home, &technician()).await;
        let start = || StartRequest { names: vec!["needs".into()], ..Default::default() };
        assert!(denied(client.start(start()).await.map(drop)).contains("needs `theirs`"));
        home.ctl(&["start", "theirs", "--no-wait"]).code(0);
        assert!(client.start(start()).await.is_ok());
    });
}

#[test]
fn permissions_say_what_helmd_does() {
    let home = started();
    block_on(async {
        let answer = access(&acting(&home, &technician()).await).await.permissions().await.unwrap();
        let of = |action: &str| answer.permissions.iter().find(|p| p.action == action).unwrap();
        assert_eq!((of("logs").all, &of("logs").services[..]), (false, &["mine".to_owned()][..]));
        assert!(!of("audit").all && of("audit").services.is_empty());
        let admin =
            access(&acting(&home, &principal("session", "")).await).await.permissions().await.unwrap();
        assert!(admin.permissions.iter().all(|p| p.all));
        let nobody: Result<_, ClientError> = access(&super::web(&home).await).await.permissions().await;
        assert!(denied(nobody).contains("principal"));
    });
}
