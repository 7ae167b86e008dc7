//! `helmctl logs` as people and scripts use it: what is found, how it is shown, where it is written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use harness::home::{Home, Said};
use harness::wait::{eventually, until};
use harness::watch::block_on;
use helm_proto::v1::{AppendRequest, NewLogEntry};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::logs::{append, batch, idle, logged, rows};

/// An entry with everything that one can have, and one with what a terminal would obey.
fn told() -> Home {
    let home = idle();
    let full = NewLogEntry {
        level: "error".into(),
        message: "payment failed\n  status 502 here\nthe end".into(),
        context: json!({"log.level": "warn", "http": {"status": 502}}).to_string(),
        trace_id: Some("tr-9".into()),
        user_id: Some("u9".into()),
        hostname: Some("till-3".into()),
        process_id: Some(4711),
        ..Default::default()
    };
    let evil = NewLogEntry {
        level: "info".into(),
        message: "\u{1b}[31mred\u{1b}[0m \u{1b}[2Jgone \u{7}".into(),
        ..Default::default()
    };
    let service = "a-till-with-quite-a-long-name".into();
    let request = AppendRequest { service, entries: vec![full, evil], ..Default::default() };
    assert_eq!(block_on(append(&home, request)).unwrap().kept, 2);
    logged(&home, &["--trace", "tr-9"], 1);
    home
}

#[test]
fn every_condition_finds_what_it_says() {
    let home = told();
    for (words, count) in [
        (vec!["--field", "log.level=warn"], 1),
        (vec!["--field", "http.status=502", "--field", "log.level=warn"], 1),
        (vec!["--field", "http.status=500"], 0),
        (vec!["--grep", "^ *status 50[0-9]"], 1),
        (vec!["--grep", "here$"], 1),
        (vec!["--grep", "HERE$", "--case"], 0),
        (vec!["--text", "50"], 1),
        (vec!["--word", "50"], 0),
        (vec!["--word", "Failed"], 1),
        (vec!["--word", "Failed", "--case"], 0),
        (vec!["--level", "warning", "--exact"], 0),
        (vec!["--level", "error", "--exact", "-v", "nothing like it"], 1),
    ] {
        let words: Vec<&str> =
            ["logs", "--json", "a-till-with-quite-a-long-name"].iter().chain(&words).copied().collect();
        assert_eq!(rows(&home.ctl(&words).code(0)).len(), count, "{words:?}");
    }
    for (words, code, why) in [
        (vec!["--trace", ""], 2, "--trace"),
        (vec!["--user", ""], 2, "--user"),
        (vec!["--field", "=x"], 2, "KEY=VALUE"),
        (vec!["--field", "a.b.c.d.e.f.g.h=x"], 2, "at most 6 dots"),
        (vec!["--since", "10m", "--until", "20m"], 2, "must be before --until"),
        (vec!["--since", "2200-01-01"], 0, "lies ahead"),
        (vec!["--level", "loud"], 2, "is no level"),
        (vec!["--grep", "("], 2, "is no regular expression that Helm can search for: unclosed group"),
        (vec!["nobody"], 4, "no service `nobody`"),
        (vec!["show", "12"], 4, "no log entry 12"),
    ] {
        let words: Vec<&str> = ["logs"].iter().chain(&words).copied().collect();
        home.ctl(&words).code(code).says(why);
    }
}

#[test]
fn an_entry_is_shown_with_all_that_it_has_and_nothing_that_a_terminal_obeys() {
    let home = told();
    let id = logged(&home, &["--trace", "tr-9"], 1)[0]["id"].to_string();
    let long = home.ctl(&["logs", "--trace", "tr-9", "--long"]).code(0).out;
    let shown = home.ctl(&["logs", "show", &id]).code(0).out;
    for part in [id.as_str(), "tr-9", "u9", "till-3", "4711", "sent", "status"] {
        assert!(long.contains(part) && shown.contains(part), "{part}: {long}{shown}");
    }
    assert_eq!(home.ctl(&["logs", "show", &id, "--json"]).code(0).json()["context"]["http"]["status"], 502);
    let red = ["logs", "--text", "gone"];
    let with = |more: &[&str]| home.ctl(&[&red[..], more].concat()).code(0).out;
    for plain in [with(&[]), with(&["--csv"]), with(&["--long"])] {
        assert!(!plain.contains(['\u{1b}', '\u{7}']), "{plain:?}");
        assert!(plain.contains("a-till-with-quite-a-long-name"), "a pipe cuts no names: {plain}");
    }
    let coloured = with(&["--color", "always"]);
    assert!(coloured.contains("\u{1b}[31mred") && !coloured.contains("\u{1b}[2J"), "{coloured:?}");
    for raw in [with(&["--raw"]), with(&["--raw", "--csv"])] {
        assert!(raw.contains("\u{1b}[31mred\u{1b}[0m \u{1b}[2Jgone \u{7}"), "{raw:?}");
    }
}

/// What a program that unpacks gives.
fn unpacked(program: &str, file: &std::path::Path) -> String {
    let done = Command::new(program).arg("-dc").arg(file).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn an_export_is_in_its_file_whole_or_not_at_all() {
    let home = told();
    let export = |file: &str, more: &[&str]| {
        let path = home.path(file);
        home.ctl(&[&["logs", "export", "-o", path.to_str().unwrap()], more].concat())
    };
    block_on(append(&home, batch("later", &["what is exported ends here"]))).unwrap();
    let end = logged(&home, &["later"], 1)[0]["at"].as_str().unwrap().to_owned();
    let past = ["--until", end.as_str()];
    for (file, form) in [("a.csv", "csv"), ("a.txt", "text"), ("a.ndjson", "ndjson"), ("a.json", "ndjson")] {
        export(file, &past).code(0).says("entries written");
        let want =
            home.ctl(&[&["logs", "export", "-o", "-", "--format", form], &past[..]].concat()).code(0).out;
        assert!(!want.is_empty());
        assert_eq!(fs::read_to_string(home.path(file)).unwrap(), want, "{file}");
        for (end, program) in [("gz", "gzip"), ("zst", "zstd")] {
            let packed = format!("{file}.{end}");
            export(&packed, &past).code(0);
            assert_eq!(unpacked(program, &home.path(&packed)), want, "{packed}");
        }
    }
    // The one that was there stays as it was until the new one is whole, and keeps its mode.
    let file = home.path("kept.ndjson");
    fs::write(&file, "before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    export("kept.ndjson", &["nobody"]).code(4);
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    export("kept.ndjson", &past).code(0);
    assert!(fs::read_to_string(&file).unwrap().contains("payment failed"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::metadata(home.path("a.csv")).unwrap().permissions().mode() & 0o777, 0o600);
    export("no/such/dir/a.csv", &[]).code(1).says("cannot be written");
    let dir = home.path("");
    let left = || {
        fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .filter(|f| f.file_name().to_string_lossy().contains(".part"))
            .count()
    };
    assert_eq!(left(), 0);

    let tried = format!(
        "trap '' XFSZ; ulimit -f 1; exec {} --home {} logs export -o {}",
        harness::bins::bin("helmctl").display(),
        dir.display(),
        file.display()
    );
    let whole = fs::read(&file).unwrap();
    let many: Vec<String> = (0..2000).map(|i| format!("one of many {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    block_on(append(&home, batch("many", &many))).unwrap();
    let full = Command::new("sh").args(["-c", &tried]).output().unwrap();
    Said::of(&full).code(1).says("cannot be written").says("not whole");
    assert_eq!((fs::read(&file).unwrap(), left()), (whole.clone(), 0));

    // Interrupted while helmd does not answer.
    let helmd = Pid::from_raw(i32::try_from(home.helmd().unwrap().pid).unwrap()).unwrap();
    kill_process(helmd, Signal::STOP).unwrap();
    let mut child = home
        .helmctl(&["logs", "export", "-o", file.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it has begun", || left() == 1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    kill_process(helmd, Signal::CONT).unwrap();
    assert_eq!((code, fs::read(&file).unwrap(), left()), (Some(1), whole, 0));
}

#[test]
fn what_is_followed_begins_with_all_of_the_past_that_was_asked_for() {
    let home = idle();
    // More than a follower may ask of the past.
    let many: Vec<String> = (0..6_000).map(|i| format!("old {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for sequence in 1..=2 {
        let request = AppendRequest { sender: "s".into(), sequence, ..batch("past", &many) };
        block_on(append(&home, request)).unwrap();
    }
    let file = home.path("followed");
    let out = fs::File::create(&file).unwrap();
    let mut child = home
        .helmctl(&["logs", "past", "-f", "--since", "1d", "--json"])
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let seen = |count: usize| {
        eventually("they are printed", || match fs::read_to_string(&file).unwrap() {
            text if text.lines().count() >= count => Ok(text),
            text => Err(text.lines().count().to_string()),
        })
    };
    seen(12_000);
    block_on(append(&home, batch("past", &["new"]))).unwrap();
    let all = seen(12_001);
    child.kill().unwrap();
    child.wait().unwrap();
    let ids: std::collections::BTreeSet<&str> =
        all.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(ids.len(), 12_001, "each once");
}
