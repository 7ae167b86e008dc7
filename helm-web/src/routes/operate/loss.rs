//! What is lost while a service is down on which others stand: said before it is stopped over HTTP.

/// Ports of databases.
const DATABASE_PORTS: [u32; 6] = [3306, 5432, 6379, 7474, 7687, 27017];
/// What names of databases hold.
const DATABASES: [&str; 8] =
    ["postgres", "mysql", "mariadb", "redis", "neo4j", "mongo", "sqlserver", "database"];

/// What a stop of this service takes from others; `None`: only the service itself.
#[must_use]
pub(super) fn of(name: &str, port: Option<u32>) -> Option<&'static str> {
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
}
