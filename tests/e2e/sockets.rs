//! Where helmd listens: in the home, with a configured group beside it as well; and at what systemd left.

use std::os::unix::net::UnixListener;

use harness::home::{Home, Said, fixture};
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
    // helmd leaves: its own goes with it, systemd's stays.
    home.ctl(&["daemon", "reexec"]).code(0);
    home.ctl(&["daemon", "stop"]).code(0);
    drop(helmd);
    assert!(!home.path("sock/helmd.sock").exists());
    assert!(home.path("instance/run/helmd.sock").exists());
}

#[test]
fn a_helmd_that_leaves_takes_its_sockets_with_it() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.write("instance/helm.conf", GROUP);
    std::fs::set_permissions(home.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["daemon", "reexec"]).code(0);
    let sockets = ["instance/run/helmd.sock", "sock/helmd.sock"].map(|socket| home.path(socket));
    until("it answers", || answers(&home, "sock/helmd.sock"));
    home.ctl(&["daemon", "stop"]).code(0);
    assert!(sockets.iter().all(|socket| !socket.exists()), "{sockets:?}");
    // A member of the group is told so, too.
    let inner = home.helmctl(&["status"]);
    let mut member = std::process::Command::new("setpriv");
    member.args(["--reuid", "64997", "--regid", "games", "--clear-groups"]).arg(inner.get_program());
    let said = Said::of(&member.args(inner.get_args()).current_dir("/").output().unwrap());
    said.code(3).says("helmd is not running");
    // One that has nothing to do with it is left to whoever made it.
    home.ctl(&["daemon", "start"]).code(0);
    std::fs::remove_file(&sockets[0]).unwrap();
    let _others = UnixListener::bind(&sockets[0]).unwrap();
    home.helmd().unwrap().signal(rustix::process::Signal::TERM);
    until("it has left", || home.helmd().is_none());
    assert!(sockets[0].exists() && !sockets[1].exists());
}
