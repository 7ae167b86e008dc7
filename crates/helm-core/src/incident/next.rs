//! What a person does next.

use super::{Follows, Incident, What};
use crate::exit::Exit;
use crate::name::ServiceName;
use crate::status::{ServiceStatus, State};

/// What can be done about a service, by its state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps<'a> {
    name: &'a ServiceName,
    /// It does not come by itself.
    down: bool,
}

impl<'a> Steps<'a> {
    pub(super) fn of(status: &'a ServiceStatus) -> Self {
        let down = matches!(status.state, State::Failed | State::NotInstalled);
        Self { name: &status.name, down }
    }

    /// What is mended takes effect by this.
    fn then_start(self) -> String {
        let name = self.name;
        if self.down { format!(", then helmctl start {name}") } else { String::new() }
    }

    /// Where nothing is to be mended before.
    fn again(self) -> String {
        let name = self.name;
        if self.down { format!("; helmctl start {name} starts it again") } else { String::new() }
    }
}

/// After an incident: what mends it, then how it is started again, where it does not come by itself.
pub(super) fn after(incident: &Incident, steps: Steps<'_>) -> Vec<String> {
    let (name, then) = (steps.name, steps.then_start());
    if incident.out_of_memory() {
        return vec![memory(incident, name, &then)];
    }
    match &incident.mishap.what {
        What::Ended { exit, .. } => ended(*exit, incident, steps),
        What::Unwell { why, .. } if why.starts_with("was not ready") => vec![
            format!("mend what its probe says (helmctl output {name} -n 50){then}"),
            format!(
                "where it only needs longer: start_timeout of {name} in services.json, then helmctl reload"
            ),
        ],
        What::Unwell { .. } => vec![
            format!("mend what its probe says (helmctl output {name} -n 50){then}"),
            format!("where the probe is too strict: probes of {name} in services.json, then helmctl reload"),
        ],
        What::NotStarted { .. } if incident.mishap.follows == Follows::Stays => {
            vec![format!("install it or mend {name} in services.json (helmctl reload){then}")]
        }
        What::NotStarted { .. } => {
            vec![format!("mend that; Helm tries again (helmctl kick {name}: at once)")]
        }
        What::NotInstalled { .. } => {
            vec![format!("put it there, or mend the path of {name} in services.json (helmctl reload){then}")]
        }
    }
}

fn memory(incident: &Incident, name: &ServiceName, then: &str) -> String {
    if incident.evidence.memory_limit.is_some() {
        format!(
            "raise limits.memory of {name} in services.json, then helmctl reload; or find what fills it{then}"
        )
    } else {
        format!(
            "the whole host had no memory left: helmctl top shows who has it; limits.memory keeps a service within bounds{then}"
        )
    }
}

fn ended(exit: Exit, incident: &Incident, steps: Steps<'_>) -> Vec<String> {
    let (name, then) = (steps.name, steps.then_start());
    match exit {
        Exit::Code(0) => vec![format!(
            "if it was done: \"restart\": \"on-failure\" for {name}; if it went into the background: keep it in the foreground"
        )],
        Exit::Code(_) => vec![format!("mend what its last words say (helmctl output {name} -n 50){then}")],
        Exit::Signal(4 | 6 | 7 | 8 | 11) => vec![format!(
            "a fault in the program: read helmctl output {name} -n 50 (limits.core allows core dumps){then}"
        )],
        Exit::Signal(_) if asked_by_signal(incident) => {
            vec![format!("nothing is to be mended: it was sent through Helm{}", steps.again())]
        }
        Exit::Signal(_) => vec![format!(
            "find out who sent it past Helm (a script, a person); helmctl stop {name} is how it stays down{}",
            steps.again()
        )],
        Exit::Unknown => vec![format!("helmctl output {name} -n 50 shows what it said at last{then}")],
    }
}

/// `helmctl signal` was used shortly before.
fn asked_by_signal(incident: &Incident) -> bool {
    let own = incident.evidence.before.iter().filter(|told| told.service.is_none());
    own.rev().any(|told| told.text.starts_with("SIG") && told.text.contains(" sent by "))
}
