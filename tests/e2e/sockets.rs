//! Where helmd listens: in the home, with a configured group beside it as well; and at what systemd left.

use std::os::unix::net::UnixListener;

use harness::home::{Home, fixture};
use harness::wait::until;
use harness::watch::block_on;
use serde_json::json;

const GROUP: &str = "[helm]\npeer_group = games\n";

/// Who asks there is answered.
fn answers(home: &Home, socket: &str) -> bool {
    block_on(async {
        let client = helm_client::Client::at(&home.path(socket)).await;
        match client {
            Ok(mut client) => client.info().await.is_ok(),
            Err(_) => false,
        }
    })
}

#[test]
fn the_socket_of_systemd_is_served_beside_that_of_a_group() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.write("instance/helm.conf", GROUP);
    std::fs::create_dir_all(home.path("instance/run")).unwrap();
    let listens = UnixListener::bind(home.path("instance/run/helmd.sock")).unwrap();
    let helmd = home.spawn_helmd_at(listens.into());
    until("the group has its own", || home.path("sock/helmd.sock").exists());
    for socket in ["instance/run/helmd.sock", "sock/helmd.sock"] {
        until("it answers", || answers(&home, socket));
    }
    // Over another program, and over the end of the group.
    home.ctl(&["daemon", "reexec"]).code(0);
    for socket in ["instance/run/helmd.sock", "sock/helmd.sock"] {
        until("it answers", || answers(&home, socket));
    }
    home.write("instance/helm.conf", "");
    home.ctl(&["reload"]).code(0);
    until("the group has none", || !home.path("sock/helmd.sock").exists());
    until("it answers", || answers(&home, "instance/run/helmd.sock"));
    home.write("instance/helm.conf", GROUP);
    home.ctl(&["reload"]).code(0);
    until("the group has one again", || answers(&home, "sock/helmd.sock"));
    assert!(answers(&home, "instance/run/helmd.sock"));
    helmd.kill();
}
