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
    assert!(said.err.contains("apply with: helmctl daemon stop && helmctl daemon start"), "{}", said.err);
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
