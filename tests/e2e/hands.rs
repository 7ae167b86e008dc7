//! The verbs that reach into a service, and the comfort around them: wait, exec, env, tree, graph, signal, kick, completion.

use harness::home::{Home, Said, fixture};
use harness::procs::Process;
use serde_json::{Value, json};

fn services() -> Value {
    json!({
        "core": {
            "command": fixture("chatty", "rate=5"),
            "env": {"API_KEY": "hunter2", "DB_URL": "postgres://helm:sesame@db/helm", "GREETING": "hello there"},
        },
        "web": {"command": ["sh", "-c", "sleep 600 & sleep 600"], "depends_on": {"core": "ready"}},
        "failer": {"command": fixture("exiter", "after=0 code=7"), "restart": "never"},
        "looper": {"command": fixture("exiter", "after=0 code=7"), "backoff": {"initial": "1h", "max": "1h"}},
    })
}

#[test]
fn the_environment_is_that_of_a_start_and_secrets_are_masked() {
    let home = Home::new(&services());
    home.ctl(&["start", "web"]).code(0);
    let said = home.ctl(&["env", "core"]).code(0).says("GREETING=hello there").says("API_KEY=********");
    let said = said.says("DB_URL=postgres://helm:********@db/helm").says("--show-secrets");
    assert!(!said.out.contains("hunter2") && !said.out.contains("sesame"), "{}", said.out);
    home.ctl(&["env", "core", "--show-secrets"]).code(0).says("API_KEY=hunter2").says("helm:sesame@db");
    // What the running service has, and this has not, is what only a run has.
    let pid = home.status("core").pid.unwrap();
    let real = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let real: Vec<String> = real
        .split(|b| *b == 0)
        .filter(|v| !v.is_empty())
        .map(|v| String::from_utf8_lossy(v).into())
        .collect();
    let shown = home.ctl(&["env", "core", "--show-secrets", "--json"]).code(0).json();
    let shown: Vec<String> = shown["environment"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| format!("{}={}", v["name"].as_str().unwrap(), v["value"].as_str().unwrap()))
        .collect();
    let missing: Vec<&String> = real
        .iter()
        .filter(|v| !shown.contains(v) && !v.starts_with("HELM_RUN=") && !v.starts_with("HELM_RUN_DIR="))
        .collect();
    assert!(missing.is_empty() && shown.iter().all(|v| real.contains(v)), "{missing:?}\n{shown:?}");
}

#[test]
fn a_command_runs_where_and_as_the_service_does() {
    let home = Home::new(&services());
    home.ctl(&["start", "core"]).code(0);
    let said = home.ctl(&["exec", "core", "--", "sh", "-c", "pwd; echo $API_KEY $0 $1", "a b", "c"]).code(0);
    assert_eq!(said.out, format!("{}\nhunter2 a b c\n", home.dir().display()));
    home.ctl(&["exec", "core", "--", "sh", "-c", "exit 7"]).code(7);
    home.ctl(&["exec", "core", "--", "no-such-program"]).code(1).says("no-such-program cannot be run in");
    home.ctl(&["exec", "core"]).code(2).says("CMD");
}

#[test]
fn the_tree_shows_each_process_below_its_parent() {
    let home = Home::new(&services());
    home.ctl(&["start", "web"]).code(0);
    let main = home.status("web").pid.unwrap();
    let mut found = Vec::new();
    harness::wait::until("both children run", || {
        let said = home.ctl(&["tree", "web", "--json"]).code(0).json();
        found = said.as_array().unwrap().clone();
        found.len() == 3
    });
    assert_eq!((&found[0]["pid"], &found[0]["main"]), (&json!(main), &json!(true)));
    for child in &found[1..] {
        assert_eq!(
            (&child["parent"], &child["command"], &child["main"]),
            (&json!(main), &json!("sleep 600"), &json!(false))
        );
        assert!(child["memory_bytes"].as_u64().unwrap() > 0 && child["cpu_percent"].is_number(), "{child}");
    }
    home.ctl(&["tree", "web"]).code(0).says("COMMAND").says("  sleep 600");
    home.ctl(&["stop", "web"]).code(0);
    home.ctl(&["tree", "web"]).code(0).says("web has no process");
}

#[test]
fn a_signal_reaches_the_main_process_and_what_follows_is_said() {
    let home = Home::new(&services());
    home.ctl(&["start", "core"]).code(0);
    let run = home.status("core").run;
    let pid = home.status("core").pid.unwrap();
    home.ctl(&["signal", "core", "STOP"])
        .code(0)
        .says("SIGSTOP sent to core")
        .says("helmctl signal core CONT");
    harness::wait::until("it stands still", || Process::of(pid).is_some_and(Process::frozen));
    home.ctl(&["signal", "core", "cont"]).code(0).says("SIGCONT sent to core");
    harness::wait::until("it goes on", || Process::of(pid).is_some_and(|p| !p.frozen()));
    home.ctl(&["signal", "core", "9"]).code(0).says("it is started again").says("helmctl stop core");
    home.wait_for("core", "another run", |s| s.run != run && s.state == "running");
    assert_eq!(home.status("core").restarts, 1, "no wish: it counts as an unexpected end");
    home.ctl(&["signal", "core", "NOPE"]).code(2).says("`NOPE` is no signal");
    home.ctl(&["signal", "web", "HUP"]).code(1).says("it is stopped");
    home.ctl(&["signal", "croe", "HUP"]).code(4).says("did you mean `core`?");
}

#[test]
fn a_kick_skips_the_waiting() {
    let home = Home::new(&services());
    home.ctl(&["start", "failer", "--no-wait"]).code(0);
    home.ctl(&["start", "looper", "--no-wait"]).code(0);
    home.wait_for("failer", "it has given up", |s| s.state == "failed");
    home.wait_for("looper", "it waits for its next start", |s| s.state == "backoff");
    let before = [home.status("failer").since, home.status("looper").since];
    home.ctl(&["kick", "failer", "looper", "core"])
        .code(0)
        .says("failer: is started now")
        .says("looper: is started now")
        .says("core: stopped, nothing to skip");
    home.wait_for("failer", "another end", |s| s.since != before[0] && s.state == "failed");
    // An hour lies between its starts otherwise.
    home.wait_for("looper", "another end", |s| s.since != before[1] && s.state == "backoff");
    home.ctl(&["kick", "fialer"]).code(4).says("failer");
}

#[test]
fn waiting_ends_when_it_is_so_or_cannot_be() {
    let home = Home::new(&services());
    home.ctl(&["up", "--no-wait"]).code(0);
    home.ctl(&["wait", "core", "web"]).code(0).says("core: ready").says("web: ready");
    home.ctl(&["wait", "core", "--for", "stopped", "--timeout", "200ms"]).code(5).says("core is running");
    home.ctl(&["wait", "failer", "--for", "ready"]).code(1).says("failer will not be ready").says("code 7");
    home.ctl(&["wait", "failer", "--for", "stopped"]).code(0);
    let waiting =
        home.helmctl(&["wait", "web", "--for", "stopped"]).stdout(std::process::Stdio::piped()).spawn();
    home.ctl(&["stop", "web"]).code(0);
    Said::of(&waiting.unwrap().wait_with_output().unwrap()).code(0).says("web: stopped");
}

#[test]
fn who_needs_whom() {
    let home = Home::new(&services());
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["graph"]).code(0).says("web\n└─ core (ready)\n");
    home.ctl(&["graph", "--mermaid"]).code(0).says("flowchart LR").says("-->|ready|");
    home.ctl(&["graph", "--svg"]).code(0).says("<title>web needs core (ready)</title>");
    let graph = home.ctl(&["graph", "--json"]).code(0).json();
    assert_eq!(graph["edges"], json!([{"from": "web", "to": "core", "condition": "ready"}]));
}

#[test]
fn shells_complete_names_from_the_running_helmd() {
    let home = Home::new(&services());
    home.ctl(&["daemon", "start"]).code(0);
    for shell in ["bash", "zsh", "fish"] {
        home.ctl(&["completions", shell]).code(0).says("COMPLETE").says("helmctl");
    }
    // As bash asks: the words of the line, and the number of the one that is completed.
    let completed = |words: &[&str]| {
        let mut command = std::process::Command::new(harness::bins::bin("helmctl"));
        command
            .current_dir(home.dir())
            .env("COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env_remove("HELM_HOME");
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string()).arg("--").args(words);
        Said::of(&command.output().unwrap()).code(0).out
    };
    assert_eq!(completed(&["helmctl", "stop", "c"]), "core");
    assert_eq!(completed(&["helmctl", "compl"]), "completions");
    let all = completed(&["helmctl", "restart", ""]);
    assert!(["core", "failer", "web"].iter().all(|name| all.contains(name)), "{all}");
    home.ctl(&["daemon", "stop"]).code(0);
    let none = completed(&["helmctl", "stop", "c"]);
    assert!(!none.contains("core"), "nobody knows the names: {none}");
}

#[test]
fn manual_pages_and_mistaken_verbs() {
    let home = Home::new(&services());
    home.ctl(&["man", &home.path("man").display().to_string()]).code(0);
    assert!(home.read("man/helmctl-restart.1").contains("Stop and start again"));
    home.ctl(&["restrat", "core"]).code(2).says("restart");
}
