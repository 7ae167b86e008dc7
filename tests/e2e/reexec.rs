//! The program on disk takes the place of the running helmd: same pid, same socket, and nobody else notices.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use harness::bins::bin;
use harness::home::{Home, Running, fixture, free_port};
use harness::journal::{self, faults};
use harness::procs::Process;
use harness::wait::{eventually, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const TIMES: usize = 20;

#[test]
fn twenty_times_under_load_nobody_notices() {
    let port = free_port();
    let home = Home::new(&json!({
        "talk": {"command": fixture("chatty", "rate=400 burst=10")},
        "site": {
            "command": fixture("web", &format!("port={port}")), "port": port, "url": format!("http://127.0.0.1:{port}"),
            "probes": {"readiness": {"http": "/health", "interval": "200ms"}},
        },
        "flaps": {"command": fixture("exiter", "after=100..700 code=random"), "backoff": {"initial": "10ms", "max": "50ms"}},
    }));
    home.ctl(&["up"]).code(0);
    home.wait_for("site", "healthy", |s| s.health == "healthy");
    let pids = ["talk", "site"].map(|name| home.status(name).pid);
    let helmd = home.helmd().unwrap();
    let listens = fs::metadata(home.path("instance/run/helmd.sock")).unwrap().permissions().mode();
    let events = Follows::new(&home, &["events", "-f", "-n", "100000", "--json"]);
    let over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let asks = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                answers.push(home.ctl(&["status", "--json"]));
            }
            answers
        });
        for _ in 0..TIMES {
            home.ctl(&["daemon", "reexec"]).code(0).says("services stay");
            assert_eq!(home.helmd(), Some(helmd), "the same process");
            assert_eq!(home.status("site").health, "healthy", "what its probe said is not forgotten");
        }
        over.store(true, Ordering::Relaxed);
        asks.join().unwrap()
    });
    // 3: helmd is away, ask again.
    for said in &answers {
        assert!(said.code == 0 || said.code == 3, "{} {}", said.code, said.err);
    }
    assert!(answers.iter().any(|said| said.code == 0), "{} answers", answers.len());
    assert_eq!(["talk", "site"].map(|name| home.status(name).pid), pids);
    assert_eq!(fs::metadata(home.path("instance/run/helmd.sock")).unwrap().permissions().mode(), listens);
    let children = fs::read_to_string(format!("/proc/{}/task/{}/children", helmd.pid, helmd.pid)).unwrap();
    let zombies = children.split_whitespace().filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    assert_eq!(zombies.count(), 0, "{children}");

    home.ctl(&["down"]).code(0);
    let last = home.ctl(&["events", "-n", "1", "--json"]).code(0).json()["id"].as_u64().unwrap();
    let numbers = eventually("the last event", || {
        let numbers = events.numbers();
        if numbers.last() == Some(&last) {
            Ok(numbers)
        } else {
            Err(format!("{:?} of {last}", numbers.last()))
        }
    });
    let expected: Vec<u64> = (numbers[0]..=last).collect();
    assert_eq!(numbers, expected, "each event once, and in order");
    for name in ["talk", "flaps"] {
        let (journal, lines) = (home.journal(name), home.lines(name));
        let mut heard = journal::heard(&lines);
        assert!(journal.clashes.is_empty(), "{name}: {:?}", journal.clashes);
        for life in &journal.lives {
            let (end, heard) = (life.end.unwrap(), heard.remove(&life.nonce).unwrap_or_default());
            assert_eq!(
                (faults(&heard.out, Some(end.out)), faults(&heard.err, Some(end.err))),
                (vec![], vec![]),
                "{name}"
            );
        }
    }
    assert_eq!(home.journal("talk").lives.len(), 1);
}

/// `events -f`, with what it prints in a file of the home.
struct Follows<'h> {
    home: &'h Home,
    child: Child,
}

impl<'h> Follows<'h> {
    fn new(home: &'h Home, words: &[&str]) -> Self {
        let out = fs::File::create(home.path("follows.out")).unwrap();
        let child = home.helmctl(words).stdout(out).stderr(Stdio::null()).spawn().unwrap();
        Self { home, child }
    }

    fn numbers(&self) -> Vec<u64> {
        let text = self.home.read("follows.out");
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        whole.lines().map(|line| value(line)["id"].as_u64().unwrap()).collect()
    }
}

impl Drop for Follows<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// helmd and its keeper's program in a directory of the home, as an operator would have installed them.
fn installed(home: &Home) -> PathBuf {
    let dir = home.path("bin");
    fs::create_dir(&dir).unwrap();
    for name in ["helmd", "helm-shim"] {
        install(&bin(name), &dir.join(name));
    }
    dir.join("helmd")
}

/// As installers do: another file takes the name.
fn install(from: &Path, to: &Path) {
    let fresh = to.with_extension("new");
    fs::copy(from, &fresh).unwrap();
    fs::rename(&fresh, to).unwrap();
}

#[test]
fn the_program_that_is_on_disk_by_now_takes_over_if_it_passes_its_own_check() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=20")}}));
    let program = installed(&home);
    let mut started = Command::new(&program);
    started.arg("--home").arg(home.dir()).stdout(Stdio::null()).stderr(Stdio::null());
    let helmd = Running::of(started);
    until("helmd answers", || home.ctl(&["daemon", "status"]).code == 0);
    home.ctl(&["up"]).code(0);
    let (process, service) = (home.helmd().unwrap(), home.status("web").pid);
    let inode = || {
        fs::metadata(format!("/proc/{}/exe", process.pid))
            .map(|meta| std::os::unix::fs::MetadataExt::ino(&meta))
            .unwrap()
    };
    let first = inode();

    // One that cannot even say who it is, and one that finds fault with what is in force.
    for (script, words) in [
        ("#!/bin/sh\nexit 7\n", "--version ended with exit status: 7"),
        (
            "#!/bin/sh\n[ $1 = --version ] && exit\necho 'services.json: of the future'; exit 1\n",
            "of the future",
        ),
    ] {
        fs::write(program.with_extension("new"), script).unwrap();
        fs::set_permissions(program.with_extension("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(program.with_extension("new"), &program).unwrap();
        home.ctl(&["daemon", "reexec"]).code(1).says("is not taken, helmd goes on as it is").says(words);
        assert_eq!((inode(), home.status("web").pid), (first, service));
    }

    // An edit that nobody applied is not applied by the way, and files with faults do not stand in the way.
    home.write("services.json", "{");
    install(&bin("helmd"), &program);
    home.ctl(&["daemon", "reexec"]).code(0).says(&format!("runs from {}", program.display()));
    assert_ne!(inode(), first, "the new file");
    assert_eq!((home.helmd(), home.status("web").pid), (Some(process), service));
    home.ctl(&["status"]).code(0).says("HAS 1 FAULT(S)");
    home.ctl(&["restart", "web"]).code(0);
    // Services get the limit that the first helmd was started with.
    let limit = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
    };
    assert_eq!(limit(home.status("web").pid.unwrap()), limit(std::process::id()));
    process.signal(Signal::TERM);
    assert_eq!(helmd.ended(), 0);
}

#[test]
fn an_operation_that_waits_goes_on_over_it() {
    let port = free_port();
    let home = Home::new(&json!({"slow": {
        "command": fixture("web", &format!("port={port} slow=3000")), "port": port,
        "url": format!("http://127.0.0.1:{port}"),
    }}));
    home.ctl(&["daemon", "start"]).code(0);
    let out = fs::File::create(home.path("up.err")).unwrap();
    let up = home.running(&["up"], out);
    until("it is being started", || home.status("slow").pid.is_some());
    let pid = home.status("slow").pid;
    home.ctl(&["daemon", "reexec"]).code(0);
    home.ctl(&["daemon", "reexec"]).code(0);
    assert_eq!(up.ended(), 0, "{}", home.read("up.err"));
    assert_eq!((home.status("slow").pid, home.status("slow").ready), (pid, true));
    assert!(Process::of(pid.unwrap()).unwrap().alive());
}
