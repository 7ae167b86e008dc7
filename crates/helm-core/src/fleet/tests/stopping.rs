//! The order of stops and restarts.

use super::*;

#[test]
fn down_stops_in_reverse_order() {
    let mut s = chain_running();
    s.down().expect(&["unprobe nexus readiness", "stop nexus#3"]);
    s.is("core", State::Running, "is to stop after nexus").is(
        "keycloak",
        State::Running,
        "is to stop after core, nexus",
    );
    assert_eq!(s.status("keycloak").waits_for, [name("core"), name("nexus")]);
    s.ended("nexus", Exit::Signal(15)).expect(&["stop nexus#3"]).empty("nexus");
    s.expect(&["retire nexus", "unprobe core readiness", "stop core#2"]);
    s.died("core", Exit::Signal(15));
    s.expect(&["stop core#2", "retire core", "unprobe keycloak readiness", "stop keycloak#1"]);
    s.died("keycloak", Exit::Signal(15)).expect(&["stop keycloak#1", "retire keycloak"]);
    assert_eq!(s.done("keycloak"), "stopped");
    assert!(s.fleet.hold());
}

fn helm_web() -> ServiceSpec {
    ServiceSpec { program: Some(Program::HelmWeb { port: 5004 }), ..svc("helm") }
}

#[test]
fn down_stops_helm_web_before_all_that_it_serves() {
    let mut s = Script::all([svc("base"), helm_web(), needs(svc("app"), &[("base", Started)])]);
    s.expect(&["start base#1", "start helm#2"]).started("helm").started("base").started("app");
    s.done_so_far();
    s.down().expect(&["stop helm#2"]).is("base", State::Running, "is to stop after helm, app");
    s.died("helm", Exit::Code(0)).expect(&["stop helm#2", "retire helm", "stop app#3"]);
    // Nobody waits for it while it stays.
    let mut s = Script::all([svc("base"), helm_web()]);
    s.started("base").started("helm").done_so_far();
    s.stop("base").expect(&["stop base#1"]);
}

#[test]
fn what_needs_helm_web_stops_before_it() {
    let mut s = Script::all([helm_web(), needs(svc("shipper"), &[("helm", Started)]), svc("other")]);
    s.started("helm").started("other").started("shipper").done_so_far();
    s.down().expect(&["stop shipper#3"]).is("other", State::Running, "is to stop after helm");
    s.died("shipper", Exit::Code(0)).expect(&["stop shipper#3", "retire shipper", "stop helm#1"]);
    s.died("helm", Exit::Code(0)).expect(&["stop helm#1", "retire helm", "stop other#2"]);
}

#[test]
fn the_wishes_outlive_a_hold() {
    let mut s = chain_running();
    s.down().ask(Ask::Up { names: vec![], mode: None, as_wanted: true });
    assert!(!s.fleet.hold());
    s.died("nexus", Exit::Signal(15));
    s.expect(&["unprobe nexus readiness", "stop nexus#3", "stop nexus#3", "start nexus#4"]);
    s.is("core", State::Running, "ready");
    assert!(s.status("core").waits_for.is_empty());
}

#[test]
fn nobody_waits_for_dependents_that_stay() {
    let mut s = chain_running();
    s.stop("core").expect(&["unprobe core readiness", "stop core#2"]);
}

#[test]
fn the_order_holds_through_a_service_that_is_down_already() {
    let mut s = chain_running();
    s.stop("core").died("core", Exit::Signal(15)).done_so_far();
    s.down().expect(&["unprobe nexus readiness", "stop nexus#3"]);
    s.is("keycloak", State::Running, "is to stop after nexus");
}

#[test]
fn a_restart_of_all_goes_down_in_reverse_and_up_in_order() {
    let mut s = chain_running();
    s.restart(&["keycloak", "nexus"]).expect(&["unprobe nexus readiness", "stop nexus#3"]);
    s.died("nexus", Exit::Signal(15)).expect(&[
        "stop nexus#3",
        "unprobe keycloak readiness",
        "stop keycloak#1",
        "start nexus#4",
    ]);

    let mut s = chain_running();
    s.restart(&["core", "nexus"]).died("nexus", Exit::Signal(15)).done_so_far();
    s.is("nexus", State::Blocked, "waits for core (stopping)").died("core", Exit::Signal(15));
    s.expect(&["stop core#2", "start core#4"]).is("nexus", State::Blocked, "waits for core (starting)");
    s.started("core")
        .answer("core", READINESS, Health::Healthy)
        .expect(&["probe core#4 readiness", "start nexus#5"]);
}

#[test]
fn one_that_is_about_to_stop_is_not_there() {
    let mut s = Script::all([svc("a"), needs(svc("b"), &[("a", Ready)]), needs(svc("c"), &[("a", Ready)])]);
    s.started("a").started("b").started("c").ended("c", Exit::Code(1)).done_so_far();
    s.restart(&["a", "b"]).expect(&["stop b#2"]).is("a", State::Running, "is to stop after b");
    s.after(secs(2)).empty("c").is("c", State::Blocked, "waits for a (stopping)");
}

#[test]
fn an_end_while_waiting_for_dependents_is_the_end_that_was_asked_for() {
    let mut s = chain_running();
    s.down().died("keycloak", Exit::Code(1)).is(
        "keycloak",
        State::Stopped,
        "stopped by uid 7; exited with code 1 after 0.0 s",
    );
    s.died("nexus", Exit::Code(0)).up().done_so_far();
    let mut s = chain_running();
    s.restart(&["keycloak", "nexus"]).died("keycloak", Exit::Code(1));
    assert_eq!((s.status("keycloak").state, s.status("keycloak").restarts), (State::Starting, 0));
}

#[test]
fn a_start_timeout_while_waiting_for_dependents_ends_the_wait() {
    let slow = ServiceSpec { start_timeout: Some(secs(3)), ..probed("a") };
    let mut s = Script::all([slow, needs(svc("b"), &[("a", Started)])]);
    s.started("a").started("b").down().done_so_far();
    s.after(secs(3)).expect(&["unprobe a readiness", "stop a#1"]).died("a", Exit::Signal(15));
    s.is("a", State::Stopped, "stopped by uid 7; was ended by signal 15 (SIGTERM) after 3 s");
}

#[test]
fn a_dependent_that_cannot_be_killed_is_not_waited_for_for_ever() {
    let mut s = chain_running();
    s.down().after(secs(10)).after(secs(5)).expect(&[
        "unprobe nexus readiness",
        "stop nexus#3",
        "kill nexus#3",
        "kill nexus#3",
    ]);
    s.is("core", State::Running, "is to stop after nexus").after(secs(5));
    s.expect(&["kill nexus#3", "unprobe core readiness", "stop core#2"]);
    s.is("nexus", State::Stopping, "stopped by uid 7; its processes were killed and are not gone yet");
}

#[test]
fn a_crash_of_a_dependent_delays_no_stop() {
    let mut s = chain_running();
    s.ended("nexus", Exit::Code(1)).done_so_far();
    s.stop("core").expect(&["unprobe core readiness", "stop core#2"]);
}
