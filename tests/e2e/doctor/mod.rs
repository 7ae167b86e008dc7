//! `helmctl doctor` on prepared faults. All of them are made in the same small ecosystem, in which nothing else is wrong:
//! what is found is the fault, and nothing but the fault.

mod daemon;
mod database;
mod files;
mod fixes;
mod healthy;
mod host;
mod running;
mod services;
mod site;
mod systemd;

use harness::home::{Home, Said};
use helm_core::doctor::Id;
use serde_json::Value;

/// Everything that is found.
fn found(home: &Home) -> Vec<Value> {
    let said = home.ctl(&["doctor", "--json"]);
    let all = said.json();
    assert_eq!(said.code, i32::from(all["faults"].as_u64().unwrap() > 0), "{all:#}");
    all["findings"].as_array().unwrap().clone()
}

/// The one thing that is found.
#[track_caller]
fn only(home: &Home, id: &str) -> Value {
    let mut all = found(home);
    assert!(all.len() == 1 && all[0]["id"] == id, "not {id} alone: {all:#?}");
    all.remove(0)
}

fn weight(finding: &Value) -> &str {
    finding["weight"].as_str().unwrap()
}

fn mend(finding: &Value) -> &str {
    finding["mend"].as_str().unwrap()
}

/// All of the evidence, to be searched.
fn evidence(finding: &Value) -> String {
    finding["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line.as_str().unwrap().to_owned() + "\n")
        .collect()
}

#[track_caller]
fn shows(finding: &Value, words: &str) {
    let evidence = evidence(finding);
    assert!(evidence.contains(words), "not {words:?} in: {evidence}");
}

/// Does what the finding says, in a shell, as it stands there.
#[track_caller]
fn mended(home: &Home, finding: &Value) {
    let bins = harness::bins::bin("helmctl");
    let path = format!("{}:{}", bins.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    let words = home.helmctl(&[]);
    shell.arg("-c").arg(mend(finding)).current_dir("/").env("PATH", path);
    for (name, value) in words.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Said::of(&shell.output().unwrap()).code(0);
}

/// Mends it by its own command, and then nothing is found any more.
#[track_caller]
fn heals(home: &Home, finding: &Value) {
    mended(home, finding);
    let left = found(home);
    assert!(left.is_empty(), "after `{}`: {left:#?}", mend(finding));
}

#[test]
fn every_kind_of_finding_is_prepared_here() {
    let dir = harness::bins::root().join("tests/e2e/doctor");
    let files = std::fs::read_dir(dir).unwrap().flatten();
    let text: String = files.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect();
    let missing: Vec<Id> =
        Id::ALL.iter().copied().filter(|id| !text.contains(&format!("{:?}", id.as_str()))).collect();
    assert_eq!(missing, []);
}
