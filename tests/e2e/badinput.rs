//! Each bad input, and what it gets: a message that names the place, the fault and the way out; and nothing changes.

use harness::home::{Home, Said, fixture};
use harness::wait::until;
use serde_json::{Value, json};

/// `config check` of this text.
fn check(services: &str) -> Said {
    let home = Home::new(&json!({}));
    home.write("services.json", services);
    let said = home.ctl(&["config", "check"]);
    assert!(home.helmd().is_none(), "a check starts nothing");
    said
}

/// The check fails and says all of these.
#[track_caller]
fn refused(services: &Value, words: &[&str]) {
    let said = check(&format!("{services:#}")).code(1);
    let text = format!("{}{}", said.out, said.err);
    for word in words {
        assert!(text.contains(word), "{word:?} is not said:\n{text}");
    }
}

#[test]
fn a_cycle_is_named_as_a_path() {
    let on = |name: &str| json!({"command": ["true"], "depends_on": [name]});
    refused(&json!({"a": on("b"), "b": on("c"), "c": on("a")}), &["a -> b -> c -> a"]);
}

#[test]
fn an_unknown_dependency_gets_the_nearest_name() {
    refused(
        &json!({"catalogue": {"command": ["true"]}, "shop": {"command": ["true"], "depends_on": ["catalog"]}}),
        &["services.json:", "shop.depends_on", "catalog", "did you mean", "catalogue"],
    );
}

#[test]
fn a_duplicate_name() {
    let said =
        check("{\n  \"web\": {\"command\": [\"true\"]},\n  \"web\": {\"command\": [\"true\"]}\n}").code(1);
    said.says("services.json:3:").says("twice");
}

#[test]
fn a_bad_name_and_a_reserved_one() {
    refused(&json!({"Web Shop": {"command": ["true"]}}), &["Web Shop", "a-z"]);
    refused(&json!({"a".repeat(51): {"command": ["true"]}}), &["50"]);
    let beside_nexus = json!({"nexus": {"command": ["true"]}, "login": {"command": ["true"]}});
    check(&beside_nexus.to_string()).code(0).says("warning").says("login");
}

#[test]
fn two_services_on_one_port() {
    refused(
        &json!({"a": {"command": ["true"], "port": 7001}, "b": {"command": ["true"], "url": "http://127.0.0.1:7001"}}),
        &["7001", "`a`"],
    );
}

#[test]
fn paths_that_leave_the_directory() {
    let service = |field: &str, value: &str| json!({"app": {"path": "../sibling", field: value}});
    for value in ["../elsewhere/python", "/usr/bin/python3", "a/../../b"] {
        refused(&service("python_bin", value), &["app.python_bin"]);
        refused(&service("run_script", value), &["app.run_script"]);
    }
    refused(&json!({"app": {"command": ["true"], "env_file": "../secrets"}}), &["app.env_file"]);
    check(&json!({"app": {"path": "../sibling"}, "abs": {"path": "/opt/app"}}).to_string()).code(0);
}

#[test]
fn invalid_json_has_line_and_column() {
    check("{\n  \"web\": {\n    \"command\": [\"true\"],\n  }\n}").code(1).says("services.json:");
    check("{\n  \"web\": \n}").code(1).says("services.json:3:");
    check("").code(1).says("services.json");
    check("[]").code(1).says("services.json:1:1");
    check(&"[".repeat(100_000)).code(1).says("services.json:");
}

#[test]
fn an_unknown_field_gets_the_nearest_known() {
    refused(&json!({"web": {"command": ["true"], "depend_on": []}}), &["web.depend_on", "depends_on"]);
    refused(&json!({"web": {"command": ["true"], "stop": {"grase": "1s"}}}), &["web.stop.grase", "grace"]);
}

#[test]
fn numbers_out_of_range() {
    refused(&json!({"web": {"command": ["true"], "port": 70000}}), &["web.port", "65535"]);
    refused(&json!({"web": {"command": ["true"], "backoff": {"factor": 0.5}}}), &["web.backoff.factor"]);
    refused(&json!({"web": {"command": ["true"], "stop": {"grace": -1}}}), &["web.stop.grace"]);
    refused(
        &json!({"web": {"command": ["true"], "limits": {"cpu_weight": 20000}}}),
        &["web.limits.cpu_weight", "10000"],
    );
}

#[test]
fn a_file_of_10_mb() {
    let text = format!("{{\"web\": {{\"command\": [\"{}\"]}}}}", "x".repeat(10 << 20));
    check(&text).code(1).says("services.json");
}

#[test]
fn a_pattern_that_is_none() {
    let home = Home::new(&json!({"web": {"command": ["true"], "probes": {"startup": {"log": "(unclosed"}}}}));
    home.ctl(&["up"]).says("unclosed");
    assert_eq!(home.journal("web").lives, []);
}

#[test]
fn all_faults_at_once_and_nothing_changes() {
    let bad = json!({
        "a": {"command": ["true"], "port": 0, "restrat": "never"},
        "b": {"command": ["true"], "depends_on": ["nobody"]},
    });
    refused(&bad, &["a.port", "a.restrat", "restart", "b.depends_on", "nobody"]);

    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    let before = home.status("web");
    home.write("services.json", &bad.to_string());
    home.ctl(&["config", "check"]).code(1).says("a.restrat");
    assert_eq!(home.status("web").pid, before.pid);
}

#[test]
fn a_start_beside_a_bad_file_says_every_fault() {
    let home = Home::new(
        &json!({"a": {"command": ["true"], "port": 0}, "b": {"command": ["true"], "depends_on": ["nobody"]}}),
    );
    let said = home.ctl(&["up"]);
    assert_ne!(said.code, 0);
    said.says("a.port").says("nobody");
    assert!(home.helmd().is_none());
}

#[test]
fn a_missing_directory_is_not_installed_and_the_others_start() {
    let home = Home::new(&json!({
        "absent": {"path": "../not-there"},
        "here": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["config", "check"]).code(0).says("warning").says("absent");
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("here", "it runs", |s| s.state == "running");
    let absent = home.wait_for("absent", "its state", |s| s.state == "not_installed");
    assert!(absent.reason.contains("not-there"), "{}", absent.reason);
    assert_eq!(absent.status, "unknown");
}

#[test]
fn up_starts_what_is_installed_and_names_what_is_not_at_the_root() {
    let mut services = json!({
        "absent": {"path": "../not-there"},
        "middle": {"command": fixture("chatty", "rate=5"), "depends_on": ["absent"]},
        "far": {"command": fixture("chatty", "rate=5"), "depends_on": ["middle"]},
        "here": {"command": fixture("chatty", "rate=5")},
    });
    let home = Home::new(&services);
    let root = "far: not started: absent is not installed (the directory ";
    let said = home.ctl(&["up", "--timeout", "60"]).code(0).says(root).says("absent: not installed: ");
    assert!(said.out.contains("here: started"), "{}", said.out);
    let steps = home.ctl(&["up", "--json"]).code(0).json();
    let step = |name: &str| {
        let all = steps["services"].as_array().unwrap();
        all.iter().find(|s| s["name"] == name).unwrap()["step"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        (step("absent"), step("far"), step("here")),
        ("skipped".into(), "skipped".into(), "done".into())
    );
    // By its name it was meant: that is a failure, and at once.
    home.ctl(&["start", "far", "--timeout", "60"]).code(1).says(root);
    assert!(home.status("far").reason.contains("absent is not installed"));
    // It stays wanted, and comes with what it waits for.
    services["absent"] = json!({"command": fixture("chatty", "rate=5")});
    home.write_services(&services);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    home.wait_for("far", "it comes by itself", |s| s.state == "running");
}

#[test]
fn where_nothing_is_installed_up_fails() {
    let home = Home::new(&json!({"absent": {"path": "../not-there"}}));
    home.ctl(&["up"]).code(1).says("nothing was started").says("absent: not installed");
}

#[test]
fn a_program_that_is_not_there_is_a_warning_with_its_place() {
    let home = Home::new(&json!({}));
    home.write("app/pyenv/bin/python", "no program\n");
    home.write("kc/.keep", "");
    let lines = [
        "{",
        r#" "missing": {"command": ["no-such-program-anywhere"]},"#,
        r#" "own": {"command": ["helper"], "path": "bin", "env": {"PATH": "/usr/bin:TOOLS"}},"#,
        r#" "python": {"path": "app"},"#,
        r#" "keycloak": {"type": "keycloak", "path": "kc", "start_command": "bin/kc.sh start"},"#,
        r#" "vars": {"command": ["true"], "env_file": "vars"},"#,
        r#" "well": {"command": ["true"]},"#,
        r#" "shell": {"command": "no-such-program-anywhere", "shell": true}"#,
        "}",
    ];
    let tools = home.path("tools").display().to_string();
    home.write("services.json", &lines.join("\n").replace("TOOLS", &tools));
    home.write("bin/.keep", "");
    home.write("tools/helper", "");
    let check = || -> Vec<String> {
        let said = home.ctl(&["config", "check", "--json"]).code(0).json();
        let faults = said["faults"].as_array().unwrap().iter();
        faults
            .filter(|f| !f["field"].as_str().unwrap().ends_with("services.keycloak"))
            .map(|f| {
                format!("{}:{} {}", f["line"], f["field"].as_str().unwrap(), f["message"].as_str().unwrap())
            })
            .collect()
    };
    let dir = home.dir().display().to_string();
    let found = check();
    for (place, words) in [
        (
            "2:services.missing.command",
            "`no-such-program-anywhere` is not found in the PATH that it would get (",
        ),
        ("3:services.own.command", "`helper` is not found in the PATH that it would get ("),
        ("4:services.python.python_bin", &*format!("{dir}/app/pyenv/bin/python is not executable")),
        ("4:services.python.run_script", &*format!("{dir}/app/run.py is not there")),
        ("5:services.keycloak.start_command", &*format!("{dir}/kc/bin/kc.sh is not there")),
        ("6:services.vars.env_file", "vars is not there"),
    ] {
        assert!(
            found.iter().any(|f| f.starts_with(place) && f.contains(words)),
            "{place} {words}:\n{found:#?}"
        );
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    // The PATH is the one that the service would get.
    std::fs::set_permissions(home.path("tools/helper"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    assert!(!check().iter().any(|f| f.contains("services.own")));
    // A helmd that starts says it as well.
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["daemon", "status"]).code(0).says("services.missing.command");
}

#[test]
fn a_program_that_cannot_be_started_fails_at_once() {
    let home = Home::new(&json!({
        "missing": {"command": ["no-such-program-anywhere"]},
        "gone": {"command": ["./gone"]},
        "plain": {"command": ["./plain.txt"]},
        "here": {"command": fixture("chatty", "rate=5")},
    }));
    home.write("plain.txt", "no program\n");
    home.ctl(&["up"]).code(1);
    for (name, word) in [("missing", "no-such-program-anywhere"), ("gone", "gone"), ("plain", "plain.txt")] {
        let status = home.wait_for(name, "it has failed", |s| s.state == "failed");
        assert!(status.reason.contains(word), "{name}: {}", status.reason);
        assert_eq!(status.pid, None);
    }
    assert_eq!(home.status("here").state, "running");
}

#[test]
fn the_repository_s_own_services_pass() {
    let root = harness::bins::root();
    let home = Home::new(&json!({}));
    for name in ["services.json", "master_services.json", "apps_registry.json"] {
        std::fs::copy(root.join(name), home.path(name)).unwrap();
    }
    home.ctl(&["config", "check"]).code(0);
    let demo = harness::bins::root().join("examples/demo/services.json");
    std::fs::copy(demo, home.path("services.json")).unwrap();
    std::fs::remove_file(home.path("master_services.json")).unwrap();
    home.ctl(&["config", "check"]).code(0);
    until("nothing was started", || home.helmd().is_none());
}

#[test]
fn one_fault_hides_no_other() {
    let home = Home::new(&json!({}));
    home.write(
        "services.json",
        &json!({
            "a": {"command": ["true"], "prot": 1, "url": "http://localhost:7001"},
            "b": {"command": ["no-such-program"], "depends_on": ["b"]},
            "c": {"command": ["true"], "path": "nowhere"},
            "d": {"command": ["true"], "probes": {"readiness": {"log": "("}}},
        })
        .to_string(),
    );
    home.write("master_services.json", "{");
    home.write("instance/helm.conf", "");
    std::fs::write(home.path("instance/helm.conf"), b"[helm]\nlog_level = \xff\n").unwrap();
    let said = home.ctl(&["config", "check"]).code(1);
    for words in [
        "services.a.prot: is not a field",
        "goes in a circle: b -> b",
        "the program `no-such-program` is not found",
        "nowhere is not there",
        "is not a regular expression",
        "master_services.json:1:1: error: not JSON",
        "instance/helm.conf: error: is not UTF-8",
    ] {
        assert_eq!(said.out.matches(words).count(), 1, "{words:?}:\n{}", said.out);
    }
    assert!(
        !said.out.contains("has no `"),
        "what could not be read adds no faults of its own:\n{}",
        said.out
    );
}
