//! The API as a program sees it: slow readers, foreign users, errors that can be matched.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::bins::{bin, root};
use harness::home::{Home, Said, fixture};
use harness::wait::{BOUND, until};
use harness::watch::block_on;
use helm_client::{ClientError, Reason};
use helm_proto::v1::{EventsRequest, OutputRequest, StartRequest, Wait};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_stream::StreamExt;

fn started() -> Home {
    let home = Home::new(&json!({
        "loop": {"command": fixture("exiter", "after=0 code=1 rate=20"), "backoff": {"initial": "5ms", "max": "5ms"}},
        "talk": {"command": fixture("chatty", "rate=2000 burst=100")},
        "calm": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up", "--no-wait"]).code(0);
    home.wait_for("calm", "it runs", |s| s.state == "running");
    home
}

#[test]
fn a_terminal_that_takes_nothing_delays_no_call_and_what_it_missed_is_counted() {
    let home = Home::new(&json!({"calm": {"command": fixture("chatty", "rate=5")}}));
    // Some lines for each frame of each call.
    let home = home.with_env("HELM_LOG", "info,h2=trace");
    let (mut terminal, log) = std::io::pipe().unwrap();
    let _helmd = home.spawn_helmd_with(&["--foreground"], log);
    until("it answers", || home.ctl(&["daemon", "status"]).code == 0);
    home.ctl(&["up"]).code(0);
    for _ in 0..40 {
        home.ctl(&["status"]).code(0);
    }
    // Read by and by, for as long as helmd lives.
    let counted = Arc::new(AtomicBool::new(false));
    let told = counted.clone();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(&mut terminal).lines().map_while(Result::ok) {
            told.fetch_or(line.contains("lines of this log were dropped"), Ordering::Relaxed);
        }
    });
    until("the gap is counted", || {
        home.ctl(&["status"]).code(0);
        counted.load(Ordering::Relaxed)
    });
    home.kill_helmd();
    reader.join().unwrap();
}

#[test]
fn two_hundred_streams_that_nobody_reads_delay_no_call() {
    let home = started();
    block_on(async {
        let mut client = home.client().await.unwrap();
        let (mut watches, mut events, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        let follow = EventsRequest { follow: true, ..EventsRequest::default() };
        let talk = OutputRequest { name: "talk".into(), follow: true, ..OutputRequest::default() };
        for n in 0..200 {
            match n % 4 {
                0 => events.push(client.events(follow.clone()).await.unwrap()),
                1 => outputs.push(client.output(talk.clone()).await.unwrap()),
                _ => watches.push(client.watch_status(Vec::new()).await.unwrap()),
            }
        }
        // While they stand unread, and a crash loop and a chatty service fill them:
        let mut revision = 0;
        let mut changes = 0;
        let end = Instant::now() + BOUND;
        let mut calls = 0;
        while (changes < 50 || calls < 500) && Instant::now() < end {
            calls += 1;
            let answer = timeout(Duration::from_secs(30), client.status(Vec::new()))
                .await
                .expect("a call hangs")
                .unwrap();
            assert_eq!(answer.services.len(), 3);
            let now = answer.services.iter().find(|s| s.name == "loop").expect("the crash loop").revision;
            changes += u32::from(now != revision);
            revision = now;
        }
        assert!(changes >= 50, "the fleet stood still: {changes} changes in {calls} calls");
        let done = client
            .start(StartRequest { names: vec!["calm".into()], ..StartRequest::default() })
            .await
            .unwrap();
        drop(done);
        // A late reader gets the present, and can tell that it missed something.
        let mut stream = watches.swap_remove(0);
        let first = stream.next().await.unwrap().unwrap();
        assert!(first.complete);
        let mut missed = 0;
        for _ in 0..2000 {
            let message = timeout(Duration::from_secs(30), stream.next()).await.unwrap().unwrap().unwrap();
            missed += message.missed;
            if missed > 0 {
                break;
            }
        }
        assert!(missed > 0, "it cannot tell that it missed something");
        drop((watches, events, outputs));
    });
}

#[test]
fn a_watch_is_complete_first_and_changes_after() {
    let home = Home::new(
        &json!({"a": {"command": fixture("chatty", "rate=5")}, "b": {"command": fixture("chatty", "rate=5")}}),
    );
    home.ctl(&["up"]).code(0);
    block_on(async {
        let client = home.client().await.unwrap();
        let mut stream = client.watch_status(Vec::new()).await.unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.complete, first.services.len()), (true, 2));
        drop(client.stop(helm_proto::v1::StopRequest { names: vec!["b".into()], wait: None }).await.unwrap());
        loop {
            let next = timeout(Duration::from_secs(30), stream.next()).await.unwrap().unwrap().unwrap();
            assert!(next.services.iter().all(|s| s.name == "b"), "{:?}", next.services);
            if next.services.iter().any(|s| s.state == "stopped") {
                break;
            }
        }
    });
}

#[test]
fn errors_have_a_reason_to_match_and_a_sentence() {
    let home = started();
    block_on(async {
        let mut client = home.client().await.unwrap();
        let error = client.status(vec!["clam".into()]).await.unwrap_err();
        let ClientError::Refused { reason, message } = &error else { panic!("{error}") };
        assert_eq!(*reason, Reason::UnknownService(Some("calm".into())));
        assert!(message.contains("clam"), "{message}");
        let bad = StartRequest { names: vec!["calm".into()], mode: "staging".into(), wait: None };
        let error = match client.start(bad).await {
            Err(error) => error,
            Ok(_) => panic!("`staging` is no mode"),
        };
        assert!(error.to_string().contains("staging"), "{error}");
    });
}

#[test]
fn an_operation_waits_ends_in_time_or_returns_at_once() {
    let home = Home::new(&json!({
        "never": {"command": ["sleep", "600"], "probes": {"startup": {"exec": ["false"], "interval": "50ms"}}},
    }));
    home.ctl(&["daemon", "start"]).code(0);
    block_on(async {
        let client = home.client().await.unwrap();
        for (wait, expected) in [
            (Wait { no_wait: true, timeout_ms: 0 }, "accepted"),
            (Wait { no_wait: false, timeout_ms: 300 }, "timeout"),
        ] {
            let request = StartRequest { names: vec!["never".into()], mode: String::new(), wait: Some(wait) };
            let mut stream = client.start(request).await.unwrap();
            let mut outcome = None;
            while let Some(progress) = timeout(Duration::from_secs(30), stream.next()).await.unwrap() {
                let progress = progress.unwrap();
                assert!(outcome.is_none(), "something came after the outcome");
                outcome = progress.outcome;
            }
            assert_eq!(outcome.expect("an outcome").result, expected);
        }
    });
}

/// `helmctl status --json` as another user.
fn as_nobody(home: &Home, groups: &[&str]) -> Said {
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534"])
        .args(groups)
        .arg(bin("helmctl"))
        .args(["--home", home.dir().to_str().unwrap(), "status", "--json"])
        .output()
        .unwrap();
    Said::of(&output)
}

fn open_to_all(home: &Home) {
    for dir in [home.dir().to_owned(), home.path("instance")] {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn other_users_are_refused() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    // Even where the modes of the directories would let them in.
    open_to_all(&home);
    std::fs::set_permissions(home.path("instance/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket: Value = serde_json::from_str(&home.read("instance/helmd.lock")).unwrap();
    std::fs::set_permissions(socket["socket"].as_str().unwrap(), std::fs::Permissions::from_mode(0o777))
        .unwrap();
    let said = as_nobody(&home, &["--clear-groups"]);
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(
        said.err.contains("uid 65534 may not use this helmd") && said.out.is_empty(),
        "{}{}",
        said.out,
        said.err
    );
}

/// Every method that helmd serves, as paths of gRPC: those of helm.v1 from its definition.
fn all_methods() -> Vec<String> {
    let name = |line: &str| Some(line.trim().strip_prefix("rpc ")?.split('(').next()?.to_owned());
    let mut methods: Vec<String> = Vec::new();
    for (file, service) in [("helm.proto", "Helm"), ("logs.proto", "Logs")] {
        let proto = std::fs::read_to_string(root().join("proto/helm/v1").join(file)).unwrap();
        methods.extend(proto.lines().filter_map(name).map(|name| format!("/helm.v1.{service}/{name}")));
    }
    assert!(methods.len() >= 22, "{methods:?}");
    methods.extend(
        [
            "/grpc.health.v1.Health/Check",
            "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            "/no.such.Service/Method",
        ]
        .map(str::to_owned),
    );
    methods
}

#[test]
fn another_user_gets_permission_denied_on_every_method() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    let before = home.status("web");
    open_to_all(&home);
    std::fs::set_permissions(home.path("instance/run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let lock: Value = serde_json::from_str(&home.read("instance/helmd.lock")).unwrap();
    let socket = lock["socket"].as_str().unwrap();
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let methods = all_methods();
    let stranger = |as_whom: &[&str], methods: &[String]| {
        let mut words: Vec<String> = as_whom.iter().map(|w| (*w).to_owned()).collect();
        words.extend([bin("stranger").display().to_string(), socket.to_owned()]);
        let output = Command::new(&words[0]).args(&words[1..]).args(methods).output().unwrap();
        Said::of(&output).code(0).out
    };
    // The messenger brings a different message to its own user.
    assert_eq!(stranger(&["env"], &methods[..1]), format!("{} 0\n", methods[0]));
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let expected: String = methods.iter().map(|method| format!("{method} 7\n")).collect();
    assert_eq!(stranger(&nobody, &methods), expected, "7 is PERMISSION_DENIED");
    let after = home.status("web");
    assert_eq!((after.state.as_str(), after.pid), ("running", before.pid), "a call was carried out");
}

#[test]
fn two_hundred_followers_of_output_share_what_a_user_has_few_of() {
    let home = Home::new(&json!({"app": {
        "command": "while [ ! -e go ]; do sleep 0.02; done; echo now; exec sleep 600", "shell": true, "path": "dir",
    }}));
    std::fs::create_dir(home.path("dir")).unwrap();
    home.ctl(&["up"]).code(0);
    block_on(async {
        let client = home.client().await.unwrap();
        let follow = OutputRequest { name: "app".into(), follow: true, ..OutputRequest::default() };
        let mut followers = Vec::new();
        for _ in 0..200 {
            followers.push(client.output(follow.clone()).await.unwrap());
        }
        home.write("dir/go", "");
        for follower in &mut followers {
            // The first message may hold only the place from where it follows.
            let told = async {
                loop {
                    let chunk = follower.next().await.unwrap().unwrap();
                    if let Some(line) = chunk.lines.into_iter().next() {
                        return line;
                    }
                }
            };
            assert_eq!(timeout(BOUND, told).await.expect("it is told").text, b"now");
        }
    });
}

#[test]
fn a_configured_group_is_let_in() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.write("instance/helm.conf", "[helm]\npeer_group = games\n");
    home.ctl(&["up"]).code(0);
    open_to_all(&home);
    let games = Command::new("getent").args(["group", "games"]).output().unwrap();
    let gid = String::from_utf8(games.stdout).unwrap().split(':').nth(2).unwrap().to_owned();
    as_nobody(&home, &["--groups", &gid]).code(0).says("running");
    let said = as_nobody(&home, &["--clear-groups"]);
    assert_ne!(said.code, 0, "{}", said.out);
}

#[test]
fn shutdown_leaves_the_services() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["up"]).code(0);
    let pid = home.status("web").pid;
    block_on(async { home.client().await.unwrap().shutdown().await.unwrap() });
    harness::wait::until("helmd is gone", || home.helmd().is_none());
    home.ctl(&["daemon", "start"]).code(0);
    assert_eq!(home.status("web").pid, pid);
}
