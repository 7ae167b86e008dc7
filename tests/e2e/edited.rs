//! The configuration is edited, or broken, while helmd runs: it is noticed, and said with every command.

use harness::home::{Home, Said, fixture};
use serde_json::{Value, json};

fn one(rate: u32) -> Value {
    json!({"web": {"command": fixture("chatty", &format!("rate={rate}"))}})
}

/// What helmctl says on stderr with each command that shows or acts.
fn heard(home: &Home) -> Vec<(String, Said)> {
    let commands: [&[&str]; 6] = [
        &["status"],
        &["status", "--json"],
        &["up"],
        &["start", "web"],
        &["restart", "web"],
        &["daemon", "status"],
    ];
    commands.iter().map(|words| (words.join(" "), home.ctl(words).code(0))).collect()
}

#[track_caller]
fn all_say(home: &Home, text: &str) {
    for (command, said) in heard(home) {
        // `daemon status` shows it as data.
        let stream = if command == "daemon status" { &said.out } else { &said.err };
        assert_eq!(stream.matches(text).count(), 1, "{command}\n{}{}", said.out, said.err);
    }
    let json = home.ctl(&["status", "--json"]).json();
    assert!(json["warnings"][0].as_str().is_some_and(|w| w.contains(text)), "{json}");
}

#[track_caller]
fn none_warns(home: &Home) {
    for (command, said) in heard(home) {
        assert!(!said.err.contains("warning"), "{command}: {}", said.err);
    }
    assert_eq!(home.ctl(&["status", "--json"]).json()["warnings"], json!([]));
}

#[test]
fn an_edit_is_noticed_until_it_is_applied() {
    let home = Home::new(&one(5));
    home.ctl(&["up"]).code(0);
    none_warns(&home);
    // What changes the text and not its meaning is no edit.
    let text = home.read("services.json");
    home.write("services.json", &format!("\n{text}\n"));
    none_warns(&home);

    home.write_services(&one(6));
    all_say(&home, "services.json was changed after helmd read it (at ");
    let said = home.ctl(&["status"]).code(0);
    assert!(said.err.contains("apply with: helmctl reload (helmctl plan shows"), "{}", said.err);
    assert!(!said.out.contains("changed"), "{}", said.out);

    home.write("services.json", "{");
    all_say(&home, "and HAS 1 FAULT(S): helmctl config check");
    // Taken back.
    home.write("services.json", &text);
    none_warns(&home);

    home.write_services(&one(6));
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
    none_warns(&home);
}

#[test]
fn a_broken_file_is_loud_until_it_is_mended() {
    let home = Home::new(&one(5));
    home.ctl(&["up"]).code(0);
    home.ctl(&["daemon", "stop"]).code(0);
    let good = home.read("services.json");
    home.write("services.json", "{\"web\": {");
    home.ctl(&["daemon", "start"]).code(0).says("THE CONFIGURATION IS BROKEN");
    all_say(&home, "THE CONFIGURATION IS BROKEN (");
    home.write("services.json", &good);
    none_warns(&home);
}

/// The edit is applied as the alert says.
fn reborn(home: &Home) {
    home.ctl(&["daemon", "stop"]).code(0);
    home.ctl(&["daemon", "start"]).code(0);
}

fn warnings(home: &Home, service: &str) -> Value {
    home.ctl(&["status", service, "--json"]).code(0).json()["services"][0]["warnings"].clone()
}

#[test]
fn a_run_by_its_former_definition_is_marked_until_it_is_restarted() {
    let mut services = one(5);
    services["other"] = json!({"command": fixture("chatty", "rate=5")});
    let home = Home::new(&services);
    home.ctl(&["up"]).code(0);
    let former = home.status("web").pid;
    services["web"] = one(6)["web"].clone();
    // What helmd alone uses is in force with the next helmd.
    services["other"]["restart"] = json!("never");
    home.write_services(&services);
    reborn(&home);

    let words = "runs by its former definition; `helmctl restart web` applies the new one";
    assert_eq!((warnings(&home, "web"), home.status("web").pid), (json!([words]), former));
    assert_eq!(warnings(&home, "other"), json!([]));
    let shown = home.ctl(&["status"]).code(0).out;
    assert_eq!(shown.matches(words).count(), 1, "{shown}");
    // Not only the first helmd after the edit says it.
    reborn(&home);
    assert_eq!(warnings(&home, "web"), json!([words]));
    home.ctl(&["restart", "web"]).code(0);
    assert_eq!(warnings(&home, "web"), json!([]));
    assert_ne!(home.status("web").pid, former);
}

#[test]
fn what_was_taken_out_of_the_file_is_seen_until_it_is_stopped() {
    let mut services = one(5);
    services["old"] = json!({"command": fixture("chatty", "rate=5"), "stop": {"signal": "SIGINT"}});
    let home = Home::new(&services);
    home.ctl(&["up"]).code(0);
    let (pid, life) = (home.status("old").pid, home.life("old"));
    home.write_services(&one(5));
    reborn(&home);

    let words = "not in the configuration in force; `helmctl stop old` ends it";
    let old = home.status("old");
    assert_eq!((old.state.as_str(), old.pid, old.warnings), ("running", pid, vec![words.to_owned()]));
    assert!(home.ctl(&["status"]).code(0).out.contains(words));
    assert!(!home.ctl(&["list"]).code(0).out.contains("old"), "it is configured no more");
    home.ctl(&["restart", "old"])
        .code(1)
        .says("is not in the configuration in force: it can be stopped, not started");
    home.ctl(&["up"]).code(0);
    assert_eq!(home.status("old").pid, pid, "up leaves it alone");

    home.ctl(&["stop", "old"]).code(0).says("old: stopped");
    let lives = home.journal("old").lives;
    assert_eq!(lives.len(), 1, "{lives:?}");
    assert!(
        lives[0].nonce == life.nonce && lives[0].end.is_some(),
        "it ended by itself, as asked: {lives:?}"
    );
    assert!(home.status("old").reason.ends_with("; not in the configuration in force"));
    reborn(&home);
    home.ctl(&["status", "old"]).code(4);
}

#[test]
fn what_was_taken_out_of_the_file_goes_down_with_the_fleet() {
    let mut services = one(5);
    services["old"] = json!({"command": fixture("chatty", "rate=5")});
    let home = Home::new(&services);
    home.ctl(&["up"]).code(0);
    home.write_services(&one(5));
    reborn(&home);
    home.ctl(&["down"]).code(0);
    assert!(home.processes().is_empty(), "{:?}", home.processes());
}

/// `status` and its JSON say this one thing.
#[track_caller]
fn status_says(home: &Home, text: &str) {
    home.ctl(&["status"]).code(0).says(text);
    let warnings = home.ctl(&["status", "--json"]).json()["warnings"].clone();
    assert!(warnings[0].as_str().is_some_and(|w| w.contains(text)) && warnings[1].is_null(), "{warnings}");
    let said = home.ctl(&["daemon", "status"]).code(0);
    assert_eq!(said.out.matches(text).count(), 1, "{}", said.out);
}

#[test]
fn wishes_that_cannot_be_read_or_written_are_told_until_they_are_written() {
    let home = Home::new(&one(5));
    let file = home.path("instance/wishes.json");
    home.ctl(&["up"]).code(0);
    home.ctl(&["daemon", "stop"]).code(0);
    let wanted = home.read("instance/wishes.json");
    home.write("instance/wishes.json", "{");
    home.ctl(&["daemon", "start"]).code(0).says("wishes.json cannot be read (");
    status_says(&home, "say again what is to run: helmctl up");
    home.ctl(&["up"]).code(0);
    assert_eq!(home.read("instance/wishes.json"), wanted);
    none_warns(&home);

    // What cannot be replaced by a file.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    home.ctl(&["stop", "web"]).code(0).says("could not be recorded in");
    status_says(&home, "could not be recorded in");
    std::fs::remove_dir(&file).unwrap();
    home.ctl(&["stop", "web"]).code(0);
    assert!(!home.ctl(&["status"]).code(0).err.contains("warning"));
}
