//! helmd itself.

use std::fs;

use harness::procs::Process;
use rustix::process::Signal;

use super::site::{site, up};
use super::{found, heals, mend, mended, only, shows, weight};

#[test]
fn none_runs_although_services_are_wanted() {
    let home = site();
    up(&home);
    home.ctl(&["daemon", "stop"]).code(0);
    let fault = only(&home, "helmd-not-running");
    shows(&fault, "4 service(s) are to run");
    heals(&home, &fault);
}

#[test]
fn one_that_does_not_answer() {
    let home = site();
    up(&home);
    let helmd = home.helmd().unwrap();
    helmd.signal(Signal::STOP);
    let fault = found(&home).into_iter().find(|finding| finding["id"] == "helmd-silent").unwrap();
    shows(&fault, &format!("pid {}", helmd.pid));
    assert!(mend(&fault).starts_with(&format!("kill -9 {}", helmd.pid)), "{fault:#}");
    heals(&home, &fault);
    assert!(home.helmd().is_some_and(|now| now.pid != helmd.pid));
}

#[test]
fn two_of_them_after_somebody_removed_the_lock() {
    let home = site();
    let first = home.spawn_helmd();
    home.answers();
    fs::remove_file(home.path("instance/helmd.lock")).unwrap();
    let second = home.spawn_helmd();
    harness::wait::until("the second one listens", || {
        home.helmd().is_some_and(|helmd| helmd.pid == second.pid())
    });
    home.answers();
    // It holds the SQLite store, too, and keeps the second one from it.
    let fault = found(&home).into_iter().find(|finding| finding["id"] == "two-helmds").unwrap();
    shows(&fault, &format!("pid {}: ", first.pid()));
    assert_eq!(mend(&fault), format!("kill {}", first.pid()));
    mended(&home, &fault);
    assert_eq!(first.ended(), 0);
    assert!(Process::of(second.pid()).is_some_and(Process::alive));
    drop(second);
}

#[test]
fn a_socket_that_nobody_listens_at() {
    let home = site();
    home.ctl(&["daemon", "start"]).code(0);
    home.kill_helmd();
    // What is wanted is nothing: else a start is what mends it.
    let warning = only(&home, "stale-socket");
    assert_eq!(weight(&warning), "warning");
    shows(&warning, "instance/run/helmd.sock");
    heals(&home, &warning);
}
