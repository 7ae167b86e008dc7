//! Clients that stay: helmd is stopped and killed beneath them, and they go on without loss or doubling.

use std::fs::File;
use std::process::{Child, Stdio};

use harness::home::{Home, fixture, gone};
use harness::procs::Process;
use harness::wait::{BOUND, eventually, until};
use harness::watch::block_on;
use helm_client::{News, Resuming, resume};
use helm_proto::v1::{EventRecord, EventsRequest, OutputRequest};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_stream::StreamExt;

/// A helmctl that stays, with its output in files of the home.
struct Staying<'h> {
    home: &'h Home,
    child: Child,
}

impl<'h> Staying<'h> {
    fn new(home: &'h Home, words: &[&str]) -> Self {
        let file = |name: &str| Stdio::from(File::create(home.path(name)).unwrap());
        let child = home.helmctl(words).stdout(file("ctl.out")).stderr(file("ctl.err")).spawn().unwrap();
        Self { home, child }
    }

    /// Whole lines.
    fn lines(&self) -> Vec<String> {
        let text = self.home.read("ctl.out");
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        text[..end].lines().map(str::to_owned).collect()
    }

    fn values(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn wait(&self, what: &str, fact: impl Fn(&[String]) -> bool) {
        eventually(what, || {
            let lines = self.lines();
            let last = lines.last().cloned().unwrap_or_default();
            if fact(&lines) { Ok(()) } else { Err(format!("{last}\n{}", self.home.read("ctl.err"))) }
        });
    }

    fn said(&self, text: &str) -> usize {
        self.home.read("ctl.err").matches(text).count()
    }

    /// helmd leaves, or is killed, `away` happens, and another one comes.
    #[track_caller]
    fn restart(&self, kill: bool, away: impl FnOnce()) {
        let times = self.said("reconnected");
        if kill {
            self.home.kill_helmd();
        } else {
            self.home.ctl(&["daemon", "stop"]).code(0);
        }
        until("it says that helmd is away", || self.said("helmd is not reachable; waiting") == times + 1);
        away();
        self.home.ctl(&["daemon", "start"]).code(0);
        until("it is connected again", || self.said("reconnected") == times + 1);
    }

    /// Ctrl+C.
    fn leave(mut self) {
        Process::of(self.child.id()).unwrap().signal(Signal::INT);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.home.read("ctl.err"));
    }
}

impl Drop for Staying<'_> {
    fn drop(&mut self) {
        // It is over already where the test came to its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn output_goes_on_without_loss_or_doubling() {
    let home = Home::new(&json!({"talk": {
        "command": fixture("chatty", "rate=500 burst=10 width=200"), "log": {"segment_size": "64KiB"},
    }}));
    home.ctl(&["up"]).code(0);
    let ctl = Staying::new(&home, &["output", "talk", "-f", "-n", "1000000"]);
    ctl.wait("first lines", |lines| lines.len() > 50);
    for kill in [true, false, true] {
        let before = ctl.lines().len();
        // What is printed meanwhile fills files that are closed and compressed.
        let captured = home.lines_so_far("talk").unwrap().len();
        ctl.restart(kill, || {
            until("more is printed", || home.lines_so_far("talk").unwrap().len() > captured + 400);
        });
        ctl.wait("it goes on", |lines| lines.len() > before + 400);
    }
    home.ctl(&["down"]).code(0);
    let all: Vec<String> = home.lines("talk").iter().map(harness::capture::Line::lossy).collect();
    ctl.wait("the last line", |lines| lines.len() >= all.len());
    assert!(ctl.lines() == all, "{} lines were shown of {}", ctl.lines().len(), all.len());
    ctl.leave();
}

#[test]
fn a_quiet_service_s_first_words_after_a_restart_are_shown() {
    let home = Home::new(&json!({"quiet": {
        "command": "while [ ! -e go ]; do sleep 0.02; done; echo hello; exec sleep 600", "shell": true, "path": "dir",
    }}));
    home.write("dir/.keep", "");
    home.ctl(&["up"]).code(0);
    let request =
        OutputRequest { name: "quiet".into(), lines: Some(0), follow: true, ..OutputRequest::default() };
    let there = helm_client::Home::find(Some(home.dir())).unwrap();
    block_on(async {
        let mut stream = Resuming::open(&there, request).await.unwrap();
        let mut next = async || timeout(BOUND, stream.next()).await.unwrap().unwrap().unwrap();
        let News::Message(first) = next().await else { panic!("where it begins comes first") };
        assert!(first.lines.is_empty() && first.cursor.is_some(), "{first:?}");
        home.kill_helmd();
        assert!(matches!(next().await, News::Away(_)));
        home.write("dir/go", "");
        until("it is captured", || !home.lines_so_far("quiet").unwrap_or_default().is_empty());
        home.ctl(&["daemon", "start"]).code(0);
        assert!(matches!(next().await, News::Back));
        loop {
            let News::Message(chunk) = next().await else { panic!("helmd is gone again") };
            if let [line] = chunk.lines.as_slice() {
                assert_eq!(line.text, b"hello");
                break;
            }
        }
    });
}

#[test]
fn events_go_on_by_their_number() {
    let home = Home::new(&json!({"web": {
        "command": fixture("chatty", "rate=5"), "backoff": {"initial": "10ms", "max": "10ms"},
    }}));
    home.ctl(&["up"]).code(0);
    let ctl = Staying::new(&home, &["events", "-f", "-n", "1000", "--json"]);
    ctl.wait("what was", |lines| lines.iter().any(|l| l.contains("running")));
    ctl.restart(false, || {});
    let service = Process::of(home.status("web").pid.unwrap()).unwrap();
    // What helmd learns only when it comes back is told as well.
    ctl.restart(true, || {
        service.kill();
        gone(service);
    });
    ctl.wait("what happened meanwhile", |lines| lines.iter().any(|l| l.contains("SIGKILL")));
    home.ctl(&["stop", "web"]).code(0);
    ctl.wait("the stop", |lines| lines.iter().any(|l| l.contains("\"to\":\"stopped\"")));
    let ids: Vec<u64> = ctl.values().iter().filter_map(|event| event["id"].as_u64()).collect();
    let first = ids[0];
    assert_eq!(ids, (first..first + ids.len() as u64).collect::<Vec<_>>(), "each number once, in order");
    ctl.leave();
}

#[test]
fn events_are_followed_also_where_none_had_happened() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    home.ctl(&["daemon", "start"]).code(0);
    let request = EventsRequest { names: vec!["web".into()], last: Some(1), ..EventsRequest::default() };
    let there = helm_client::Home::find(Some(home.dir())).unwrap();
    let mut followed = Vec::new();
    block_on(async {
        let mut stream = resume::events(&there, request).await.unwrap();
        let mut next = async || timeout(BOUND, stream.next()).await.unwrap().unwrap().unwrap();
        let News::Message(mark) = next().await else { panic!("where it begins comes first") };
        assert!(mark.kind.is_empty(), "{mark:?}");
        home.kill_helmd();
        assert!(matches!(next().await, News::Away(_)));
        home.ctl(&["up"]).code(0);
        assert!(matches!(next().await, News::Back));
        while followed.last().is_none_or(|e: &EventRecord| e.kind != "state" || e.to != "running") {
            let News::Message(event) = next().await else { panic!("helmd is gone again") };
            assert_eq!(event.missed, 0, "{event:?}");
            followed.extend((!event.kind.is_empty()).then_some(event));
        }
    });
    let all = home.ctl(&["events", "web", "-n", "1000", "--json"]).code(0).out;
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap());
    let followed: Vec<u64> = followed.iter().map(|event| event.id).collect();
    assert!(followed.len() > 1, "{followed:?}");
    assert_eq!(followed, all.take(followed.len()).collect::<Vec<_>>(), "each once, from the first one on");
}

#[test]
fn status_begins_again_with_everything() {
    let home = Home::new(&json!({
        "a": {"command": fixture("chatty", "rate=5"), "backoff": {"initial": "10ms", "max": "10ms"}},
        "b": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["up"]).code(0);
    let ctl = Staying::new(&home, &["status", "--watch", "--json"]);
    ctl.wait("everything", |lines| !lines.is_empty());
    let pid = |name: &str| home.status(name).pid.unwrap();
    let (a, b) = (Process::of(pid("a")).unwrap(), pid("b"));
    ctl.restart(true, || {
        a.kill();
        gone(a);
    });
    home.wait_for("a", "its next run", |s| s.state == "running");
    let (was, is) = (a.pid, pid("a"));
    assert_ne!(was, is);
    let names =
        |line: &String| serde_json::from_str::<Value>(line).unwrap()["services"].as_array().unwrap().len();
    ctl.wait("everything again", |lines| lines.iter().skip(1).any(|line| names(line) == 2));
    ctl.wait("the next run", |lines| lines.iter().any(|line| line.contains(&format!("\"pid\":{is},"))));
    assert!(ctl.lines().iter().any(|line| line.contains(&format!("\"pid\":{b},"))));
    ctl.restart(false, || {});
    ctl.leave();
}

#[test]
fn without_helmd_at_the_start_they_do_not_wait() {
    let home = Home::new(&json!({"web": {"command": fixture("chatty", "rate=5")}}));
    for words in [
        &["status", "--watch"][..],
        &["output", "web", "-f"],
        &["events", "-f"],
        &["events", "-f", "-n", "0"],
    ] {
        home.ctl(words).code(3).says("daemon start");
    }
}

#[test]
fn an_operation_that_helmd_left_says_how_to_go_on() {
    let home = Home::new(&json!({"deaf": {"command": fixture("stubborn", ""), "stop": {"grace": "5s"}}}));
    home.ctl(&["up"]).code(0);
    for (kill, words) in [(true, ["stop", "deaf"]), (false, ["restart", "deaf"])] {
        let mut ctl = Staying::new(&home, &words);
        home.wait_for("deaf", "it is being stopped", |s| s.state == "stopping");
        if kill {
            home.kill_helmd();
        } else {
            home.ctl(&["daemon", "stop"]).code(0);
        }
        assert_eq!(ctl.child.wait().unwrap().code(), Some(3));
        // Whether the word that it was taken on came through before the end, is chance; each way it is said how to go on.
        let said = ctl.said("What you asked for is recorded") + ctl.said("did not say that it took this on");
        assert_eq!((said, ctl.said("helmctl daemon start, then")), (1, 1), "{}", home.read("ctl.err"));
        home.ctl(&["daemon", "start"]).code(0);
        if kill {
            home.wait_for("deaf", "the stop is done", |s| s.state == "stopped");
            home.ctl(&["start", "deaf"]).code(0);
        }
    }
}
