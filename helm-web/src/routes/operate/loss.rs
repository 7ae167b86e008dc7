//! What is lost while a service is down on which others stand: said before it is taken away over HTTP.

use std::collections::BTreeSet;

use helm_proto::v1::ServiceInfo;

/// Ports of databases.
const DATABASE_PORTS: [u32; 6] = [3306, 5432, 6379, 7474, 7687, 27017];
/// What names of databases hold.
const DATABASES: [&str; 8] =
    ["postgres", "mysql", "mariadb", "redis", "neo4j", "mongo", "sqlserver", "database"];
/// A dependency that is over once it was met: nothing stands on it any more.
const COMPLETED: &str = "completed";

/// What is lost while `name` is down, in words: by itself, and by what runs and needs it, directly or not. Empty: only the service itself.
/// `running`: names of services that run.
#[must_use]
pub(super) fn of_closure(name: &str, services: &[ServiceInfo], running: &BTreeSet<String>) -> Vec<String> {
    let dependents = dependents(name, services);
    let touched = services.iter().filter(|service| {
        (service.name == name || dependents.contains(service.name.as_str()))
            && running.contains(&service.name)
    });
    let words = touched.filter_map(|service| {
        let lost = of(&service.name, service.port)?;
        if service.name == name {
            return Some(lost.to_owned());
        }
        Some(format!("{} needs {name}, and may fail without it: {lost}", service.name))
    });
    words.collect()
}

/// Who needs it, directly or not.
fn dependents<'a>(name: &'a str, services: &'a [ServiceInfo]) -> BTreeSet<&'a str> {
    let (mut found, mut new) = (BTreeSet::new(), vec![name]);
    while let Some(needed) = new.pop() {
        let needs = |service: &&ServiceInfo| {
            service.depends_on.iter().any(|on| on.service == needed && on.condition != COMPLETED)
        };
        for service in services.iter().filter(needs) {
            if service.name != name && found.insert(service.name.as_str()) {
                new.push(&service.name);
            }
        }
    }
    found
}

/// What a stop of this service takes from others; `None`: only the service itself.
fn of(name: &str, port: Option<u32>) -> Option<&'static str> {
    match name {
        "nexus" => Some(
            "nobody reaches the services with a browser while nexus is down, this page included; http://127.0.0.1:5004 and helmctl still work on the host",
        ),
        "core" => Some(
            "nobody can sign in while core is down, who is signed in is signed out within minutes, and services get no tokens: what they log over HTTP meanwhile is lost",
        ),
        "keycloak" => Some(
            "nobody can sign in while keycloak is down; who is signed in goes on until the session ends, an hour at most",
        ),
        _ if is_database(name, port) => Some(
            "services that keep their data there fail until it is back, and what they are writing now may be lost",
        ),
        _ => None,
    }
}

fn is_database(name: &str, port: Option<u32>) -> bool {
    port.is_some_and(|port| DATABASE_PORTS.contains(&port))
        || DATABASES.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use helm_proto::v1::DependencyInfo;

    use super::*;

    #[test]
    fn what_others_stand_on_is_known_by_name_or_port() {
        for (name, port) in [
            ("nexus", None),
            ("core", Some(5000)),
            ("keycloak", None),
            ("hive-postgresql", None),
            ("store", Some(5432)),
        ] {
            assert!(of(name, port).is_some(), "{name}");
        }
        for (name, port) in [("codex", Some(5010)), ("ledger", None), ("core-worker", None)] {
            assert_eq!(of(name, port), None, "{name}");
        }
    }

    #[test]
    fn what_runs_and_needs_it_is_looked_at_too() {
        let service = |name: &str, on: &[(&str, &str)]| ServiceInfo {
            name: name.into(),
            depends_on: on
                .iter()
                .map(|(service, condition)| DependencyInfo {
                    service: (*service).into(),
                    condition: (*condition).into(),
                })
                .collect(),
            ..ServiceInfo::default()
        };
        let services = [
            service("cache", &[("nexus", "started")]),
            service("migrate", &[]),
            service("core", &[("cache", "ready"), ("migrate", "completed")]),
            service("nexus", &[("core", "healthy")]),
            service("codex", &[("nexus", "started")]),
        ];
        let running = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let all = running(&["cache", "migrate", "core", "nexus", "codex"]);
        let lost = of_closure("cache", &services, &all);
        assert!(lost.len() == 2 && lost[0].starts_with("core needs cache") && lost[1].starts_with("nexus "));
        assert!(of_closure("core", &services, &all)[0].starts_with("nobody can sign in"));
        assert!(of_closure("migrate", &services, &all).is_empty(), "it is over: nothing stands on it");
        assert_eq!(of_closure("cache", &services, &running(&["cache", "nexus"])).len(), 1);
        assert!(of_closure("core", &services, &running(&["cache"])).is_empty(), "it does not run");
    }
}
