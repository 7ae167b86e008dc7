//! Several services, as scripts.

mod asks;
mod goals;
mod order;
mod read_model;
mod slots;
mod stopping;

use std::time::Duration;

use super::testing::*;
use crate::ask::{Ask, Refusal, plan};
use crate::event::{ChangeKind, Effect, Event};
use crate::exit::Exit;
use crate::goal::{Goal, Verdict};
use crate::spec::Condition::{self, Completed, Healthy, Ready, Started};
use crate::spec::{Backoff, Program, RestartPolicy, ServiceSpec};
use crate::status::{Health, RunId, State};
use crate::wish::{Mode, Wish, Wishes};

/// nexus needs core needs keycloak; all with a readiness probe.
fn chain() -> [ServiceSpec; 3] {
    [
        probed("keycloak"),
        needs(probed("core"), &[("keycloak", Ready)]),
        needs(probed("nexus"), &[("core", Ready)]),
    ]
}

fn chain_running() -> Script {
    let mut s = Script::new(chain());
    s.start("nexus");
    for name in ["keycloak", "core", "nexus"] {
        s.started(name).answer(name, READINESS, Health::Healthy);
    }
    s.done_so_far();
    s
}

/// `b` needs `a` under `condition`.
fn pair(a: ServiceSpec, condition: Condition) -> Script {
    let mut s = Script::all([a, needs(svc("b"), &[("a", condition)])]);
    s.expect(&["start a#1"]);
    s
}
