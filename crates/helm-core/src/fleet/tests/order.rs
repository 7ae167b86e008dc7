//! Conditions, and who waits for whom.

use super::*;

#[test]
fn a_start_takes_along_what_it_needs_in_order() {
    let mut s = Script::new(chain());
    s.start("nexus").expect(&["start keycloak#1"]);
    s.is("core", State::Blocked, "waits for keycloak (starting)");
    s.is("nexus", State::Blocked, "waits for core (blocked)");
    assert_eq!(s.status("nexus").waits_for, [name("core")]);
    s.started("keycloak").expect(&["probe keycloak#1 readiness"]);
    s.answer("keycloak", READINESS, Health::Healthy).expect(&["start core#2"]);
    assert_eq!(s.verdict("nexus"), Verdict::Pending("waits for core (starting)".into()));
    s.started("core")
        .answer("core", READINESS, Health::Degraded)
        .expect(&["probe core#2 readiness", "start nexus#3"]);
    s.started("nexus").answer("nexus", READINESS, Health::Healthy);
    assert_eq!(s.done("nexus"), "started");
    assert!(s.status("nexus").waits_for.is_empty());
}

#[test]
fn waiting_is_recorded_with_its_cause() {
    let mut s = Script::all([probed("a"), needs(svc("b"), &[("a", Ready)])]);
    s.started("a").answer("a", READINESS, Health::Healthy).started("b");
    let changes = s.changes();
    let of_b = changes.iter().filter(|c| c.kind == ChangeKind::State && c.service.as_str() == "b");
    let lines: Vec<String> = of_b.map(|c| format!("{} -> {}: {}", c.from, c.to, c.cause)).collect();
    let want = [
        "stopped -> blocked: waits for a (starting)",
        "blocked -> starting: what it waited for is there",
        "starting -> running: its program runs",
    ];
    assert_eq!(lines, want);
}

#[test]
fn started_is_satisfied_by_a_process() {
    let mut s = pair(probed("a"), Started);
    s.started("a").expect(&["probe a#1 readiness", "start b#2"]);
}

#[test]
fn ready_is_not_satisfied_by_a_process_alone() {
    let mut s = pair(probed("a"), Ready);
    s.started("a").expect(&["probe a#1 readiness"]).is("b", State::Blocked, "waits for a (starting)");
    s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
}

#[test]
fn healthy_is_more_than_ready() {
    let mut s = pair(probed("a"), Healthy);
    s.started("a").answer("a", READINESS, Health::Degraded).expect(&["probe a#1 readiness"]);
    s.is("b", State::Blocked, "waits for a (running, degraded)");
    s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
}

#[test]
fn healthy_needs_ready_too() {
    let readiness = Some(probe(http("/"), 2, 1));
    let spec = with_probes("a", crate::spec::Probes { readiness, ..Default::default() });
    let mut s = pair(spec, Healthy);
    s.started("a").answer("a", READINESS, Health::Healthy).expect(&["probe a#1 readiness"]);
    s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
}

#[test]
fn completed_needs_a_success() {
    let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..svc("a") };
    let mut s = pair(once, Completed);
    s.started("a").expect(&[]).is("b", State::Blocked, "waits for a (running, must complete)");
    s.died("a", Exit::Code(1)).expect(&["stop a#1"]).is("b", State::Blocked, "waits for a (backoff)");
    s.after(secs(1)).started("a").died("a", Exit::Code(0)).expect(&[
        "start a#2",
        "stop a#2",
        "retire a",
        "start b#3",
    ]);
}

#[test]
fn what_is_completed_satisfies_every_condition() {
    for condition in [Started, Ready, Healthy, Completed] {
        let once = ServiceSpec { restart: RestartPolicy::OnFailure, ..probed("a") };
        let mut s = pair(once, condition);
        s.ended("a", Exit::Code(0)).empty("a");
        assert_eq!(s.status("b").state, State::Starting, "{condition:?}");
    }
}

#[test]
fn a_wait_goes_on_through_restarts_and_counts_for_nothing() {
    let backoff = Backoff { limit: Some(1), jitter: 0.0, ..Backoff::default() };
    let mut s = Script::all([probed("a"), ServiceSpec { backoff, ..needs(svc("b"), &[("a", Ready)]) }]);
    s.started("a").died("a", Exit::Code(1)).is("b", State::Blocked, "waits for a (backoff)");
    s.after(secs(1)).is("b", State::Blocked, "waits for a (starting)");
    s.started("a").answer("a", READINESS, Health::Healthy).started("b").is("b", State::Running, "ready");
    assert_eq!(s.status("b").restarts, 0);
}

#[test]
fn a_dependent_that_runs_is_never_touched() {
    let mut s = chain_running();
    s.after(secs(60)).died("keycloak", Exit::Signal(9));
    s.expect(&["unprobe keycloak readiness", "stop keycloak#1", "start keycloak#4"]);
    s.is("core", State::Running, "ready").is("nexus", State::Running, "ready");
    s.stop("keycloak").started("keycloak").died("keycloak", Exit::Signal(15)).after(secs(999)).is(
        "core",
        State::Running,
        "ready",
    );
}

#[test]
fn a_dependent_that_restarts_waits_for_its_dependency() {
    let mut s = chain_running();
    s.after(secs(60)).stop("core").died("core", Exit::Signal(15)).died("nexus", Exit::Code(1));
    s.is(
        "nexus",
        State::Blocked,
        "not started: core is not to run (stopped by uid 7; was ended by signal 15 (SIGTERM) after 60 s)",
    );
    assert_eq!(s.status("nexus").restarts, 1);
    s.done_so_far();
    s.start("core").started("core").answer("core", READINESS, Health::Healthy);
    s.expect(&["start core#4", "probe core#4 readiness", "start nexus#5"]);
}

#[test]
fn one_that_is_not_ready_any_more_holds_new_dependents_back() {
    let mut s = chain_running();
    s.answer("core", READINESS, Health::Unhealthy).answer("core", READINESS, Health::Unhealthy);
    s.after(secs(60)).died("nexus", Exit::Code(1)).is(
        "nexus",
        State::Blocked,
        "waits for core (running, not ready)",
    );
}

#[test]
fn a_backoff_that_is_over_still_waits() {
    let mut s = chain_running();
    s.died("nexus", Exit::Code(1)).died("core", Exit::Code(1));
    s.is("nexus", State::Backoff, "exited with code 1 after 0.0 s; waits in backoff 1");
    s.after(secs(1)).is("nexus", State::Blocked, "waits for core (starting)");
}

#[test]
fn an_external_service_that_is_ready_counts_as_up() {
    let mut s = Script::all([probed("a"), needs(svc("b"), &[("a", Ready)])]);
    s.occupied("a").expect(&["start a#1", "watch a#1", "probe a#1 readiness"]);
    s.is("b", State::Blocked, "waits for a (external, not ready)");
    s.answer("a", READINESS, Health::Healthy).expect(&["start b#2"]);
}

#[test]
fn a_directory_entry_never_satisfies() {
    let directory = ServiceSpec { program: None, ..svc("a") };
    let mut s = Script::all([directory, needs(svc("b"), &[("a", Started), ("gone", Started)])]);
    s.expect(&[]).is("b", State::Blocked, "not started: a is an entry of the directory, without a program");
}

#[test]
fn all_lacks_are_named() {
    let mut s = Script::all([svc("a"), svc("b"), needs(svc("c"), &[("a", Ready), ("b", Ready)])]);
    s.is("c", State::Blocked, "waits for a (starting), b (starting)").started("a");
    s.is("c", State::Blocked, "waits for b (starting)");
    assert_eq!(s.status("c").waits_for, [name("b")]);
}
