//! Ports, disks, the clock; and what hangs.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use harness::home::Home;
use harness::small::Small;
use serde_json::json;

use super::site::{STRANGER, give, mode, site, site_with};
use super::{evidence, found, mend, mended, only, shows, weight};

#[test]
fn a_port_that_somebody_else_holds() {
    let home = site();
    let text: serde_json::Value = serde_json::from_str(&home.read("services.json")).unwrap();
    let port = text["core"]["port"].as_u64().unwrap();
    let words = ["-m", "http.server", "--bind", "127.0.0.1", &port.to_string()].map(str::to_owned);
    let mut stranger =
        Command::new("python3").args(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    harness::wait::until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port as u16)).is_ok());
    let fault = only(&home, "port-held");
    shows(&fault, &format!("held by pid {}: ", stranger.id()));
    shows(&fault, &format!("-m http.server --bind 127.0.0.1 {port}"));
    assert_eq!(
        (fault["service"].as_str(), mend(&fault)),
        (Some("core"), format!("kill {}", stranger.id()).as_str())
    );
    mended(&home, &fault);
    stranger.wait().unwrap();
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn a_service_that_was_started_past_helm() {
    let home = site();
    let text: serde_json::Value = serde_json::from_str(&home.read("services.json")).unwrap();
    let port = text["core"]["port"].as_u64().unwrap();
    let mut by_hand = Command::new("python3");
    by_hand.arg("run.py").current_dir(home.path("core")).env("PORT", port.to_string()).stdout(Stdio::null());
    let mut by_hand = by_hand.spawn().unwrap();
    harness::wait::until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port as u16)).is_ok());
    home.ctl(&["start", "core", "--no-wait"]).code(0);
    home.wait_for("core", "it is there and healthy", |s| s.state == "external" && s.health == "healthy");
    let warning = only(&home, "port-held");
    assert_eq!(weight(&warning), "warning");
    shows(&warning, &format!("held by pid {}: ", by_hand.id()));
    mended(&home, &warning);
    by_hand.wait().unwrap();
    home.wait_for("core", "Helm's own", |s| s.state == "running" && s.health == "healthy");
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn a_port_that_is_for_root_alone() {
    let home = site_with(|services, _| {
        services["nexus"]["port"] = json!(443);
        services["nexus"]["url"] = json!("https://127.0.0.1:443");
    });
    let user = STRANGER;
    give(home.dir(), user);
    // Whose port 443 is, is the test's own affair in a network of its own.
    let inner = home.helmctl(&["doctor", "--json"]);
    let mut outer = Command::new("unshare");
    outer.args(["-n", "--"]).arg(inner.get_program()).args(inner.get_args());
    let said =
        harness::home::Said::of(&outer.env("XDG_CONFIG_HOME", home.path("config")).output().unwrap()).code(1);
    let fault = said.json()["findings"][0].clone();
    assert_eq!(
        (fault["id"].as_str(), fault["service"].as_str()),
        (Some("port-forbidden"), Some("nexus")),
        "{fault:#}"
    );
    shows(&fault, &format!("{user} may bind ports from 1024 on"));
    assert!(mend(&fault).contains("net.ipv4.ip_unprivileged_port_start=443"), "{fault:#}");
    // Whoever may hand the right down may look, and finds nothing.
    let id = user.to_string();
    let mut outer = Command::new("unshare");
    outer.args(["-n", "--", "setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]);
    outer.args(["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service", "--"]);
    outer.arg(inner.get_program()).args(inner.get_args()).current_dir("/");
    mode(home.dir(), 0o755);
    let said =
        harness::home::Said::of(&outer.env("XDG_CONFIG_HOME", home.path("config")).output().unwrap()).code(0);
    assert_eq!(said.json()["findings"], json!([]), "{}", said.out);
}

#[test]
fn a_disk_that_is_nearly_full() {
    let home = site();
    let _small = Small::at(home.path("logs"));
    let fault = only(&home, "disk-full");
    shows(&fault, "/logs: ");
    shows(&fault, "1024 MB are to be left");
    assert!(mend(&fault).ends_with("instance/helm.conf"), "more is to be left than there is: {fault:#}");
}

#[test]
fn a_disk_that_can_only_be_read() {
    let home = site();
    let small = Small::at(home.path("logs"));
    small.write(false);
    let fault = only(&home, "disk-read-only");
    shows(&fault, "/logs: mounted read-only");
    mended(&home, &fault);
    // It can be written to, and is as small as it was.
    only(&home, "disk-full");
}

#[test]
fn a_clock_that_is_behind_what_was_written() {
    let home = site();
    let file = File::options().append(true).open(home.path("services.json")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    let fault = only(&home, "clock-off");
    shows(&fault, "services.json is 863");
    assert!(mend(&fault).ends_with("timedatectl set-ntp true"), "{fault:#}");
}

/// A pipe that nobody writes into, in the place of a file.
fn pipe(home: &Home, file: &str) {
    let path = home.path(file);
    let _ = fs::remove_file(&path);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

#[test]
fn a_configuration_that_cannot_be_read_holds_nobody_up() {
    let home = site();
    fs::create_dir_all(home.path("instance")).unwrap();
    pipe(&home, "instance/helm.conf");
    let said = home.ctl(&["doctor"]).code(1);
    assert!(said.err.contains("could not be read: no answer within 2 s"), "{said:?}");
}

#[test]
fn what_hangs_is_found_and_hides_nothing_else() {
    let home = site();
    pipe(&home, "core/keys/jwt_public.pem");
    let fault = only(&home, "hangs");
    assert_eq!(fault["service"], "core");
    assert!(
        fault["what"].as_str().unwrap().contains("key") && evidence(&fault).contains("no answer within 2 s")
    );
}
