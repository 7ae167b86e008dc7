//! helmd itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use harness::home::Said;
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
fn one_for_another_directory_at_the_same_path_is_none() {
    let (home, other) = (site(), site());
    home.ctl(&["daemon", "start"]).code(0);
    // As in a container: there the other one lies where this one does here.
    let mut apart = Command::new("unshare");
    let script = r#"mount --bind "$1" "$2" && exec "$3" --home "$2""#;
    apart.args(["-m", "sh", "-c", script, "sh"]).arg(other.dir()).arg(home.dir());
    apart
        .arg(harness::bins::bin("helmd"))
        .env_remove("HELM_HOME")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut apart = apart.spawn().unwrap();
    harness::wait::until("it runs", || other.helmd().is_some_and(|helmd| helmd.pid == apart.id()));
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    other.kill_helmd();
    apart.wait().unwrap();
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

#[test]
fn nothing_is_left_by_one_that_was_stopped() {
    let home = site();
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["daemon", "stop"]).code(0);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn no_program_to_keep_services_with() {
    let home = site();
    let bins = home.path("programs");
    fs::create_dir(&bins).unwrap();
    for name in ["helmctl", "helmd"] {
        fs::copy(harness::bins::bin(name), bins.join(name)).unwrap();
    }
    let asked = home.helmctl(&["doctor", "--json"]);
    let mut alone = Command::new(bins.join("helmctl"));
    alone.args(asked.get_args()).env("XDG_CONFIG_HOME", home.path("config"));
    let said = Said::of(&alone.output().unwrap()).code(1);
    let fault = said.json()["findings"][0].clone();
    assert_eq!(fault["id"], "keeper-missing", "{}", said.out);
    shows(&fault, "programs/helm-shim");
}

#[test]
fn a_log_that_helmd_does_not_write() {
    let home = site();
    let first = home.spawn_helmd();
    home.answers();
    // Another home's helmd has the store of this one.
    let other = site();
    fs::create_dir_all(other.path("instance")).unwrap();
    symlink(home.path("instance/store"), other.path("instance/store")).unwrap();
    other.ctl(&["daemon", "start"]).code(0);
    let fault = only(&other, "log-not-written");
    shows(&fault, &format!("process {}", first.pid()));
    drop(first);
}
