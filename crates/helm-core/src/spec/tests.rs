//! The reader as a whole: what each mistake gets, and what the files of the repository become.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::access::{Rights, Roles, Scope};
use crate::wish::Mode;

const SERVICES: &str = include_str!("../../../../services.json");
const MASTER: &str = include_str!("../../../../master_services.json");
const REGISTRY: &str = include_str!("../../../../apps_registry.json");

fn source<'a>(path: &'a str, text: &'a str) -> Source<'a> {
    Source { path, text }
}

fn only(text: &str) -> Sources<'_> {
    Sources {
        services: source("services.json", text),
        helm_services: None,
        master: None,
        registry: None,
        conf: None,
    }
}

fn with_registry(text: &str) -> Sources<'_> {
    Sources { registry: Some(source("apps_registry.json", REGISTRY)), ..only(text) }
}

/// Reads, and compares each fault with the beginning that is expected of it; returns the configuration, if there is one.
fn check_all(sources: &Sources<'_>, expected: &[&str]) -> Option<Config> {
    let reading = read("/home/helm", sources);
    let found: Vec<String> = reading.faults.iter().map(ToString::to_string).collect();
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(same, "\nfound:    {found:#?}\nexpected: {expected:#?}");
    let errors = reading.faults.iter().any(|f| f.severity == Severity::Error);
    assert_eq!(reading.config.is_none(), errors);
    reading.config
}

fn check(text: &str, expected: &[&str]) -> Option<Config> {
    check_all(&only(text), expected)
}

fn good(text: &str) -> Config {
    check(text, &[]).unwrap()
}

fn the<'a>(config: &'a Config, name: &str) -> &'a ServiceSpec {
    config.service(name).unwrap()
}

#[test]
fn syntax_has_line_and_column() {
    for (text, fault) in [
        ("", "services.json: is empty"),
        ("{\n  \"a\": }", "services.json:2:8: not JSON: unexpected close brace"),
        ("{\n  \"a\": {},\n}", "services.json:2:10: not JSON: trailing commas are not allowed"),
        ("{} // x", "services.json:1:4: not JSON: comments are not allowed"),
        ("{'a': {}}", "services.json:1:2: not JSON: single-quoted"),
        ("{a: {}}", "services.json:1:2: not JSON: expected string"),
        ("{\"a\": {}", "services.json:1:1: not JSON: unterminated object"),
        ("{\"a\": {\"url\": \"x", "services.json:1:15: not JSON: "),
        ("{} {}", "services.json:1:4: not JSON: text cannot contain more than one"),
        (
            "{\"a\": {\"command\": [\"x\\\\\"], \"env\": {\"A\": \"1\n2\"}}}",
            "services.json:1:43: not JSON: a text holds a line end",
        ),
        ("[]", "services.json:1:1: services: must be an object, not a list"),
        ("null", "services.json:1:1: services: must be an object, not null"),
        ("{\"a\": 1}", "services.json:1:7: services.a: must be an object, not `1`"),
    ] {
        check(text, &[fault]);
    }
    check(&"[".repeat(100_000), &["services.json:1:513: not JSON: maximum nesting depth exceeded"]);
    check(&"{\"a\":".repeat(100_000), &["services.json:1:1282: not JSON: maximum nesting depth exceeded"]);
    let long = format!("{{\"a\": {{\"url\": \"{}\"}}}}", "x".repeat(10_000_000));
    check(&long, &["services.json: is 9.5 MiB long, more than the 1 MiB that Helm reads"]);
}

#[test]
fn every_fault_is_reported_at_once() {
    check(
        r#"{
  "core": {"path": "../core", "prot": 5000, "visible": "yes"},
  "Nexus": {"path": "../nexus"},
  "web": {"path": "../web", "port": 70000, "depends_on": ["coer"]},
  "web": {"path": "../web"},
  "db": {"command": ["db"], "restart": "allways", "stop": {"signal": "TREM", "grace": "soon"}}
}"#,
        &[
            "services.json:2:31: services.core.prot: is not a field that Helm knows (did you mean `port`?)",
            "services.json:2:56: services.core.visible: must be true or false, not `yes`",
            "services.json:3:3: services: `Nexus` cannot name a service (use 1 to 50 of a-z",
            "services.json:4:37: services.web.port: must be a whole number from 1 to 65535, not `70000`",
            "services.json:4:59: services.web.depends_on: there is no service `coer` (did you mean `core`?)",
            "services.json:5:3: services.web: `web` stands twice (first in line 4)",
            "services.json:6:40: services.db.restart: must be one of always, on-failure, never, not `allways` (did you mean `always`?)",
            "services.json:6:70: services.db.stop.signal: must be a signal, not `TREM`",
            "services.json:6:87: services.db.stop.grace: must be a time, not `soon`",
        ],
    );
}

#[test]
fn a_faulty_service_hides_nothing_about_others() {
    check(
        r#"{
  "a": 5,
  "b": {"command": ["x"], "prot": 1, "port": 7000, "depends_on": ["a", "c"]},
  "c": {"command": [], "port": 7000, "depends_on": ["b"]},
  "d": {"command": ["x"], "port": 7000, "depends_on": ["d"]}
}"#,
        &[
            "services.json:2:8: services.a: must be an object, not `5`",
            "services.json:3:27: services.b.prot: is not a field that Helm knows",
            "services.json:4:20: services.c.command: names no program",
            "services.json:4:32: services.c.port: port 7000 belongs to `b` already",
            "services.json:4:53: services.c.depends_on: goes in a circle: b -> c -> b",
            "services.json:5:35: services.d.port: port 7000 belongs to `c` already",
            "services.json:5:56: services.d.depends_on: goes in a circle: d -> d",
        ],
    );
}

#[test]
fn a_file_that_cannot_be_read_says_nothing_about_others() {
    let services =
        r#"{"web": {"command": ["x"], "depends_on": ["postgresql", "dbb"]}, "db": {"command": ["x"]}}"#;
    let broken = Some(source("apps_registry.json", "{\"core_apps\": "));
    check_all(
        &Sources { registry: broken, ..only(services) },
        &[
            "services.json:1:57: services.web.depends_on: there is no service `dbb`",
            "apps_registry.json:1:15: ",
        ],
    );
    let master =
        Some(source("master_services.json", r#"{"web": {"url": "http://localhost:1", "colour": 1}}"#));
    check_all(
        &Sources { master, ..only("{\"web\": ") },
        &["services.json:1:9: not JSON: ", "master_services.json:1:39: master_services.web.colour: is not"],
    );
}

#[test]
fn what_is_sound_can_be_looked_at_beside_what_is_not() {
    let reading = read(
        "/home/helm",
        &only(r#"{"bad": {"command": ["x"], "prot": 1}, "a": {"command": ["x"], "depends_on": ["a"]}}"#),
    );
    let draft = reading.draft.unwrap();
    let names: Vec<&str> = draft.services.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!((reading.config, names), (None, vec!["a"]));
    assert_eq!(read("/home/helm", &only("{}")).draft, None);
}

#[test]
fn values_out_of_range_or_of_another_kind() {
    for (field, fault) in [
        (r#""port": 0"#, "services.a.port: must be a whole number from 1 to 65535, not `0`"),
        (r#""port": -1"#, "services.a.port: must be a whole number"),
        (r#""port": 5000.5"#, "services.a.port: must be a whole number"),
        (
            r#""port": "5000""#,
            "services.a.port: must be a whole number from 1 to 65535, not `5000` (without quotes)",
        ),
        (r#""port": 1e400"#, "services.a.port: must be a whole number"),
        (
            r#""port": null"#,
            "services.a.port: must be a whole number from 1 to 65535, not null (leave the field out",
        ),
        (
            r#""url": "localhost:5000""#,
            "services.a.url: `localhost:5000` is not a url: it must begin with http://",
        ),
        (r#""url": "http://h:99999""#, "services.a.url: `http://h:99999` is not a url: it has a port"),
        (r#""url": """#, "services.a.url: `` is not a url"),
        (
            r#""url": "http://me:geheim@h/""#,
            "services.a.url: `http://me:********@h/` is not a url: it must not hold a user name or password",
        ),
        (r#""env": {"A": "x\u0000"}"#, "services.a.env.A: holds a NUL character"),
        (r#""env": {"A=B": "x"}"#, "services.a.env.A=B: `A=B` cannot name a variable"),
        (r#""env": {"A": []}"#, "services.a.env.A: must be a text, a number, true or false, not a list"),
        (r#""env": ["A"]"#, "services.a.env: must be an object, not a list"),
        (
            r#""backoff": {"factor": 0.5}"#,
            "services.a.backoff.factor: must be a number from 1 to 100, not `0.5`",
        ),
        (r#""backoff": {"jitter": 1.5}"#, "services.a.backoff.jitter: must be a number from 0 to 1"),
        (r#""backoff": {"initial": "2m"}"#, "services.a.backoff: begins with a delay above its longest"),
        (r#""backoff": {"limit": 0}"#, "services.a.backoff.limit: must be a whole number from 1"),
        (r#""backoff": {"max": "2d"}"#, "services.a.backoff.max: must be a time from 0s to 1d, not `2d`"),
        (r#""stop": {"signal": 64}"#, "services.a.stop.signal: must be a signal"),
        (r#""start_timeout": 0"#, "services.a.start_timeout: must be a time from 100ms to 1d"),
        (r#""start_timeout": -5"#, "services.a.start_timeout: must be a time"),
        (r#""limits": {"memory": "1X"}"#, "services.a.limits.memory: must be a size"),
        (r#""limits": {"memory": 5}"#, "services.a.limits.memory: must be at least 1048576 bytes"),
        (
            r#""limits": {"cpu_weight": 10001}"#,
            "services.a.limits.cpu_weight: must be a whole number from 1 to 10000",
        ),
        (
            r#""log": {"segment_size": "1G"}"#,
            "services.a.log: allows a file that is larger than all files together",
        ),
        (r#""depends_on": "core""#, "services.a.depends_on: must be a list or an object, not `core`"),
        (r#""depends_on": [5]"#, "services.a.depends_on[0]: must be a text, not `5`"),
        (
            r#""depends_on": {"a": "redy"}"#,
            "services.a.depends_on.a: must be one of started, ready, healthy, completed, not `redy` (did you mean `ready`?)",
        ),
        (
            r#""probes": {"readyness": {}}"#,
            "services.a.probes.readyness: is not a field that Helm knows (did you mean `readiness`?)",
        ),
        (r#""probes": {"readiness": {}}"#, "services.a.probes.readiness: asks nothing"),
        (r#""probes": {"readiness": {"notify": false}}"#, "services.a.probes.readiness: asks nothing"),
        (
            r#""probes": {"readiness": {"tcp": 1, "notify": true}}"#,
            "services.a.probes.readiness: asks more than one thing",
        ),
        (r#""probes": {"readiness": {"tcp": "host"}}"#, "services.a.probes.readiness.tcp: must be a port"),
        (
            r#""probes": {"readiness": {"http": "/health"}}"#,
            "services.a.probes.readiness.http: is a path, but the service has no url",
        ),
        (
            r#""probes": {"readiness": {"http": "health"}}"#,
            "services.a.probes.readiness.http: `health` is neither a path nor a url",
        ),
        (
            r#""probes": {"readiness": {"http": ["http://h/a", "b"]}}"#,
            "services.a.probes.readiness.http: `b` is not a path",
        ),
        (r#""probes": {"readiness": {"http": []}}"#, "services.a.probes.readiness.http: is an empty list"),
        (r#""probes": {"readiness": {"exec": []}}"#, "services.a.probes.readiness.exec: names no program"),
        (
            r#""probes": {"readiness": {"exec": "true"}}"#,
            "services.a.probes.readiness.exec: must be a list of words",
        ),
        (
            r#""probes": {"readiness": {"tcp": 1, "timeout": 0}}"#,
            "services.a.probes.readiness.timeout: must be a time from 10ms",
        ),
        (
            r#""probes": {"readiness": {"tcp": 1, "failures": 0}}"#,
            "services.a.probes.readiness.failures: must be a whole",
        ),
        (
            r#""probes": {"liveness": {"log": "x"}}"#,
            "services.a.probes.liveness: cannot be asked again and again",
        ),
        (
            r#""probes": {"readiness": true}"#,
            "services.a.probes.readiness: must be an object, not true or false",
        ),
    ] {
        check_places(&format!(r#"{{"a": {{"command": ["x"], {field}}}}}"#), &[fault]);
    }
}

/// As `check`, without the file, line and column.
fn check_places(text: &str, expected: &[&str]) {
    let faults = read("/home/helm", &only(text)).faults;
    let found: Vec<String> =
        faults.iter().map(|f| f.to_string().splitn(4, ':').nth(3).unwrap().trim().to_owned()).collect();
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.starts_with(e));
    assert!(same, "\n{text}\nfound:    {found:#?}\nexpected: {expected:#?}");
    assert!(faults.iter().all(|f| f.line > 0 && f.column > 0));
}

#[test]
fn what_is_run() {
    for (entry, fault) in [
        (r#"{}"#, "services.a: has nothing to run and no url"),
        (r#"{"port": 5000}"#, "services.a: has nothing to run and no url"),
        (
            r#"{"command": ["x"], "start_command": "y"}"#,
            "services.a.start_command: says a second time what is to run",
        ),
        (r#"{"command": ["x"], "run_script": "y"}"#, "services.a.run_script: says a second time"),
        (
            r#"{"path": "p", "start_command": "x", "python_bin": "y"}"#,
            "services.a.python_bin: says a second time",
        ),
        (r#"{"command": "a b"}"#, "services.a.command: is one text, and no shell is asked for"),
        (r#"{"command": ["a"], "shell": true}"#, "services.a.command: is a list, but a shell takes one text"),
        (r#"{"path": "x", "shell": true}"#, "services.a.shell: needs a `command`"),
        (r#"{"command": []}"#, "services.a.command: names no program"),
        (r#"{"command": ["../x/y"]}"#, "services.a.command: `../x/y` leaves the service's directory"),
        (
            r#"{"start_command": "/bin/sh x"}"#,
            "services.a.start_command: `/bin/sh` leaves the service's directory",
        ),
        (r#"{"start_command": "../kc.sh x"}"#, "services.a.start_command: `../kc.sh` leaves"),
        (r#"{"start_command": "a 'b"}"#, "services.a.start_command: has a quote that is not closed"),
        (
            r#"{"path": "x", "python_bin": "../venv/bin/python"}"#,
            "services.a.python_bin: `../venv/bin/python` leaves the service's directory",
        ),
        (r#"{"path": "x", "run_script": "/tmp/run.py"}"#, "services.a.run_script: `/tmp/run.py` leaves"),
        (r#"{"path": "x", "env_file": "a/../../b"}"#, "services.a.env_file: `a/../../b` leaves"),
        (r#"{"path": "x\u0000"}"#, "services.a.path: holds a NUL character"),
        (
            r#"{"type": "keycloak", "path": "x"}"#,
            "services.a.type: is `keycloak`, but there is no `start_command`",
        ),
        (
            r#"{"type": "python", "command": ["x"]}"#,
            "services.a.type: is `python`, but the entry has a command",
        ),
        (r#"{"type": "command", "path": "x"}"#, "services.a.type: is `command`, but there is no `command`"),
        (
            r#"{"type": "pyton", "path": "x"}"#,
            "services.a.type: must be one of python, keycloak, command, not `pyton` (did you mean `python`?)",
        ),
        (
            r#"{"path": "x", "a\n\u001bb": 1}"#,
            "services.a.a\u{fffd}\u{fffd}b: is not a field that Helm knows",
        ),
        // One fault, not a second one that follows from it.
        (
            r#"{"comand": ["x"]}"#,
            "services.a.comand: is not a field that Helm knows (did you mean `command`?)",
        ),
    ] {
        check_places(&format!(r#"{{"a": {entry}}}"#), &[fault]);
    }
}

#[test]
fn argv_of_each_kind() {
    let config = good(
        r#"{
  "python": {"path": "../p"},
  "venv": {"path": "/opt/v", "python_bin": "bin/python3", "run_script": "app/main.py"},
  "kc": {"path": "../keycloak", "start_command": "bin/kc.sh start-dev --x='a b'", "type": "keycloak"},
  "bare": {"command": ["redis-server", "--port", ""]},
  "inside": {"path": "d", "command": ["./bin/x"]},
  "absolute": {"command": ["/bin/true"]},
  "shell": {"command": "exec a | b", "shell": true},
  "directory": {"url": "https://elsewhere.example"}
}"#,
    );
    let argv_of = |name| argv(the(&config, name));
    let words = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
    assert_eq!(argv_of("python"), words(&["/home/p/pyenv/bin/python", "/home/p/run.py"]));
    assert_eq!(argv_of("venv"), words(&["/opt/v/bin/python3", "/opt/v/app/main.py"]));
    assert_eq!(argv_of("kc"), words(&["/home/keycloak/bin/kc.sh", "start-dev", "--x=a b"]));
    assert_eq!(argv_of("bare"), words(&["redis-server", "--port", ""]));
    assert_eq!(argv_of("inside"), words(&["/home/helm/d/bin/x"]));
    assert_eq!(argv_of("absolute"), words(&["/bin/true"]));
    assert_eq!(argv_of("shell"), words(&["/bin/sh", "-c", "exec a | b"]));
    assert_eq!(argv_of("directory"), None);
    assert_eq!(the(&config, "bare").path, "/home/helm");
}

#[test]
fn the_entry_helm_is_helm_web_and_never_python() {
    const WARNING: &str =
        "warning: services.helm: is Helm as it was in Python; helm-web, which lies beside helmd, is run";
    let listening = |text: &str, port: u16, faults: &[&str]| {
        let config = check_all(&with_registry(text), faults).unwrap();
        let helm = the(&config, "helm");
        assert!(helm.is_helm_web(), "{text}");
        let (four, six) = (format!("127.0.0.1:{port}"), format!("[::1]:{port}"));
        assert_eq!(argv(helm).unwrap(), ["helm-web", "--listen", &four, "--listen", &six], "{text}");
        assert_eq!((helm.path.as_str(), &*helm.env["HELM_HOME"]), ("/home/helm", "/home/helm"), "{text}");
        assert_eq!(helm.port, Some(port), "{text}");
        let health = Check::Http { url: format!("http://localhost:{port}/health"), fallback: vec![] };
        assert_eq!(helm.probes.readiness.as_ref().unwrap().check, health, "{text}");
        assert!(helm.depends_on.is_empty() && helm.outside.is_empty(), "{text}");
    };
    let python = r#"{"helm": {"url": "http://localhost:5004", "path": ".", "port": 5004, "python_bin": "pyenv/bin/python", "run_script": "run.py", "admin_only": true}}"#;
    listening(python, 5004, &[&format!("services.json:1:2: {WARNING}")]);
    let warned = [&format!("services.json:1:2: {WARNING}")[..]];
    listening(r#"{"helm": {"path": "../hivematrix-helm"}}"#, 5004, &warned);
    listening(r#"{"helm": {"path": ".", "url": "https://helm.example.org"}}"#, 5004, &warned);
    listening(r#"{"helm": {"url": "http://localhost:5004"}}"#, 5004, &[]);
    let tls =
        "services.json:1:2: warning: services.helm.url: `https://localhost:5004` is where nobody answers";
    listening(r#"{"helm": {"url": "https://localhost:5004"}}"#, 5004, &[tls]);
    listening(r#"{"helm": {"url": "http://127.0.0.1:6004", "env": {"HELM_LOG": "debug"}}}"#, 6004, &[]);
    listening(r#"{"helm": {"port": 6004}}"#, 6004, &[]);
}

#[test]
fn what_is_helm_only_in_part_is_taken_as_it_is_written() {
    let own = good(r#"{"helm": {"command": ["helm-web", "--listen", "127.0.0.1:6004"], "port": 6004}}"#);
    assert_eq!(argv(the(&own, "helm")).unwrap(), ["helm-web", "--listen", "127.0.0.1:6004"]);
    let far = good(r#"{"helm": {"url": "http://helm.example.org:5004", "port": 5004}}"#);
    assert_eq!(the(&far, "helm").program, None);
    // By another name it is no service of the ecosystem.
    for path in ["../helm", "/home/helm/", "./x/.."] {
        let text = format!(r#"{{"old": {{"path": "{path}"}}}}"#);
        let config = check(&text, &["services.json:1:2: warning: services.old: is Helm itself"]).unwrap();
        assert_eq!(the(&config, "old").program, None);
    }
    assert!(good(r#"{"app": {"path": ".", "run_script": "app.py"}}"#).services[0].program.is_some());
}

#[test]
fn a_registry_does_not_make_helm_web_wait() {
    let registry = r#"{"core_apps": {"core": {"port": 5000}, "helm": {"port": 5004, "dependencies": ["core", "postgresql"]}},
  "system_dependencies": {"postgresql": {"port": 5432}}}"#;
    let text = |depends_on: &str| {
        format!(r#"{{"core": {{"command": ["x"]}}, "helm": {{"url": "http://localhost:5004"{depends_on}}}}}"#)
    };
    let edges = |depends_on: &str| {
        let text = text(depends_on);
        let config =
            check_all(&Sources { registry: Some(source("r.json", registry)), ..only(&text) }, &[]).unwrap();
        let helm = the(&config, "helm");
        (helm.depends_on.len(), helm.outside.len())
    };
    assert_eq!(edges(""), (0, 0));
    assert_eq!(edges(r#", "depends_on": ["core"]"#), (1, 0), "what the operator writes holds");
}

#[test]
fn dependencies() {
    for (entries, faults) in [
        (
            r#""a": {"command": ["x"], "depends_on": ["a"]}"#,
            &["services.a.depends_on: goes in a circle: a -> a"][..],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": ["b"]}, "b": {"command": ["x"], "depends_on": ["c"]}, "c": {"command": ["x"], "depends_on": {"a": "started"}}"#,
            &["services.c.depends_on: goes in a circle: a -> b -> c -> a"],
        ),
        (
            r#""x": {"command": ["x"], "depends_on": ["a", "b"]}, "a": {"command": ["x"], "depends_on": ["b"]}, "b": {"command": ["x"], "depends_on": ["a"]}"#,
            &["services.b.depends_on: goes in a circle: a -> b -> a"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": ["b"]}, "b": {"url": "http://elsewhere"}"#,
            &["services.a.depends_on: `b` is a directory entry"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": ["b"]}, "b": {"command": "one text"}"#,
            &["services.b.command: is one text"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": ["b", "b"]}, "b": {"command": ["x"]}"#,
            &["services.a.depends_on: names `b` twice"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": {"b": "completed"}}, "b": {"command": ["x"]}"#,
            &["warning: services.a.depends_on: `b` is started again whenever it ends, so it never completes"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": {"b": "healthy"}}, "b": {"command": ["x"]}"#,
            &["warning: services.a.depends_on: `b` has no probe"],
        ),
        (
            r#""a": {"command": ["x"], "depends_on": {"zebra": "ready"}}"#,
            &["services.a.depends_on: there is no service `zebra` (known: a)"],
        ),
    ] {
        check_places(&format!("{{{entries}}}"), faults);
    }
}

#[test]
fn a_long_chain_and_many_services_are_read_in_time() {
    let entry = |i: usize| format!(r#""s{i}": {{"command": ["x"], "depends_on": ["s{}"]}}"#, i + 1);
    let chain: Vec<String> = (0..10_000).map(entry).collect();
    let config = good(&format!(r#"{{{}, "s10000": {{"command": ["x"]}}}}"#, chain.join(",")));
    assert_eq!(config.services.len(), 10_001);
}

#[test]
fn a_file_of_faults_is_answered_in_time() {
    let unknown = (0..40_000).map(|i| format!("\"zzz{i}\"")).collect::<Vec<_>>().join(",");
    let many = (0..5_000).map(|i| format!(r#","s{i}":{{"command":["x"],"port":0}}"#)).collect::<String>();
    let text = format!(r#"{{"a":{{"command":["x"],"depends_on":[{unknown}]}}{many}}}"#);
    let reading = read("/h", &only(&text));
    assert!(reading.config.is_none());
    assert_eq!(reading.faults.len(), 501);
}

/// The seed's own example of a services.json, and of a master_services.json.
#[test]
fn the_seed_s_example_is_read_as_it_is() {
    let services = r#"{
  "keycloak": {"url": "http://localhost:8080", "path": "../keycloak-26.4.0", "port": 8080,
    "start_command": "bin/kc.sh start-dev", "type": "keycloak", "visible": true, "admin_only": true},
  "core": {"url": "http://localhost:5000", "path": "../hivematrix-core", "port": 5000,
    "python_bin": "pyenv/bin/python", "run_script": "run.py", "visible": true, "admin_only": true},
  "codex": {"url": "http://localhost:5010", "path": "../hivematrix-codex", "port": 5010,
    "python_bin": "pyenv/bin/python", "run_script": "run.py", "visible": true}
}"#;
    let master = r#"{"keycloak": {"url": "http://localhost:8080", "port": 8080},
  "core": {"url": "http://localhost:5000", "port": 5000}, "codex": {"url": "http://localhost:5010", "port": 5010}}"#;
    let config = check_all(&Sources { master: Some(source("m", master)), ..only(services) }, &[]).unwrap();
    assert!(config.services.iter().all(|s| s.program.is_some() && s.probes.readiness.is_some()));
    check_all(&with_registry(services), &[]);
}

#[test]
fn one_port_one_service() {
    check(
        r#"{
  "a": {"command": ["x"], "port": 5000},
  "b": {"command": ["x"], "port": 5000},
  "c": {"command": ["x"], "url": "http://localhost:5000/x"},
  "far": {"command": ["x"], "url": "http://elsewhere:5000"},
  "entry": {"url": "http://localhost:5000"},
  "d": {"command": ["x"], "url": "http://127.0.0.1:5001", "port": 5002}
}"#,
        &[
            "services.json:3:35: services.b.port: port 5000 belongs to `a` already",
            "services.json:4:34: services.c.url: port 5000 belongs to `b` already",
            "services.json:7:67: warning: services.d.port: is 5002, but the url says 5001",
        ],
    );
}

#[test]
fn names_that_nexus_serves_itself() {
    let warning = ": is a name that Nexus serves itself";
    check_places(
        r#"{"docs": {"command": ["x"]}, "nexus": {"command": ["y"]}}"#,
        &[&format!("warning: services.docs{warning}")],
    );
    let alone = r#"{"docs": {"command": ["x"]}}"#;
    check_places(alone, &[]);
    let faults = read("/home/helm", &with_registry(alone)).faults;
    assert!(faults.len() == 1 && faults[0].to_string().contains(warning), "{faults:?}");
    check_places(r#"{"keycloak": {"path": "k", "start_command": "x", "type": "keycloak"}}"#, &[]);
    for bad in ["Core", "a b", "", "a.b", &"a".repeat(51)] {
        let name = format!("services: `{bad}` cannot name a service");
        check_places(&format!(r#"{{"{bad}": {{"command": ["x"]}}}}"#), &[&name]);
    }
}

#[test]
fn defaults_of_a_service() {
    let config = good(
        r#"{"a": {"path": "../a", "url": "http://localhost:5000/"}, "b": {"command": ["x"], "port": 1}}"#,
    );
    let a = the(&config, "a");
    assert_eq!((a.url.as_deref(), a.port), (Some("http://localhost:5000"), Some(5000)));
    assert_eq!((a.visible, a.admin_only, a.billing_or_admin_only), (true, false, false));
    assert_eq!(
        (a.restart, &a.backoff, &a.stop),
        (RestartPolicy::Always, &Backoff::default(), &StopPolicy::default())
    );
    assert_eq!((&a.limits, &a.log, a.start_timeout), (&Limits::default(), &LogRules::default(), None));
    let http = Check::Http { url: "http://localhost:5000/health".into(), fallback: vec![] };
    let startup = a.probes.startup.as_ref().unwrap();
    let readiness = a.probes.readiness.as_ref().unwrap();
    assert_eq!((&startup.check, startup.interval), (&http, Duration::from_millis(500)));
    assert_eq!(
        (&readiness.check, readiness.interval, readiness.timeout),
        (&http, Duration::from_secs(15), Duration::from_secs(10))
    );
    assert_eq!(a.probes.liveness, None);
    assert_eq!(the(&config, "b").probes, Probes::default());
}

#[test]
fn everything_that_can_be_said() {
    let config = good(
        r#"{"a": {
  "type": "command", "path": "/srv/a", "url": "https://localhost:8443/base", "port": 8443, "command": ["run"],
  "visible": false, "admin_only": true, "billing_or_admin_only": true,
  "depends_on": {"b": "completed"}, "restart": "on-failure",
  "backoff": {"initial": "500ms", "factor": 1.5, "max": 30, "jitter": 0, "reset_after": "1m", "limit": 5},
  "stop": {"signal": "INT", "grace": "1m30s"}, "start_timeout": "2m",
  "env": {"TEXT": "", "NUMBER": 5, "FLAG": true}, "env_file": "conf/env",
  "probes": {
    "startup": {"log": "ready in \\d+ ms"},
    "readiness": {"http": ["/ready", "/"], "interval": 5, "timeout": "2s", "failures": 2, "successes": 3, "initial_delay": 1},
    "liveness": {"exec": ["./alive", ""]}
  },
  "limits": {"memory": "512M", "cpu_weight": 200, "cpu_quota": 150, "pids": 64, "nofile": 4096, "core": 0},
  "log": {"segment_size": "1M", "total_size": "10M", "compress": false}
}, "b": {"command": ["x"], "restart": "never", "probes": {"readiness": {"tcp": "[::1]:90"}, "startup": false}}}"#,
    );
    let a = the(&config, "a");
    let seconds = Duration::from_secs;
    assert_eq!(
        a.depends_on,
        [Dependency {
            service: crate::name::ServiceName::new("b").unwrap(),
            condition: Condition::Completed
        }]
    );
    assert_eq!((a.visible, a.admin_only, a.billing_or_admin_only), (false, true, true));
    assert_eq!(a.restart, RestartPolicy::OnFailure);
    assert_eq!(
        a.backoff,
        Backoff {
            initial: Duration::from_millis(500),
            factor: 1.5,
            max: seconds(30),
            jitter: 0.0,
            reset_after: seconds(60),
            limit: Some(5)
        }
    );
    assert_eq!(a.stop, StopPolicy { signal: 2, grace: seconds(90) });
    assert_eq!(a.start_timeout, Some(seconds(120)));
    let env = [("FLAG", "true"), ("NUMBER", "5"), ("TEXT", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(a.env, BTreeMap::from(env));
    assert_eq!(a.env_file.as_deref(), Some("conf/env"));
    let readiness = Probe {
        check: Check::Http { url: "https://localhost:8443/base/ready".into(), fallback: vec!["/".into()] },
        interval: seconds(5),
        timeout: seconds(2),
        failures: 2,
        successes: 3,
        initial_delay: seconds(1),
    };
    assert_eq!(a.probes.readiness, Some(readiness));
    assert_eq!(
        a.probes.liveness.as_ref().unwrap().check,
        Check::Exec { command: vec!["./alive".into(), String::new()] }
    );
    assert_eq!(
        a.limits,
        Limits {
            memory: Some(512 << 20),
            cpu_weight: Some(200),
            cpu_quota: Some(150),
            pids: Some(64),
            nofile: Some(4096),
            core: Some(0)
        }
    );
    assert_eq!(
        a.log,
        LogRules { segment_bytes: 1 << 20, total_bytes: 10 << 20, compress: false, ..LogRules::default() }
    );
    let patterns: Vec<LogPattern<'_>> = config.log_patterns().collect();
    let pattern = LogPattern {
        file: "services.json",
        line: 9,
        column: 24,
        field: "services.a.probes.startup.log",
        pattern: r"ready in \d+ ms",
    };
    assert_eq!(patterns, [pattern]);
    let b = &the(&config, "b").probes;
    assert_eq!(b.readiness.as_ref().unwrap().check, Check::Tcp { host: "[::1]".into(), port: 90 });
    assert_eq!(b.startup, None);
}

#[test]
fn startup_is_derived_from_readiness_where_it_can_be() {
    let config = good(
        r#"{
  "tcp": {"command": ["x"], "probes": {"readiness": {"tcp": 80, "interval": "1m"}}},
  "said": {"command": ["x"], "probes": {"readiness": {"notify": true}}},
  "off": {"command": ["x"], "url": "http://localhost:1", "probes": {"readiness": false}}
}"#,
    );
    let startup = the(&config, "tcp").probes.startup.clone().unwrap();
    assert_eq!(
        (startup.check, startup.interval),
        (Check::Tcp { host: "127.0.0.1".into(), port: 80 }, Duration::from_millis(500))
    );
    assert_eq!(the(&config, "said").probes.startup, None);
    assert_eq!(the(&config, "off").probes, Probes::default());
}

#[test]
fn flaskenv_as_the_contract_parses_it() {
    let text = "# comment\n\n FLASK_APP = run.py \r\nQUOTED='a b'\nDOUBLE=\"x=y\"\nMIXED='a\"\nEMPTY=\nexport X=1\nINLINE=a # b\nnothing\n=5\nQ='\n";
    let pairs = flaskenv(text);
    let want = [
        ("FLASK_APP", "run.py"),
        ("QUOTED", "a b"),
        ("DOUBLE", "x=y"),
        ("MIXED", "'a\""),
        ("EMPTY", ""),
        ("export X", "1"),
        ("INLINE", "a # b"),
        ("Q", "'"),
    ];
    assert_eq!(pairs, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn layers_of_the_environment() {
    let registry = r#"{
  "core_apps": {"a": {"helm": {
    "env": {"L1": "registry", "L2": "registry", "PORT": "${port}", "OTHER": "${b.url}", "GONE": "${c.url}", "SERVICE_NAME": "mine"},
    "env_production": {"USE_GUNICORN": "true", "L2": "registry-production"},
    "env_development": {"ONLY_DEV": "1"},
    "mode_flags": ["DEV_MODE"]}}},
  "helm": {"env": {"L1": "common", "COMMON": "${name}"}, "mode_flags": ["ALL"]}
}"#;
    let services = r#"{"a": {"path": "a", "port": 7, "env": {"L4": "env", "FLASK_ENV": "env"}}, "b": {"url": "http://b:1"}}"#;
    let config =
        check_all(&Sources { registry: Some(source("r", registry)), ..only(services) }, &[]).unwrap();
    let base = [("SERVICE_NAME", "helm"), ("PATH", "/bin"), ("L1", "base")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()));
    let flaskenv = "L2=flaskenv\nL3=flaskenv\nDEV_MODE=nonsense\nENVIRONMENT=x\nUSE_GUNICORN=false";
    let env_file = "L3=env_file\nL4=env_file";
    let of = |mode, flaskenv, env_file| {
        environment(the(&config, "a"), mode, &BTreeMap::from(base.clone()), flaskenv, env_file)
    };

    let env = of(Mode::Production, Some(flaskenv), Some(env_file));
    let want = [
        ("ALL", "false"),
        ("COMMON", "a"),
        ("DEV_MODE", "false"),
        ("ENVIRONMENT", "production"),
        ("FLASK_ENV", "production"),
        ("HIVEMATRIX_DEV_MODE", "false"),
        ("L1", "registry"),
        ("L2", "flaskenv"),
        ("L3", "env_file"),
        ("L4", "env"),
        ("OTHER", "http://b:1"),
        ("PATH", "/bin"),
        ("PORT", "7"),
        ("SERVICE_NAME", "mine"),
        ("USE_GUNICORN", "false"),
    ];
    assert_eq!(env, BTreeMap::from(want.map(|(n, v)| (n.to_owned(), v.to_owned()))));
    assert_eq!(of(Mode::Production, None, None)["L2"], "registry-production");
    let env = of(Mode::Development, None, None);
    assert_eq!((&*env["ONLY_DEV"], &*env["DEV_MODE"], &*env["L2"]), ("1", "true", "registry"));
    assert!(!env.contains_key("USE_GUNICORN"));
    // Without a registry nothing names the service, and the parent's name does not leak either.
    let plain = good(r#"{"a": {"path": "a"}}"#);
    assert!(
        !environment(&plain.services[0], Mode::Production, &BTreeMap::from(base), None, None)
            .contains_key("SERVICE_NAME")
    );
}

#[test]
fn registry_faults() {
    let registry = r#"{
  "core_apps": {"a": {"helm": {"env": {"X": "${host}", "Y": "${a.b.port}"}}, "color": "red"}},
  "system_dependencies": {"db": {"port": 0}}
}"#;
    check_all(
        &Sources { registry: Some(source("r.json", registry)), ..only("{}") },
        &[
            "r.json:2:45: registry.a.helm.X: holds a `${…}` that Helm cannot fill in",
            "r.json:2:61: registry.a.helm.Y: holds a `${…}` that Helm cannot fill in",
            "r.json:2:78: warning: registry.core_apps.a.color: is not a field that Helm knows",
            "r.json:3:42: registry.system_dependencies.db.port: must be a whole number",
        ],
    );
}

#[test]
fn edges_of_the_registry_hold_as_far_as_they_can_be_met() {
    let text = r#"{
  "codex": {"path": "../hivematrix-codex"},
  "core": {"path": "../hivematrix-core"},
  "nexus": {"url": "https://localhost"},
  "beacon": {"path": "../hivematrix-beacon", "depends_on": {"core": "healthy", "postgresql": "ready"}, "probes": {"readiness": {"tcp": 1}}}
}"#;
    let config = check_all(
        &with_registry(text),
        &["services.json:5:61: warning: services.beacon.depends_on: `core` has no probe"],
    )
    .unwrap();
    let edges =
        |name| the(&config, name).depends_on.iter().map(|d| d.service.to_string()).collect::<Vec<_>>();
    let outside = |name| {
        the(&config, name).outside.iter().map(|o| format!("{}:{}", o.name, o.port)).collect::<Vec<_>>()
    };
    // Keycloak is not configured, so it is an outside service; nexus is elsewhere, so nobody waits for it.
    assert_eq!(edges("core"), Vec::<String>::new());
    assert_eq!(outside("core"), ["postgresql:5432", "keycloak:8080", "redis:6379"]);
    assert_eq!(edges("codex"), ["core"]);
    assert_eq!(outside("codex"), ["postgresql:5432"]);
    assert_eq!(edges("beacon"), ["core"]);
    assert_eq!(outside("beacon"), ["postgresql:5432"]);
    let typo = r#"{"a": {"command": ["x"], "depends_on": ["postgresq"]}}"#;
    check_all(
        &with_registry(typo),
        &[
            "services.json:1:41: services.a.depends_on: there is no service `postgresq` (did you mean `postgresql`?)",
        ],
    );
}

fn repository() -> Config {
    let sources = Sources { master: Some(source("master_services.json", MASTER)), ..with_registry(SERVICES) };
    check_all(&sources, &[]).unwrap()
}

#[test]
fn the_files_of_the_repository_describe_hivematrix() {
    let config = repository();
    let edges =
        |name: &str| the(&config, name).depends_on.iter().map(|d| d.service.to_string()).collect::<Vec<_>>();
    assert_eq!(edges("keycloak"), Vec::<String>::new());
    assert_eq!(edges("core"), ["keycloak"]);
    assert_eq!(edges("nexus"), ["core", "keycloak"]);
    assert_eq!(edges("codex"), ["core", "nexus"]);
    assert_eq!(edges("ledger"), ["core", "codex", "nexus"]);
    assert_eq!(edges("knowledgetree"), ["core", "codex", "nexus"]);
    assert_eq!(edges("brainhair"), ["core", "codex", "knowledgetree", "nexus"]);
    assert_eq!(edges("beacon"), ["core", "codex", "nexus"]);
    let helm = the(&config, "helm");
    assert!(helm.is_helm_web() && helm.admin_only && edges("helm").is_empty());
    let keycloak = the(&config, "keycloak");
    assert_eq!(argv(keycloak).unwrap(), ["/home/keycloak-26.4.0/bin/kc.sh", "start-dev"]);
    assert_eq!(keycloak.env_defaults["KC_BOOTSTRAP_ADMIN_USERNAME"], "admin");
    let realm = Check::Http { url: "http://localhost:8080/realms/master".into(), fallback: vec![] };
    assert_eq!(keycloak.probes.readiness.as_ref().unwrap().check, realm);
    let nexus = the(&config, "nexus");
    let production = environment(nexus, Mode::Production, &BTreeMap::new(), None, None);
    let development = environment(nexus, Mode::Development, &BTreeMap::new(), None, None);
    for (name, wanted) in
        [("NEXUS_PORT", "443"), ("NEXUS_HOST", "0.0.0.0"), ("USE_GUNICORN", "true"), ("DEV_MODE", "false")]
    {
        assert_eq!(production[name], wanted, "{name}");
    }
    assert_eq!((development.get("USE_GUNICORN"), &*development["DEV_MODE"]), (None, "true"));
    assert_eq!(
        (&*development["SERVICE_NAME"], &*development["CORE_SERVICE_URL"]),
        ("nexus", "http://localhost:5000")
    );
    let outside: Vec<&str> = the(&config, "knowledgetree").outside.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(outside, ["neo4j"]);
}

#[test]
fn what_services_are_told() {
    let master = r#"{
  "core": {"url": "http://10.0.0.1:5000", "port": 5000},
  "archive": {"url": "http://localhost:5012", "port": 5012}
}"#;
    let services = r#"{
  "$schema": "./services.schema.json",
  "nexus": {"path": "../n", "url": "https://localhost:443", "port": 443, "visible": false},
  "core": {"path": "../c", "url": "http://localhost:5000", "port": 5000, "admin_only": true},
  "worker": {"command": ["x"]},
  "ledger": {"url": "http://localhost:5030", "port": 5031, "billing_or_admin_only": true}
}"#;
    let sources = Sources { master: Some(source("master_services.json", master)), ..only(services) };
    let config = check_all(
        &sources,
        &[
            "services.json:6:54: warning: services.ledger.port: is 5031, but the url says 5030",
            "master_services.json:1:1: warning: master_services: has no `nexus`; the services are told the url of services.json",
            "master_services.json:1:1: warning: master_services: has no `ledger`",
            "master_services.json:2:19: warning: master_services.core.url: services.json says `http://localhost:5000`",
            "master_services.json:3:3: warning: master_services.archive: is not in services.json",
        ],
    )
    .unwrap();
    let told = own_services_json(&config, &config.services[0].name);
    assert!(
        told.starts_with("{\n  \"nexus\": {\n    \"url\": \"https://localhost:443\",\n    \"port\": 443,\n"),
        "{told}"
    );
    let names: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("  \"")?.split('"').next()).collect();
    assert_eq!(names, ["nexus", "core", "ledger", "archive"]);
    let read: serde_json::Value = serde_json::from_str(&told).unwrap();
    let entry = |url, port, visible, admin_only, billing| serde_json::json!({"url": url, "port": port, "visible": visible, "admin_only": admin_only, "billing_or_admin_only": billing});
    assert_eq!(read["core"], entry("http://10.0.0.1:5000", 5000, true, true, false));
    assert_eq!(read["ledger"], entry("http://localhost:5030", 5031, true, false, true));
    assert_eq!(read["archive"], entry("http://localhost:5012", 5012, true, false, false));
}

#[test]
fn helm_services_json_comes_first() {
    let helm = r#"{"core": {"url": "http://localhost:5000", "path": "../c", "port": 5000, "visible": true}, "bad": {"path": "../b", "port": 0}}"#;
    let listed = r#"{"core": {"url": "http://localhost:5000", "visible": false}, "wiki": {"url": "http://localhost:1"}}"#;
    let faulty = Sources { helm_services: Some(source("helm_services.json", helm)), ..only(listed) };
    check_all(&faulty, &["helm_services.json:1:123: services.bad.port: must be a whole number"]);
    let helm = helm.replace(", \"port\": 0", "");
    let sources = Sources { helm_services: Some(source("helm_services.json", &helm)), ..only(listed) };
    let config = check_all(&sources, &[]).unwrap();
    assert_eq!(config.services.len(), 2);
    assert!(!the(&config, "core").visible);
    let names: Vec<&str> = config.directory.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["core", "bad", "wiki"]);
}

fn settings(text: &str, expected: &[&str]) -> Option<Settings> {
    check_all(&Sources { conf: Some(source("helm.conf", text)), ..only("{}") }, expected).map(|c| c.settings)
}

#[test]
fn helm_conf() {
    let seed = "[database]\nconnection_string = postgresql://u:p%40x@h/db\n\n[database_credentials]\ndb_host = localhost\n";
    assert_eq!(settings(seed, &[]), Some(Settings::default()));
    let own = "; c\n[helm]\npeer_group = ops\nstart_cap=4\nprobe_cap : 8\ndefault_mode = production\ncgroup_tree = /sys/fs/cgroup/x\nevents_kept = 500\nfree_floor = 2G\npartition_rows = 5000\ntrigrams = yes\n[retention]\naudit = 500d\ndebug = 2d 1G\n[metrics]\nraw = 2d\n";
    let want = Settings {
        peer_group: Some("ops".into()),
        start_cap: 4,
        probe_cap: 8,
        default_mode: Some(Mode::Production),
        cgroup_tree: Some("/sys/fs/cgroup/x".into()),
        events_kept: 500,
        free_floor: 2 << 30,
        partition_rows: 5000,
        trigrams: true,
        retention: BTreeMap::from([
            ("default".into(), Keep::default()),
            ("audit".into(), Keep { age: Some(Duration::from_secs(500 * 86_400)), bytes: None }),
            ("debug".into(), Keep { age: Some(Duration::from_secs(2 * 86_400)), bytes: Some(1 << 30) }),
        ]),
        metrics: MetricSettings { raw: Duration::from_secs(2 * 86_400), ..MetricSettings::default() },
        ..Settings::default()
    };
    assert_eq!(settings(own, &[]), Some(want));
    settings(
        "[retention]\nAudit = 1d\ndebug = soon\n[metrics]\nraw = 1s\nhour = 2d\n",
        &[
            "helm.conf:2:1: retention: `Audit` cannot name a class of retention",
            "helm.conf:3:9: retention.debug: must be a time, a size, or both, not `soon` (`soon` is neither a time nor a size: say 90d, 20G, \"90d 20G\" or forever)",
            "helm.conf:5:7: metrics.raw: must be a time from 1h to 36525d, not `1s`",
            "helm.conf:6:1: metrics.hour: is not a field that Helm knows (did you mean `hours`?)",
        ],
    );
    settings(
        "x = 1\n[helm]\nstart_capp = 4\n  probe_cap = 0\nstart_cap = 5\nstart_cap = 6\ndefault_mode = prod\njunk\ncgroup_tree = x\n[hlem]\na = b\n[]\n",
        &[
            "helm.conf:1:1: stands before the first section",
            "helm.conf:3:1: helm.start_capp: is not a field that Helm knows (did you mean `start_cap`?)",
            "helm.conf:4:15: helm.probe_cap: must be a whole number from 1 to 1000, not `0`",
            "helm.conf:6:1: helm.start_cap: `start_cap` stands twice (first in line 5)",
            "helm.conf:7:16: helm.default_mode: must be one of development, production, not `prod`",
            "helm.conf:8:1: helm: `junk` is not a setting (like start_cap = 32)",
            "helm.conf:9:15: helm.cgroup_tree: `x` is not an absolute path",
            "helm.conf:10:1: warning: hlem: is not a section that Helm knows; it is not read (did you mean `helm`?)",
            "helm.conf:12:1: `[]` is not a section",
        ],
    );
}

/// With services `core` and `codex`.
fn roles_and_web(text: &str, expected: &[&str]) -> Option<Settings> {
    let services = r#"{"core": {"url": "http://localhost:5000"}, "codex": {"url": "http://localhost:5010"}}"#;
    let sources = Sources { conf: Some(source("helm.conf", text)), ..only(services) };
    check_all(&sources, expected).map(|config| config.settings)
}

#[test]
fn roles_list_services() {
    let listed = |names: &[&str]| names.iter().map(|name| ServiceName::new(name).unwrap()).collect::<Scope>();
    let text = "[roles]\ntechnician = codex, core\ntechnician.operate = codex\nbilling = *\nclient =\n";
    let roles = roles_and_web(text, &[]).unwrap().roles;
    assert_eq!(roles.technician, Rights { sees: listed(&["codex", "core"]), operates: listed(&["codex"]) });
    assert_eq!(roles.billing, Rights { sees: Scope::All, operates: Scope::none() });
    assert_eq!(roles.client, Rights { sees: Scope::none(), operates: Scope::none() });
    assert_eq!(roles_and_web("[roles]\n", &[]).unwrap().roles, Roles::default());
    roles_and_web(
        "[roles]\nbilling = cdex\nclient = zebra\n",
        &[
            "helm.conf:2:11: warning: roles.billing: `cdex` is not configured (did you mean `codex`?)",
            "helm.conf:3:10: warning: roles.client: `zebra` is not configured (only its log can be meant)",
        ],
    );
    roles_and_web(
        "[roles]\nadmins = core\ntechnican = core\nbilling = *, core\nclient = Core\n",
        &[
            "helm.conf:2:1: roles.admins: is not a field that Helm knows (known: technician, technician.operate, billing",
            "helm.conf:3:1: roles.technican: is not a field that Helm knows (did you mean `technician`?)",
            "helm.conf:4:11: roles.billing: names services beside `*`, which is all of them",
            "helm.conf:5:10: roles.client: `Core` is no name of a service",
        ],
    );
}

#[test]
fn settings_of_helm_web() {
    let text = "[web]\nallowed_hosts = Helm.Example.org:8443 [::1]\npublic_url = https://example.org/helm/\ntrusted_uids = 33, 1001\nopen_ingest = no\nprefixes = /helm, /a/b\n";
    let want = WebSettings {
        allowed_hosts: vec!["helm.example.org:8443".into(), "[::1]".into()],
        public_url: Some("https://example.org/helm".into()),
        trusted_uids: vec![33, 1001],
        open_ingest: false,
        prefixes: vec!["/helm".into(), "/a/b".into()],
    };
    assert_eq!(roles_and_web(text, &[]).unwrap().web, want);
    roles_and_web(
        "[web]\nallowed_hosts = http://x, a_b\npublic_url = helm.example.org\ntrusted_uids = -1 me\nopen_ingest = maybe\nprefixes = helm //evil.example /a/../b\nprefix = /x\n",
        &[
            "helm.conf:2:17: web.allowed_hosts: `http://x` has a port that is not a number",
            "helm.conf:2:17: web.allowed_hosts: `a_b` is no host name",
            "helm.conf:3:14: web.public_url: `helm.example.org` must begin with http:// or https://",
            "helm.conf:4:16: web.trusted_uids: must be a whole number from 0 to 4294967294, not `-1`",
            "helm.conf:4:16: web.trusted_uids: must be a whole number from 0 to 4294967294, not `me`",
            "helm.conf:5:15: web.open_ingest: must be true or false, not `maybe`",
            "helm.conf:6:12: web.prefixes: `helm` is no prefix of a path (like /helm)",
            "helm.conf:6:12: web.prefixes: `//evil.example` is no prefix of a path",
            "helm.conf:6:12: web.prefixes: `/a/../b` is no prefix of a path",
            "helm.conf:7:1: web.prefix: is not a field that Helm knows (did you mean `prefixes`?)",
        ],
    );
}

#[test]
fn classes_of_retention_are_bounded() {
    let class =
        |name: &str| format!(r#"{{"a": {{"path": "..", "command": ["x"], "log": {{"class": "{name}"}}}}}}"#);
    good(&class(&"x".repeat(32)));
    let long = format!("services.json:1:57: services.a.log.class: `{}", "x".repeat(33));
    check(&class(&"x".repeat(33)), &[&long]);
    let many = |count: usize| {
        let one = |n| format!(r#""s{n}": {{"path": "..", "command": ["x"], "log": {{"class": "c{n}"}}}}"#);
        format!("{{{}}}", (0..count).map(one).collect::<Vec<_>>().join(",\n"))
    };
    good(&many(62));
    check(
        &many(63),
        &["services.json:63:58: services.s62.log.class: `c62` is one class of retention too many"],
    );
}

#[test]
fn faults_of_every_file_are_reported() {
    let bad = source("x", "{");
    let sources = Sources {
        services: source("s", "{"),
        helm_services: Some(source("h", "{")),
        master: Some(source("m", "{")),
        registry: Some(bad),
        conf: Some(source("c", "x")),
    };
    check_all(
        &sources,
        &["s:1:1: not JSON", "h:1:1: not JSON", "m:1:1: not JSON", "x:1:1: not JSON", "c:1:1: stands before"],
    );
}

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    let checked_in = include_str!("../../../../services.schema.json");
    assert_eq!(schema(), checked_in, "see crates/helm-core/examples/services-schema.rs");
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/services.md");
    let tables = [
        table::RawService::NAMES,
        table::RawBackoff::NAMES,
        table::RawStop::NAMES,
        table::RawProbes::NAMES,
        table::RawProbe::NAMES,
        table::RawLimits::NAMES,
        table::RawLog::NAMES,
        registry::RawDefaults::NAMES,
    ];
    for name in tables.concat() {
        assert!(page.contains(&format!("| `{name}` |")), "docs/services.md has no row for `{name}`");
    }
    let page = include_str!("../../../../docs/configuration.md");
    for name in [conf::RawSettings::NAMES, roles::RawRoles::NAMES, web::RawWeb::NAMES].concat() {
        assert!(page.contains(&format!("| `{name}` |")), "docs/configuration.md has no row for `{name}`");
    }
}

/// Pieces that a configuration is made of, and others that it should not be made of.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "true",
        "null",
        "5000",
        "-1",
        "1e999",
        "\"core\"",
        "\"port\"",
        "\"url\"",
        "\"http://localhost:1\"",
        "\"command\"",
        "[\"x\"]",
        "\"depends_on\"",
        "\"probes\"",
        "\"readiness\"",
        "\"http\"",
        "\"/x\"",
        "\"path\"",
        "\"../x\"",
        "\"type\"",
        "\"keycloak\"",
        "\"\\u0000\"",
        "\"env\"",
        "é",
        "\u{feff}",
        "${",
        "}\n",
        "[helm]\n",
        "start_cap = 5\n",
        "=",
        "helm",
    ];
    prop_oneof![proptest::sample::select(words.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"]
}

fn all(text: &str) -> Sources<'_> {
    let same = source("f", text);
    Sources {
        services: same,
        helm_services: None,
        master: Some(same),
        registry: Some(same),
        conf: Some(same),
    }
}

proptest! {
    #[test]
    fn no_text_panics(pieces in proptest::collection::vec(piece(), 0..60)) {
        let text = pieces.concat();
        let reading = read("/h", &all(&text));
        prop_assert!(reading.faults.iter().all(|f| !f.to_string().contains('\n')));
        let _ = read("/h", &Sources { helm_services: Some(source("f", &text)), ..with_registry(&text) });
        let _ = flaskenv(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_panics(at in 0..SERVICES.len(), length in 0_usize..40, instead in piece()) {
        let end = (at + length).min(SERVICES.len());
        if SERVICES.is_char_boundary(at) && SERVICES.is_char_boundary(end) {
            let text = format!("{}{instead}{}", &SERVICES[..at], &SERVICES[end..]);
            let reading = read("/h", &with_registry(&text));
            if let Some(config) = reading.config {
                for spec in &config.services {
                    prop_assert!(spec.path.starts_with('/'));
                    prop_assert_eq!(argv(spec).is_some(), spec.program.is_some());
                    prop_assert!(spec.depends_on.iter().all(|d| config.service(d.service.as_str()).is_some()));
                }
            }
        }
    }
}
