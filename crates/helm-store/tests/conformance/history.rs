//! States and events.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that goes wrong")]

use helm_store::history::{EventFilter, EventRow, StatusRow};

use super::{Database, INSTANCE};

/// 2023-11-14 22:13:20.000001 UTC
const T0: i64 = 1_700_000_000_000_001_000;

pub(crate) fn status(service: &str, status: &str) -> StatusRow {
    StatusRow {
        service: service.into(),
        status: status.into(),
        pid: Some(42),
        port: None,
        started_at: Some(T0),
        checked_at: T0 + 1_000_000_000,
        health: Some("healthy".into()),
        health_message: None,
        cpu_percent: Some(12.5),
        memory_mb: None,
    }
}

fn event(id: u64, service: &str) -> EventRow {
    let at = T0 + i64::try_from(id).unwrap();
    EventRow { id, at, service: service.into(), kind: "state".into(), body: format!("{{\"n\":{id}}}") }
}

fn ids(events: &[EventRow]) -> Vec<u64> {
    events.iter().map(|event| event.id).collect()
}

pub(crate) async fn states_are_replaced_and_look_as_the_seed_had_them(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    engine.put_status(&[]).await.unwrap();
    engine.put_status(&[status("core", "running"), status("nexus", "running")]).await.unwrap();
    let stopped = StatusRow { pid: None, started_at: None, ..status("nexus", "stopped") };
    engine.put_status(&[status("nexus", "error"), stopped.clone()]).await.unwrap();
    assert_eq!(engine.states().await.unwrap(), [status("core", "running"), stopped]);
    drop(engine);
    let rows = database
        .look(
            "SELECT service_name || ' ' || status || ' ' || coalesce(CAST(pid AS text), '-') || ' ' || coalesce(CAST(port AS text), '-')
                    || ' ' || coalesce(CAST(started_at AS text), '-') || ' ' || CAST(last_checked AS text) || ' ' || health_status
                    || ' ' || coalesce(health_message, '-') || ' ' || CAST(cpu_percent AS text) || ' ' || coalesce(CAST(memory_mb AS text), '-')
             FROM service_status ORDER BY id",
        )
        .await;
    let rows: Vec<String> = rows.iter().map(|row| row.replace('T', " ")).collect();
    let expected = [
        "core running 42 - 2023-11-14 22:13:20.000001 2023-11-14 22:13:21.000001 healthy - 12.5 -",
        "nexus stopped - - - 2023-11-14 22:13:21.000001 healthy - 12.5 -",
    ];
    assert_eq!(rows, expected);
}

pub(crate) async fn events_stay_as_they_were_first(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    assert_eq!(engine.last_event().await.unwrap(), 0);
    engine.put_events(&[]).await.unwrap();
    engine.put_events(&[event(1, "core"), event(2, "core")]).await.unwrap();
    let altered = EventRow { body: "{}".into(), ..event(2, "core") };
    engine.put_events(&[altered, event(3, "nexus")]).await.unwrap();
    assert_eq!(engine.last_event().await.unwrap(), 3);
    drop(engine);
    let again = database.open_beside(INSTANCE).await;
    let all = again.events(&EventFilter { limit: 10, ..EventFilter::default() }).await.unwrap();
    assert_eq!(all, [event(3, "nexus"), event(2, "core"), event(1, "core")]);
}

pub(crate) async fn events_are_found_and_paged(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    let names = ["core", "nexus", "it's"];
    // More than fit one statement.
    let events: Vec<EventRow> = (1..=450).map(|id| event(id, names[id as usize % 3])).collect();
    engine.put_events(&events).await.unwrap();
    let of = |filter: EventFilter| {
        let engine = engine.clone();
        async move { ids(&engine.events(&filter).await.unwrap()) }
    };
    let all = EventFilter { limit: 1_000, ..EventFilter::default() };
    assert_eq!(of(all.clone()).await, (1..=450).rev().collect::<Vec<_>>());
    let times = EventFilter { since: Some(T0 + 10), until: Some(T0 + 13), ..all.clone() };
    assert_eq!(of(times.clone()).await, [12, 11, 10]);
    let services = vec!["core".into(), "it's".into(), "nobody".into()];
    assert_eq!(of(EventFilter { services, ..times }).await, [12, 11]);
    let exits = EventFilter { kind: Some("exit".into()), limit: 2, ..all.clone() };
    assert!(of(exits.clone()).await.is_empty());
    let exit = |id| EventRow { kind: "exit".into(), ..event(id, "core") };
    engine.put_events(&[exit(451), exit(452), event(453, "core"), exit(454)]).await.unwrap();
    assert_eq!(of(exits.clone()).await, [454, 452]);
    assert_eq!(of(EventFilter { before: Some(452), ..exits }).await, [451]);
    let all = EventFilter { before: Some(451), ..all };
    let (mut read, mut before) = (Vec::new(), Some(451));
    loop {
        let page = of(EventFilter { before, limit: 99, services: vec!["nexus".into()], ..all.clone() }).await;
        let Some(last) = page.last() else { break };
        before = Some(*last);
        read.extend(page);
    }
    assert_eq!(read, (1..=450).rev().filter(|id| id % 3 == 1).collect::<Vec<_>>());
}

pub(crate) async fn old_events_go(database: &dyn Database) {
    let engine = database.open_beside(INSTANCE).await;
    // More than go at once.
    let events: Vec<EventRow> = (1..=6_000).map(|id| event(id, "core")).collect();
    engine.put_events(&events).await.unwrap();
    assert_eq!(engine.forget_events(T0 + 5_999).await.unwrap(), 5_998);
    let rest = engine.events(&EventFilter { limit: 10, ..EventFilter::default() }).await.unwrap();
    assert_eq!(ids(&rest), [6_000, 5_999]);
    assert_eq!(engine.last_event().await.unwrap(), 6_000);
}
