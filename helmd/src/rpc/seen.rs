//! How much of a service somebody sees: all, its numbers, or its name and state.

use helm_core::access::{Action, Scope};
use helm_proto::v1::{InfoResponse, ServiceInfo, ServiceStatus};

use super::caller::Caller;

/// How much of which services.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    whole: Scope,
    numbers: Scope,
    names: Scope,
}

/// How much of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Whole,
    Numbers,
    Name,
}

impl Sight {
    /// Of this caller.
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            whole: caller.scope(Action::Status),
            numbers: caller.scope(Action::Scrape),
            names: caller.scope(Action::Services),
        }
    }

    fn seen(&self, service: &str) -> Option<Seen> {
        let sights = [(&self.whole, Seen::Whole), (&self.numbers, Seen::Numbers), (&self.names, Seen::Name)];
        sights.into_iter().find(|(scope, _)| scope.holds(service)).map(|(_, seen)| seen)
    }

    /// Anything of it.
    pub(super) fn holds(&self, service: &str) -> bool {
        self.seen(service).is_some()
    }

    /// As much of a status as may be seen.
    pub(super) fn status(&self, status: ServiceStatus) -> Option<ServiceStatus> {
        Some(match self.seen(&status.name)? {
            Seen::Whole => status,
            Seen::Numbers => numbers(status),
            Seen::Name => name_and_state(status),
        })
    }

    /// As much of a definition as may be seen.
    pub(super) fn info(&self, info: ServiceInfo) -> Option<ServiceInfo> {
        Some(match self.seen(&info.name)? {
            Seen::Whole => info,
            Seen::Numbers | Seen::Name => ServiceInfo {
                name: info.name,
                visible: info.visible,
                admin_only: info.admin_only,
                billing_or_admin_only: info.billing_or_admin_only,
                ..ServiceInfo::default()
            },
        })
    }
}

/// What helmd is, without where and how it lives, for whoever may not see the configuration.
pub(super) fn info(info: InfoResponse, caller: &Caller) -> InfoResponse {
    if caller.scope(Action::Configuration) == Scope::All {
        return info;
    }
    let alerts = if caller.scope(Action::Status) == Scope::All { info.alerts } else { Vec::new() };
    InfoResponse {
        version: info.version,
        started_at: info.started_at,
        hold: info.hold,
        default_mode: info.default_mode,
        warnings: alerts.clone(),
        alerts,
        ..InfoResponse::default()
    }
}

fn name_and_state(status: ServiceStatus) -> ServiceStatus {
    ServiceStatus {
        name: status.name,
        state: status.state,
        status: status.status,
        wanted: status.wanted,
        ready: status.ready,
        revision: status.revision,
        ..ServiceStatus::default()
    }
}

/// No sentences, no addresses: what a graph needs.
fn numbers(status: ServiceStatus) -> ServiceStatus {
    ServiceStatus {
        health: status.health.clone(),
        health_latency_us: status.health_latency_us,
        completed: status.completed,
        started_at: status.started_at,
        since: status.since,
        restarts: status.restarts,
        cpu_percent: status.cpu_percent,
        memory_bytes: status.memory_bytes,
        uptime_seconds: status.uptime_seconds,
        mode: status.mode.clone(),
        ..name_and_state(status)
    }
}

#[cfg(test)]
mod tests {
    use helm_core::name::ServiceName;

    use super::*;

    fn only(name: &str) -> Scope {
        [ServiceName::new(name).unwrap()].into_iter().collect()
    }

    fn status(name: &str) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: "running".into(),
            reason: "asked for".into(),
            url: Some("http://x".into()),
            memory_bytes: Some(1),
            ..Default::default()
        }
    }

    #[test]
    fn each_sees_as_much_as_it_may() {
        let sight = Sight { whole: only("a"), numbers: only("b"), names: only("c") };
        let whole = sight.status(status("a")).unwrap();
        assert_eq!(whole, status("a"));
        let numbers = sight.status(status("b")).unwrap();
        assert_eq!((numbers.memory_bytes, numbers.url, &*numbers.reason), (Some(1), None, ""));
        let name = sight.status(status("c")).unwrap();
        assert_eq!((&*name.state, name.memory_bytes, name.url), ("running", None, None));
        assert!(sight.status(status("d")).is_none() && !sight.holds("d"));
        let info = |name: &str| ServiceInfo { name: name.into(), path: "/srv".into(), ..Default::default() };
        assert_eq!(sight.info(info("a")).unwrap().path, "/srv");
        assert_eq!(sight.info(info("c")).unwrap().path, "");
        assert!(sight.info(info("d")).is_none());
    }
}
