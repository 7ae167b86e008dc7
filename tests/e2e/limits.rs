//! Limits of services, and what keeps them, where no controller of cgroups is there: each process by itself, or nothing,
//! and both are said. With controllers: tests/outside/guest/boot.sh.

use std::fs;

use harness::home::{Home, fixture};
use harness::procs::descendants;
use harness::wait::until;
use serde_json::{Value, json};

/// Takes 200 MB at once.
const EATS: &str =
    "import time; held = bytearray(200_000_000); print('has it', flush=True); time.sleep(1000)";

fn eater(memory: &str) -> Value {
    json!({"command": ["python3", "-c", EATS], "restart": "never", "limits": {"memory": memory}})
}

/// `limit value means` of a service, as its status says.
fn told(home: &Home, name: &str) -> Vec<String> {
    let status = home.ctl(&["status", name, "--json"]).code(0).json();
    let limits = status["services"][0]["limits"].as_array().unwrap().clone();
    let text = |limit: &Value, key: &str| limit[key].as_str().unwrap().to_owned();
    limits.iter().map(|l| ["name", "value", "means"].map(|key| text(l, key)).join(" ")).collect()
}

/// Bytes of memory that the kernel lets a process write.
fn data_limit(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max data size")).unwrap().to_owned();
    line.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn who_takes_too_much_memory_ends_and_nobody_else() {
    let home = Home::new(&json!({"eater": eater("100M"), "calm": {"command": fixture("chatty", "rate=20")}}));
    home.ctl(&["up"]);
    home.wait_for("eater", "it is refused the memory", |s| s.state == "failed");
    let said = home.ctl(&["output", "eater", "-n", "5"]).code(0);
    assert!(said.out.contains("MemoryError"), "{}", said.out);
    assert_eq!((home.status("calm").state.as_str(), home.status("calm").restarts), ("running", 0));

    home.write_services(&json!({"eater": eater("1G"), "calm": {"command": fixture("chatty", "rate=20")}}));
    home.ctl(&["reload"]).code(0);
    home.ctl(&["start", "eater"]).code(0);
    until("it has its memory", || home.ctl(&["output", "eater", "-n", "1"]).out.contains("has it"));
    assert_eq!(told(&home, "eater"), ["memory 1G rlimit"]);
}

#[test]
fn a_memory_limit_is_changed_while_it_runs_in_all_its_processes() {
    let with = |limits: Value| {
        let mut tree = json!({"command": fixture("forker", "width=2 depth=1"), "limits": limits});
        if tree["limits"].is_null() {
            tree.as_object_mut().unwrap().remove("limits");
        }
        json!({"tree": tree})
    };
    let home = Home::new(&with(json!({"memory": "300M"})));
    home.ctl(&["up"]).code(0);
    let main = home.status("tree").pid.unwrap();
    let all = || -> Vec<u32> {
        let below = descendants(main).into_iter().map(|process| process.pid);
        std::iter::once(main).chain(below).collect()
    };
    until("its processes are there", || all().len() >= 3);
    let every = |bytes: u64| all().iter().all(|pid| data_limit(*pid) == bytes.to_string());
    assert!(every(300 << 20), "{}", data_limit(main));
    for (memory, bytes) in [("400M", 400 << 20), ("200M", 200 << 20)] {
        home.write_services(&with(json!({"memory": memory})));
        home.ctl(&["reload", "--wait"]).code(0);
        assert!(every(bytes), "{memory}: {}", data_limit(main));
        assert_eq!(told(&home, "tree"), [format!("memory {memory} rlimit")]);
    }
    home.write_services(&with(Value::Null));
    home.ctl(&["reload", "--wait"]).code(0);
    assert_eq!((data_limit(main), home.status("tree").pid), (data_limit(std::process::id()), Some(main)));
    assert_eq!(told(&home, "tree"), Vec::<String>::new());
}

#[test]
fn what_keeps_each_limit_is_said_and_what_nothing_keeps_as_well() {
    let limits = json!({
        "memory": "512M", "cpu_weight": 50, "cpu_quota": 150, "pids": 200, "nofile": 512, "core": 0,
    });
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5"), "limits": limits}}));
    home.ctl(&["daemon", "start"]).code(0);
    let expected = [
        "memory 512M rlimit",
        "cpu_weight 50 none",
        "cpu_quota 150% none",
        "pids 200 none",
        "nofile 512 rlimit",
        "core 0 rlimit",
    ];
    // As a start would give them, and as the kernel has them.
    assert_eq!(told(&home, "web"), expected);
    home.ctl(&["up"]).code(0);
    assert_eq!(told(&home, "web"), expected);
    let shown = home.ctl(&["status", "web"]).code(0).out;
    for words in [
        "memory         512M  RLIMIT_DATA of each process, for want of",
        "cpu weight       50  not in force: there is no cgroup tree with the",
        "nofile          512  RLIMIT_NOFILE of each process",
    ] {
        assert!(shown.contains(words), "{shown}");
    }
    assert!(!home.ctl(&["status"]).code(0).out.contains("RLIMIT"), "the table of all is a table");
    let checked = home.ctl(&["config", "check"]).code(0);
    for field in ["cpu_weight", "cpu_quota", "pids"] {
        assert!(checked.out.contains(&format!("services.web.limits.{field}: ")), "{}", checked.out);
    }
    assert!(!checked.out.contains("limits.memory"), "{}", checked.out);

    // A limit of which only a start makes use.
    let mut services: Value = serde_json::from_str(&home.read("services.json")).unwrap();
    services["web"]["limits"] = json!({"nofile": 600});
    home.write_services(&services);
    home.ctl(&["reload", "--no-restart"]).code(0);
    assert_eq!(told(&home, "web"), ["nofile 600 none"]);
    home.ctl(&["restart", "web"]).code(0);
    assert_eq!(told(&home, "web"), ["nofile 600 rlimit"]);
}
