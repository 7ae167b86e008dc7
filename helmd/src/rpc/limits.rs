//! What keeps the limits of services, for the status and the check of the configuration.

use std::sync::Arc;

use helm_core::spec::guard::{self, Controllers, Guard, InForce, Means};
use helm_core::spec::{Config, Fault, Limits, ServiceSpec, Severity};
use helm_core::status::RunId;
use helm_proto::v1;

use crate::cgroup::Cgroups;
use crate::limits;
use crate::supervisor::FleetView;
use crate::work;

/// Adds to each status what keeps the limits of its service: of the run that lives as the kernel has it, else as a start
/// would give it.
pub(super) async fn tell(
    services: &mut [v1::ServiceStatus],
    view: &FleetView,
    specs: &[Arc<ServiceSpec>],
    cgroups: &Cgroups,
) {
    for service in services {
        let Some(spec) = specs.iter().find(|spec| spec.name.as_str() == service.name) else { continue };
        if spec.limits == Limits::default() {
            continue;
        }
        let live = view.get(&service.name).and_then(|status| Some((status.run?, status.pid?)));
        // Where it cannot be looked at, nothing is said of it.
        let Ok(guards) = guards(spec.clone(), live, cgroups.clone()).await else { continue };
        service.limits = guards.into_iter().map(limit).collect();
    }
}

async fn guards(
    spec: Arc<ServiceSpec>,
    live: Option<(RunId, u32)>,
    cgroups: Cgroups,
) -> std::io::Result<Vec<Guard>> {
    let look = move || {
        let in_force = match live {
            Some((run, main)) => limits::in_force(&cgroups, &spec, run, main),
            None => InForce::by_a_start(&spec.limits, cgroups.controllers),
        };
        Ok(guard::guards(&spec.limits, &in_force, cgroups.controllers))
    };
    work::LIMITS.run(look).await
}

fn limit(guard: Guard) -> v1::Limit {
    let Guard { limit, value, means, words } = guard;
    v1::Limit { name: limit.to_owned(), value, means: means.as_str().to_owned(), words }
}

/// Limits that nothing would keep.
pub(super) fn not_in_force(config: &Config, there: Controllers) -> Vec<Fault> {
    let of = |spec: &ServiceSpec| {
        let guards = guard::guards(&spec.limits, &InForce::by_a_start(&spec.limits, there), there);
        let lost = guards.into_iter().filter(|guard| guard.means == Means::Nothing);
        let fault = |guard: Guard| Fault {
            file: "services.json".to_owned(),
            line: 0,
            column: 0,
            field: format!("services.{}.limits.{}", spec.name, guard.limit),
            severity: Severity::Warning,
            message: format!("{} is {}", guard.value, guard.words),
            hint: String::new(),
        };
        lost.map(fault).collect::<Vec<_>>()
    };
    config.services.iter().flat_map(of).collect()
}
