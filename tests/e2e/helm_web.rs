//! helm-web as the service `helm` of the ecosystem.

use std::io::{Read, Write};
use std::net::TcpStream;

use harness::home::{Home, fixture, free_port};
use harness::procs::Process;
use harness::wait::until;
use serde_json::{Value, json};

/// As the Python Helm described itself (contract 3.3).
fn python_era(port: u16) -> Value {
    json!({
        "url": format!("http://localhost:{port}"), "path": ".", "port": port, "python_bin": "pyenv/bin/python",
        "run_script": "run.py", "visible": true, "admin_only": true,
        "probes": {"readiness": {"http": "/health", "interval": "100ms"}},
    })
}

/// The first line of the answer to `GET /health`, at this loopback address.
fn health(host: &str, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((host, port)).ok()?;
    write!(stream, "GET /health HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.lines().next().map(str::to_owned)
}

fn main_process(home: &Home) -> Process {
    Process::of(home.status("helm").pid.unwrap()).unwrap()
}

#[test]
fn the_python_entry_runs_helm_web_which_is_restarted_and_stops_first() {
    let port = free_port();
    let home = Home::new(&json!({
        "helm": python_era(port),
        "worker": {"command": fixture("chatty", "rate=5")},
    }));
    // A start of Python would leave a trace.
    home.write("run.py", "open('python', 'w')\n");
    home.ctl(&["config", "check"]).code(0).says("helm-web, which lies beside helmd, is run in its place");
    home.ctl(&["up"]).code(0);
    let first = main_process(&home);
    assert!(first.command().contains("helm-web"), "{}", first.command());
    assert_eq!(health("127.0.0.1", port).as_deref(), Some("HTTP/1.1 200 OK"));
    assert!(!home.path("python").exists(), "it was executed as Python");

    home.ctl(&["restart", "helm"]).code(0);
    let second = main_process(&home);
    assert_ne!(second, first);
    second.kill();
    until("another helm-web answers", || {
        home.status("helm").pid.is_some_and(|pid| Process::of(pid).is_some_and(|now| now != second))
            && health("127.0.0.1", port).as_deref() == Some("HTTP/1.1 200 OK")
    });

    home.ctl(&["down"]).code(0);
    let events = home.ctl(&["events", "--json"]).code(0).out;
    let stopped = |service: &str| {
        let own = format!(r#""service":"{service}""#);
        let ends =
            events.lines().enumerate().filter(|(_, l)| l.contains(r#""kind":"exit""#) && l.contains(&own));
        ends.map(|(line, _)| line).last().unwrap_or_else(|| panic!("no end of {service}:\n{events}"))
    };
    assert!(stopped("helm") < stopped("worker"), "helm-web does not stop first:\n{events}");
    assert_eq!(health("127.0.0.1", port), None);
}
