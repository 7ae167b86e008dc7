//! A port that somebody else holds.

use std::process::{Child, Command};

use harness::bins::bin;
use harness::home::{Home, fixture, free_port};
use harness::wait::until;
use serde_json::json;

/// A service that runs although Helm did not start it.
struct Foreign(Child);

impl Foreign {
    fn on(port: u16) -> Self {
        let child = Command::new(bin("web"))
            .arg(format!("port={port}"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_counts_as_up_is_named_and_never_killed() {
    let port = free_port();
    let foreign = Foreign::on(port);
    let home = Home::new(&json!({
        "web": {
            "command": fixture("web", &format!("port={port}")), "url": format!("http://127.0.0.1:{port}"), "port": port,
            "probes": {"readiness": {"http": "/health", "interval": "50ms"}},
        },
        "after": {"command": fixture("chatty", "rate=5"), "depends_on": {"web": "ready"}},
    }));
    home.ctl(&["up"]).code(0).says("already running");
    let status = home.status("web");
    assert_eq!((status.state.as_str(), status.status.as_str(), status.ready), ("external", "running", true));
    let holder = status.holder.expect("who holds the port");
    assert_eq!(holder.pid, Some(foreign.0.id()));
    assert!(holder.command.unwrap().contains("web"));
    assert_eq!(home.status("after").state, "running", "its dependents start");

    home.ctl(&["stop", "web"]).code(1).says(&foreign.0.id().to_string());
    let left_alone = format!("left alone: web is external (pid {}, ", foreign.0.id());
    home.ctl(&["down"]).code(0).says(&left_alone);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "it was killed");
    assert_eq!(home.journal("web").lives, []);
}

#[test]
fn it_is_started_when_the_port_is_free_again() {
    let port = free_port();
    let foreign = Foreign::on(port);
    let home = Home::new(&json!({"web": {
        "command": fixture("web", &format!("port={port}")), "url": format!("http://127.0.0.1:{port}"), "port": port,
        "probes": {"startup": {"http": "/health", "interval": "50ms"}},
    }}));
    home.ctl(&["up"]).code(0);
    drop(foreign);
    let status = home.wait_for("web", "our own runs", |s| s.state == "running");
    assert_eq!(status.pid, Some(home.life("web").pid));
}

#[test]
fn an_external_service_survives_a_restart_of_helmd() {
    let port = free_port();
    let _foreign = Foreign::on(port);
    let home = Home::new(&json!({"web": {
        "command": fixture("web", &format!("port={port}")), "url": format!("http://127.0.0.1:{port}"), "port": port,
    }}));
    home.ctl(&["up"]).code(0);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    home.wait_for("web", "it is seen again", |s| s.state == "external");
    assert_eq!(home.journal("web").lives, []);
}
