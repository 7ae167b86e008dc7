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
    let left_alone = format!("left alone: web is external: pid {} (", foreign.0.id());
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

/// Listens and never accepts; the queue of connections is full, so that a further one gets no answer.
fn deaf_listener() -> (std::os::fd::OwnedFd, Vec<std::os::fd::OwnedFd>, u16) {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
    let socket = || {
        rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    };
    let listener = socket();
    rustix::net::bind(&listener, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = SocketAddrV4::try_from(rustix::net::getsockname(&listener).unwrap()).unwrap();
    let waiting = (0..4)
        .map(|_| {
            let connection = socket();
            // It is queued, or waits for its turn.
            let _ = rustix::net::connect(&connection, &address);
            connection
        })
        .collect();
    (listener, waiting, address.port())
}

#[test]
fn a_holder_that_does_not_accept_holds_the_port_all_the_same() {
    let (_listener, _waiting, port) = deaf_listener();
    let answered = std::net::TcpStream::connect_timeout(
        &(std::net::Ipv4Addr::LOCALHOST, port).into(),
        std::time::Duration::from_millis(300),
    );
    assert!(answered.is_err(), "this test needs a port that does not answer");
    let home = Home::new(&json!({"web": {"command": fixture("web", &format!("port={port}")), "port": port}}));
    home.ctl(&["up", "--no-wait"]).code(0);
    let status = home.wait_for("web", "somebody else holds its port", |s| s.state == "external");
    assert_eq!(status.holder.and_then(|h| h.pid), Some(std::process::id()));
    assert_eq!(home.journal("web").lives, []);
}

#[test]
fn a_holder_in_the_other_address_family_is_seen() {
    let listener =
        std::net::TcpListener::bind("[::1]:0").expect("this test needs IPv6 on the loopback (::1)");
    let port = listener.local_addr().unwrap().port();
    let home = Home::new(&json!({"web": {"command": fixture("web", &format!("port={port}")), "port": port}}));
    home.ctl(&["up", "--no-wait"]).code(0);
    let status = home.wait_for("web", "somebody else holds its port", |s| s.state == "external");
    assert_eq!(status.holder.and_then(|h| h.pid), Some(std::process::id()));
}
