//! What a reload would do, in words.

use helm_core::reload::{Action, Reach, Step, steps};
use helm_core::spec::{Changes, Config, Fault, Kind, Program};

use crate::supervisor::FleetView;

/// The service that reads the directory at its start alone, and shows it to people (contract 3.3).
const GATEWAY: &str = "nexus";

/// What an operator wants of a reload.
#[derive(Debug, Clone, Copy)]
pub struct Wants {
    /// What runs may be restarted or stopped.
    pub restart: bool,
    /// What is new may be started.
    pub start: bool,
}

/// What is different, and what is to be done.
#[derive(Debug)]
pub struct Plan {
    /// The files can be run by.
    pub ok: bool,
    /// What is wrong with them, warnings as well.
    pub faults: Vec<Fault>,
    /// What is different.
    pub changes: Changes,
    /// One for each service that is different.
    pub steps: Vec<Step>,
    /// What else is to be known.
    pub notes: Vec<String>,
    /// The number of the configuration in force.
    pub current: Option<u64>,
}

impl Plan {
    /// Of files that nothing is done with.
    pub(super) fn faulty(faults: Vec<Fault>, current: Option<u64>) -> Self {
        Self { ok: false, faults, changes: Changes::default(), steps: Vec::new(), notes: Vec::new(), current }
    }

    pub(super) fn of(
        changes: Changes,
        new: &Config,
        faults: Vec<Fault>,
        view: &FleetView,
        wants: Wants,
        current: Option<u64>,
    ) -> Self {
        let reach = Reach { restart: wants.restart, start: wants.start, hold: view.hold };
        let state = |name: &helm_core::name::ServiceName| {
            view.get(name.as_str()).map(|status| (status.state, status.wanted))
        };
        let steps = steps(&changes, state, reach);
        let notes = if changes.directory { of_directory(&changes, &steps, new) } else { Vec::new() };
        Self { ok: true, faults, changes, steps, notes, current }
    }
}

/// What services are told about each other is different: their copies of it are written, and one of them must be restarted
/// to see it.
fn of_directory(changes: &Changes, steps: &[Step], new: &Config) -> Vec<String> {
    let told = |spec: &&helm_core::spec::ServiceSpec| matches!(spec.program, Some(Program::Python { .. }));
    let names: Vec<&str> = new.services.iter().filter(told).map(|spec| spec.name.as_str()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut notes = vec![format!("the services.json of {} is written anew", names.join(", "))];
    let restarts = steps.iter().any(|s| s.name.as_str() == GATEWAY && s.action == Action::Restart);
    let new_ones = changes.services.iter().filter(|change| change.kind == Kind::Added);
    let new_ones: Vec<&str> = new_ones.map(|change| change.name.as_str()).collect();
    if names.contains(&GATEWAY) && !new_ones.is_empty() && !restarts {
        notes.push(format!(
            "{GATEWAY} reads its services.json when it starts: it does not see {} before helmctl restart {GATEWAY}",
            new_ones.join(", ")
        ));
    }
    notes
}
