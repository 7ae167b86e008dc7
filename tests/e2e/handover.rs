//! Sockets that Helm listens at for a service (`listen`): whoever connects while it restarts is answered by the next run.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use harness::home::{Home, fixture, free_port};
use harness::procs::Process;
use harness::wait::{eventually, until};
use serde_json::{Value, json};

/// Longer than everything that a test does to a service.
const WITHIN: Duration = Duration::from_secs(60);

/// A request on a connection of its own, as Python's `requests.post` sends it; the answer, or nothing where the connection broke.
fn post(port: u16, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(WITHIN))?;
    write!(
        stream,
        "POST /api/logs/ingest HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// Loggers that send one line after the other, each once, whatever comes of it.
struct Loggers<'scope> {
    port: u16,
    over: &'scope AtomicBool,
    sent: &'scope AtomicU32,
    threads: Vec<ScopedJoinHandle<'scope, Vec<u32>>>,
}

impl<'scope> Loggers<'scope> {
    /// `many` of them; `sent` counts what was sent.
    fn begin(
        scope: &'scope Scope<'scope, '_>,
        port: u16,
        many: usize,
        over: &'scope AtomicBool,
        sent: &'scope AtomicU32,
    ) -> Self {
        let one = move || {
            let mut unanswered = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let entry = json!({"level": "INFO", "message": format!("line {number}")});
                let body = json!({"service_name": "logger", "logs": [entry]}).to_string();
                match post(port, &body) {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200") => {}
                    Ok(answer) => panic!("line {number} was refused: {answer}"),
                    Err(_) => unanswered.push(number),
                }
            }
            unanswered
        };
        Self { port, over, sent, threads: (0..many).map(|_| scope.spawn(one)).collect() }
    }

    /// Until some more lines are sent.
    fn go_on(&self) {
        let from = self.sent.load(Ordering::Relaxed);
        until("the loggers go on", || self.sent.load(Ordering::Relaxed) > from + 40);
    }

    /// Those that got no answer.
    fn end(self) -> Vec<u32> {
        self.over.store(true, Ordering::Relaxed);
        // Whoever waits is let go by one more answer.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a logger")).collect()
    }
}

/// How often each line is in the store.
fn stored(home: &Home) -> BTreeMap<u32, u32> {
    let said = home.ctl(&["logs", "logger", "--json", "-n", "100000"]).code(0);
    let mut times = BTreeMap::new();
    for line in said.out.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let number = entry["message"].as_str().and_then(|text| text.strip_prefix("line ")?.parse().ok());
        *times.entry(number.unwrap_or_else(|| panic!("{line}"))).or_default() += 1;
    }
    times
}

fn ecosystem(port: u16) -> Home {
    let readiness = json!({"http": "/health", "interval": "100ms"});
    let home = Home::new(&json!({
        "helm": {"url": format!("http://localhost:{port}"), "port": port, "probes": {"readiness": readiness}},
        "logger": {"command": fixture("chatty", "count=0 streams=stdout")},
    }));
    home.ctl(&["up"]).code(0);
    home
}

#[test]
fn loggers_that_never_retry_lose_nothing_over_restarts_of_helm_web_and_ends_of_helmd() {
    let port = free_port();
    let home = ecosystem(port);
    let (over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    let unanswered = std::thread::scope(|scope| {
        let loggers = Loggers::begin(scope, port, 4, &over, &sent);
        for _ in 0..4 {
            loggers.go_on();
            home.ctl(&["restart", "helm"]).code(0);
        }
        loggers.go_on();
        home.ctl(&["daemon", "reexec"]).code(0);
        loggers.go_on();
        home.kill_helmd();
        home.ctl(&["daemon", "start"]).code(0);
        loggers.go_on();
        loggers.end()
    });
    assert_eq!(unanswered, Vec::<u32>::new());
    let times = stored(&home);
    let wrong: Vec<u32> =
        (0..sent.load(Ordering::Relaxed)).filter(|number| times.get(number) != Some(&1)).collect();
    assert_eq!(wrong, Vec::<u32>::new(), "lost, or there twice");
}

#[test]
fn a_killed_helm_web_loses_what_it_was_answering_and_nothing_else() {
    const LOGGERS: usize = 4;
    const KILLS: usize = 3;
    let port = free_port();
    let home = ecosystem(port);
    let (over, sent) = (AtomicBool::new(false), AtomicU32::new(0));
    let unanswered = std::thread::scope(|scope| {
        let loggers = Loggers::begin(scope, port, LOGGERS, &over, &sent);
        for _ in 0..KILLS {
            loggers.go_on();
            let before = home.status("helm").pid;
            before.and_then(Process::of).expect("helm-web runs").kill();
            until("another helm-web", || home.status("helm").pid.is_some_and(|pid| Some(pid) != before));
        }
        loggers.go_on();
        loggers.end()
    });
    assert!(unanswered.len() <= LOGGERS * KILLS, "{unanswered:?}");
    let times = stored(&home);
    for number in 0..sent.load(Ordering::Relaxed) {
        let times = times.get(&number).copied().unwrap_or(0);
        let right = if unanswered.contains(&number) { times <= 1 } else { times == 1 };
        assert!(right, "line {number} is there {times} times");
    }
}

fn listening(port: u16) -> Value {
    json!({"web": {
        "command": fixture("web", ""), "listen": [format!("127.0.0.1:{port}")],
        "backoff": {"initial": "100ms"}, "probes": {"readiness": {"tcp": port}},
    }})
}

fn asked(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(WITHIN))?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A thread that was within `accept` when the signal came takes one more.
fn stands_still(process: Process) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.pid)).expect("it is there");
    tasks.flatten().all(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    })
}

#[test]
fn who_connects_between_two_runs_is_answered_by_the_next_one() {
    let port = free_port();
    let home = Home::new(&listening(port));
    home.ctl(&["start", "web"]).code(0);
    let first = home.status("web").pid.and_then(Process::of).expect("it runs");
    assert!(asked(port).expect("an answer").starts_with("HTTP/1.1 200"));
    // What it does not answer any more waits for the next run.
    first.signal(rustix::process::Signal::STOP);
    until("all of its threads stand still", || stands_still(first));
    let mut waiting = TcpStream::connect(("127.0.0.1", port)).expect("a place in the backlog");
    waiting.set_read_timeout(Some(WITHIN)).expect("a socket");
    write!(waiting, "GET / HTTP/1.0\r\n\r\n").expect("it is open");
    first.kill();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let second = home.status("web").pid.and_then(Process::of).expect("it runs");
    assert_ne!(second, first);

    // The keeper holds them: they outlive helmd.
    home.kill_helmd();
    assert!(asked(port).expect("an answer").starts_with("HTTP/1.1 200"));
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["restart", "web"]).code(0);
    assert!(asked(port).expect("an answer").starts_with("HTTP/1.1 200"));

    home.ctl(&["stop", "web"]).code(0);
    until("nobody listens any more", || TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_run_is_told_its_sockets_and_no_others() {
    let port = free_port();
    let home = Home::new(&json!({
        "told": {"command": ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$; exec sleep 1000"], "listen": [format!("127.0.0.1:{port}")]},
        "other": {
            "command": ["sh", "-c", "echo \"none: $LISTEN_FDS$LISTEN_PID, own: $LISTEN_ADDRESS\"; exec sleep 1000"],
            "env": {"LISTEN_ADDRESS": "here"},
        },
    }))
    .with_env("LISTEN_FDS", "7")
    .with_env("LISTEN_PID", "1");
    home.ctl(&["up"]).code(0);
    let said = |service: &str| {
        eventually("its first line", || {
            home.lines_so_far(service)?
                .first()
                .map(|line| String::from_utf8_lossy(&line.text).into_owned())
                .ok_or_else(|| home.story(service))
        })
    };
    let (told, other) = (said("told"), said("other"));
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words.len() == 3 && words[0] == "1" && words[1] == words[2], "{told}");
    assert_eq!(other, "none: , own: here");
}

#[test]
fn an_address_that_somebody_else_has_is_named_with_its_holder() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let home = Home::new(&json!({"web": {
        "command": fixture("web", ""), "listen": [format!("127.0.0.1:{port}")], "backoff": {"initial": "100ms"},
    }}));
    home.ctl(&["start", "web", "--timeout", "1s"]);
    let reason = eventually("a reason", || {
        let reason = home.status("web").reason;
        if reason.contains("cannot listen") { Ok(reason) } else { Err(reason) }
    });
    let me = format!("pid {} of uid ", std::process::id());
    assert!(
        reason.contains(&format!("cannot listen at 127.0.0.1:{port}")) && reason.contains(&me),
        "{reason}"
    );
    drop(taken);
    until("it listens once the address is free", || asked(port).is_ok());
}

#[test]
fn addresses_that_cannot_be_listened_at_are_refused_by_name() {
    let listen = json!(["0.0.0.0:5004", "localhost:5004", "127.0.0.1:5004", "127.0.0.1:5004"]);
    let home = Home::new(
        &json!({"web": {"command": ["web"], "listen": listen}, "entry": {"url": "http://localhost:1", "listen": ["[::1]:1"]}}),
    );
    let said = home.ctl(&["config", "check"]);
    for fault in [
        "services.web.listen[0]: `0.0.0.0:5004` is not on this host's loopback",
        "services.web.listen[1]: must be an address and a port",
        "services.entry.listen: is for a service that Helm runs",
    ] {
        assert!(said.out.contains(fault) || said.err.contains(fault), "{fault}\n{}{}", said.out, said.err);
    }
    let home =
        Home::new(&json!({"web": {"command": ["web"], "listen": ["127.0.0.1:5004", "127.0.0.1:5004"]}}));
    home.ctl(&["config", "check"]).says("services.web.listen[1]: `127.0.0.1:5004` is listed twice");
}

#[test]
fn one_address_that_somebody_else_has_is_waited_for_with_none_of_them_open() {
    let taken = TcpListener::bind("[::1]:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let home = Home::new(&json!({"web": {
        "command": fixture("web", ""), "port": port, "listen": [format!("127.0.0.1:{port}"), format!("[::1]:{port}")],
    }}));
    home.ctl(&["start", "web", "--timeout", "1s"]);
    home.wait_for("web", "it is somebody else's", |s| s.state == "external");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody would answer there");
    drop(taken);
    until("it listens once the address is free", || asked(port).is_ok());
}
