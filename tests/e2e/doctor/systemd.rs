//! Units and linger, in a configuration directory of the test's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use harness::bins::root;
use harness::home::{Home, Said};
use serde_json::Value;

use super::site::site;
use super::{mend, shows};

const UNITS: [&str; 4] = ["helmd.socket", "helmd.service", "helm-tree.service", "helm-services.service"];

/// As the script installs them.
fn install(home: &Home) {
    for unit in UNITS {
        let text = fs::read_to_string(root().join("systemd").join(unit)).unwrap();
        let text = text
            .replace("@HOME@", &home.dir().display().to_string())
            .replace("@BIN@", "/opt/helm/bin")
            .replace("@DOCS@", &root().join("docs").display().to_string());
        home.write(&format!("config/systemd/user/{unit}"), &text);
    }
}

/// In a file system of its own at the place of linger's files; `loginctl` is one that makes such a file.
fn doctor(home: &Home, words: &[&str]) -> Said {
    home.write(
        "bin/loginctl",
        "#!/bin/sh\n[ \"$1\" = enable-linger ] && touch \"/var/lib/systemd/linger/$2\"\n",
    );
    super::site::mode(&home.path("bin/loginctl"), 0o755);
    let lingers = home.path("lingers");
    fs::create_dir_all(&lingers).unwrap();
    let inner = home.helmctl(&[&["doctor"], words].concat());
    let mut outer = Command::new("unshare");
    outer.args(["-m", "sh", "-c", r#"mkdir -p /var/lib/systemd/linger && mount --bind "$1" /var/lib/systemd/linger && shift && exec "$@""#, "sh"]);
    outer.arg(&lingers).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    Said::of(&outer.env("PATH", path).output().unwrap())
}

fn findings(home: &Home) -> Vec<Value> {
    doctor(home, &["--json"]).json()["findings"].as_array().unwrap().clone()
}

#[test]
fn linger_that_is_not_enabled_and_is_by_the_fix() {
    let home = site();
    install(&home);
    let all = findings(&home);
    assert!(all.len() == 1 && all[0]["id"] == "linger-missing", "{all:#?}");
    shows(&all[0], "linger is not enabled for root");
    assert_eq!(mend(&all[0]), "loginctl enable-linger root");
    doctor(&home, &["--fix", "--yes"]).code(1).says("done: enable linger for root");
    assert_eq!(findings(&home), Vec::<Value>::new(), "units as shipped, and linger");
}

#[test]
fn units_that_are_not_as_shipped() {
    let home = site();
    install(&home);
    fs::create_dir_all(home.path("lingers")).unwrap();
    home.write("lingers/root", "");
    let unit = "config/systemd/user/helmd.service";
    home.write(unit, &home.read(unit).replace("KillMode=process", "KillMode=control-group"));
    fs::remove_file(home.path("config/systemd/user/helm-tree.service")).unwrap();
    let all = findings(&home);
    assert!(all.len() == 1 && all[0]["id"] == "unit-differs", "{all:#?}");
    shows(&all[0], "helmd.service: `KillMode=control-group`, shipped as `KillMode=process`");
    shows(&all[0], "helm-tree.service: No such file");
    let script = root().join("scripts/install_autostart.sh");
    assert_eq!(mend(&all[0]), format!("{} --home {}", script.display(), home.dir().display()));
}

#[test]
fn a_unit_that_the_python_tool_left() {
    let home = site();
    let dir = home.path("config/systemd/user");
    home.write(
        "config/systemd/user/hivematrix.service",
        "[Service]\nExecStart=/srv/helm/pyenv/bin/python cli.py start\n",
    );
    assert_eq!(findings(&home), Vec::<Value>::new(), "nothing starts it");
    fs::create_dir_all(dir.join("default.target.wants")).unwrap();
    symlink("../hivematrix.service", dir.join("default.target.wants/hivematrix.service")).unwrap();
    let all = findings(&home);
    assert!(all.len() == 1 && all[0]["id"] == "old-unit", "{all:#?}");
    assert_eq!(mend(&all[0]), "systemctl --user disable --now hivematrix.service");
}
