//! `--fix`: the safe ones, after asking; each once more looked at before it is done.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use harness::home::Home;

use super::found;
use super::site::{mode, site};

#[track_caller]
fn fixed(home: &Home, said: &str) {
    let before = found(home);
    assert!(before.iter().any(|finding| !finding["fix"].is_null()), "{before:#?}");
    home.ctl(&["doctor", "--fix"]).code(2).says("it needs a terminal; or say --yes");
    assert_eq!(found(home), before, "nobody agreed");
    home.ctl(&["doctor", "--fix", "--yes"]).says(&format!("done: {said}"));
    assert_eq!(found(home), Vec::<serde_json::Value>::new());
}

#[test]
fn what_is_secret_is_closed() {
    let home = site();
    let key = home.path("core/keys/jwt_private.pem");
    mode(&key, 0o644);
    fixed(&home, &format!("make {} readable for its owner only", key.display()));
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_stale_socket_goes() {
    let home = site();
    home.ctl(&["daemon", "start"]).code(0);
    home.kill_helmd();
    fixed(&home, "remove ");
    // Somebody removed the lock as well.
    home.ctl(&["daemon", "start"]).code(0);
    home.kill_helmd();
    fs::remove_file(home.path("instance/helmd.lock")).unwrap();
    fixed(&home, "remove ");
    home.ctl(&["daemon", "start"]).code(0);
}

#[test]
fn a_copy_of_services_json_is_written_over_a_link_to_nothing() {
    let home = site();
    let copy = home.path("nexus/services.json");
    fs::remove_file(&copy).unwrap();
    fixed(&home, "write services.json into the directory of nexus");
    fs::remove_file(&copy).unwrap();
    symlink("gone", &copy).unwrap();
    fixed(&home, "write services.json into the directory of nexus");
    assert!(!copy.is_symlink());
}

#[test]
fn a_directory_of_the_home_is_made() {
    let home = site();
    symlink("disk/logs", home.path("logs")).unwrap();
    fixed(&home, "make the directory ");
    assert!(home.path("disk/logs").is_dir());
}

#[test]
fn on_a_terminal_each_is_asked_for() {
    let home = site();
    for key in ["core/keys/jwt_private.pem", "nexus/certs/nexus.key"] {
        mode(&home.path(key), 0o644);
    }
    let mut screen = harness::terminal::Terminal::run(home.helmctl(&["doctor", "--fix"]), 200, 50);
    screen.until("the first question", |text| {
        text.contains("jwt_private.pem readable for its owner only? [y/N]")
    });
    screen.press("y\n");
    screen.until("the second one", |text| text.contains("nexus.key readable for its owner only? [y/N]"));
    screen.press("\n");
    screen.until("what was done", |text| text.contains("done: make"));
    let left = found(&home);
    assert!(left.len() == 1 && left[0]["service"] == "nexus", "{left:#?}");
}
