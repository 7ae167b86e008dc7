//! What an incident says, of values alone; and that the fleet lets each unexpected end be investigated, and no other.

use std::time::Duration;

use super::why::{Situation, Why, why};
use super::*;
use crate::event::{Change, ChangeKind, News};
use crate::fleet::testing::*;
use crate::spec::{Backoff, RestartPolicy, ServiceSpec};
use crate::status::{Holder, ServiceStatus, State, Stuck};

fn wall(seconds: i64) -> Wall {
    Wall(seconds * 1_000_000_000)
}

fn incident(what: What, evidence: Evidence) -> Incident {
    let (run, at, follows) = (RunId(7), wall(1_000), Follows::Stays);
    Incident::new(3, Mishap { service: name("core"), run, at, what, follows }, evidence)
}

fn ended(exit: Exit) -> What {
    What::Ended { exit, ran: Duration::from_secs(90) }
}

fn line(text: &str) -> OutputLine {
    OutputLine { at: wall(999), stderr: false, text: text.into() }
}

fn sample(seconds: i64, mib: u64) -> Sample {
    Sample { at: wall(seconds), memory: mib << 20, cpu_percent: Some(97.4) }
}

fn change(service: &str, kind: ChangeKind, to: &str, cause: &str, at: i64) -> Change {
    Change {
        at: wall(at),
        service: name(service),
        kind,
        from: String::new(),
        to: to.into(),
        cause: cause.into(),
        run: None,
        pid: None,
        exit: None,
    }
}

fn status(state: State) -> ServiceStatus {
    let script = Script::new([svc("core")]);
    let status = script.status("core").clone();
    ServiceStatus { state, since: wall(1_000), reason: "as it is".into(), ..status }
}

fn answer(s: &ServiceStatus, incident: Option<&Incident>) -> Why {
    why(Situation { incident, ..situation(s) })
}

fn situation(status: &ServiceStatus) -> Situation<'_> {
    Situation {
        status,
        now: wall(1_060),
        incident: None,
        answers: &[],
        aftermath: &[],
        keeper: None,
        started: None,
        removed: false,
        taken_back: None,
        needs: &[],
    }
}

fn facts(why: &Why, label: &str) -> Vec<String> {
    why.facts.iter().filter(|fact| fact.label == label).map(|fact| fact.text.clone()).collect()
}

#[test]
fn a_kill_for_memory_is_told_with_what_it_had_and_what_to_raise() {
    let oom = Evidence {
        oom: Oom::Counted(1),
        memory_limit: Some(256 << 20),
        cgroup: true,
        samples: vec![sample(970, 60), sample(995, 255)],
        ..Evidence::default()
    };
    let incident = incident(ended(Exit::Signal(9)), oom);
    let why = answer(&status(State::Failed), Some(&incident));
    assert_eq!(why.cause, "was killed by the kernel, out of memory, after 90 s");
    assert_eq!(facts(&why, "memory"), ["255 MB of 256 MB allowed (25 s before: 60 MB), CPU 97 %"]);
    assert_eq!(facts(&why, "kernel"), ["killed 1 process for memory: the limit of its cgroup is 256 MB"]);
    assert!(why.next[0].starts_with("raise limits.memory of core"), "{:?}", why.next);
    assert!(why.next[0].ends_with("then helmctl start core"), "{:?}", why.next);
    assert!((why.well, why.incident) == (false, Some(3)));
}

#[test]
fn a_worker_killed_for_memory_is_seen_though_the_main_process_ended_by_itself() {
    let oom = Evidence { oom: Oom::Counted(2), ..Evidence::default() };
    let cause = incident(ended(Exit::Code(3)), oom).cause();
    assert_eq!(
        cause,
        "exited with code 3 after 90 s; the kernel had killed 2 processes of it, out of memory"
    );
}

#[test]
fn a_kill_that_nobody_knows_of_is_not_made_up() {
    let of = |oom| {
        answer(
            &status(State::Failed),
            Some(&incident(ended(Exit::Signal(9)), Evidence { oom, ..Evidence::default() })),
        )
    };
    let unknown = of(Oom::Unknown);
    assert_eq!(unknown.cause, "was ended by signal 9 (SIGKILL) after 90 s");
    assert_eq!(
        facts(&unknown, "kernel"),
        ["whether it killed it for memory cannot be read here; else somebody sent SIGKILL"]
    );
    let no = of(Oom::No);
    assert_eq!(facts(&no, "kernel"), ["did not kill it for memory: somebody sent SIGKILL"]);
    let logged = of(Oom::Logged("Out of memory: Killed process 7 (core)".into()));
    assert_eq!(logged.cause, "was killed by the kernel, out of memory, after 90 s");
    assert!(logged.next[0].contains("the whole host"), "{:?}", logged.next);
}

#[test]
fn a_signal_that_was_sent_through_helm_is_no_riddle() {
    let sent = change("core", ChangeKind::Signal, "SIGTERM", "sent by uid 7 pid 9 (helmctl)", 999);
    let before = before(&name("core"), &[], [sent].iter(), wall(1_000));
    assert_eq!(before[0].text, "SIGTERM sent by uid 7 pid 9 (helmctl)");
    let incident = incident(ended(Exit::Signal(15)), Evidence { before, ..Evidence::default() });
    let why = answer(&status(State::Backoff), Some(&incident));
    assert_eq!(facts(&why, "shortly before"), ["SIGTERM sent by uid 7 pid 9 (helmctl)"]);
    assert!(why.next[0].contains("it was sent through Helm"), "{:?}", why.next);
}

#[test]
fn the_last_words_stand_without_empty_lines_and_silence_is_said() {
    let lines = ["a", "b", "", "c", "d", "  "].map(line).to_vec();
    let spoke = incident(ended(Exit::Code(1)), Evidence { lines, ..Evidence::default() });
    let why = answer(&status(State::Failed), Some(&spoke));
    assert_eq!(facts(&why, "last words"), ["b", "c", "d"]);
    let silent = answer(&status(State::Failed), Some(&incident(ended(Exit::Code(1)), Evidence::default())));
    assert_eq!(facts(&silent, "last words"), ["none: it printed nothing"]);
    let never =
        incident(What::NotInstalled { reason: "the directory /x is not there".into() }, Evidence::default());
    let why = answer(&status(State::NotInstalled), Some(&never));
    assert_eq!(
        (why.verdict.as_str(), why.cause.as_str()),
        ("could not be started", "the directory /x is not there")
    );
    assert!(facts(&why, "last words").is_empty(), "it did not run");
}

#[test]
fn a_service_that_was_ended_for_not_being_ready_shows_its_probe() {
    let probe = |seconds, health, message: &str| ProbeAnswer {
        at: wall(seconds),
        run: RunId(7),
        probe: ProbeKind::Readiness,
        health,
        message: message.into(),
        latency: Duration::ZERO,
    };
    let answers = vec![
        probe(980, Health::Healthy, "HTTP 200"),
        probe(990, Health::Unhealthy, "HTTP 500"),
        probe(999, Health::Unhealthy, "HTTP 503"),
    ];
    let what = What::Unwell {
        why: "was not ready after 30 s: HTTP 503".into(),
        exit: Exit::Signal(15),
        ran: Duration::from_secs(30),
    };
    let why =
        answer(&status(State::Failed), Some(&incident(what, Evidence { answers, ..Evidence::default() })));
    assert_eq!(why.cause, "was ended by Helm: it was not ready after 30 s: HTTP 503");
    assert_eq!(facts(&why, "last probe"), ["readiness unhealthy (2 times in a row): HTTP 503"]);
    assert_eq!(facts(&why, "last good probe"), ["readiness healthy"]);
    assert!(why.next[1].contains("start_timeout"), "{:?}", why.next);
}

#[test]
fn who_waits_says_for_whom_and_what_is_with_that_one() {
    let stuck = Stuck { root: name("db"), why: "db has failed (exited with code 1)".into(), absent: false };
    let waiting = ServiceStatus { stuck: Some(stuck), waits_for: vec![name("db")], ..status(State::Blocked) };
    let db = ServiceStatus { name: name("db"), ..status(State::Failed) };
    let lines = vec![line("no space left")];
    let of_db = incident(ended(Exit::Code(1)), Evidence { lines, ..Evidence::default() });
    let why = why(Situation { needs: &[(&db, Some(&of_db))], ..situation(&waiting) });
    assert_eq!(
        (why.verdict.as_str(), why.cause.as_str()),
        ("is not started", "db has failed (exited with code 1)")
    );
    assert_eq!(facts(&why, "db"), ["failed: exited with code 1 after 90 s"]);
    assert_eq!(facts(&why, "last words"), ["no space left"]);
    assert!(why.next[0].starts_with("helmctl why db"), "{:?}", why.next);
}

#[test]
fn what_is_in_no_configuration_is_not_told_to_be_started() {
    let stopped = status(State::Stopped);
    assert_eq!(answer(&stopped, None).next, ["helmctl start core"]);
    let taken_back = Told { at: wall(1_050), service: None, text: "2 was taken back".into() };
    let why = why(Situation { removed: true, taken_back: Some(&taken_back), ..situation(&stopped) });
    assert_eq!(facts(&why, "configuration"), ["2 was taken back"]);
    assert!(why.next[0].starts_with("helmctl plan") && why.next.len() == 1, "{:?}", why.next);
}

#[test]
fn of_what_is_well_it_is_told_why_it_was_started_not_long_ago() {
    let well = ServiceStatus { ready: true, ..status(State::Running) };
    let started = |at| Told { at: wall(at), service: None, text: "asked by uid 7".into() };
    for (at, told) in [(1_050, vec!["asked by uid 7".to_owned()]), (-9_000, Vec::new())] {
        let why = why(Situation { started: Some(&started(at)), ..situation(&well) });
        assert_eq!((why.well, facts(&why, "started")), (true, told), "{at}");
    }
}

#[test]
fn a_taken_port_names_its_holder_and_the_way_out() {
    let holder = Holder { pid: Some(42), command: Some("python -m http.server".into()), uid: None };
    let reason = "pid 42 (python -m http.server) holds port 80 and was not started by Helm".to_owned();
    let why = answer(
        &ServiceStatus { holder: Some(holder), reason: reason.clone(), ..status(State::External) },
        None,
    );
    assert_eq!((why.verdict.as_str(), why.cause), ("is not started by Helm", reason));
    assert!(why.next[0].contains("kill 42"), "{:?}", why.next);
}

#[test]
fn a_healthy_service_says_so_and_tells_its_last_incident_in_a_line() {
    let well = ServiceStatus { ready: true, health: Health::Healthy, pid: Some(5), ..status(State::Running) };
    let why = answer(&well, None);
    assert!(why.well && why.facts.is_empty() && why.next.is_empty(), "{why:?}");
    assert_eq!(why.cause, "running, ready, healthy (pid 5)");
    // By hand since: the incident does not tell why it runs.
    let before = incident(ended(Exit::Code(1)), Evidence::default());
    let why = answer(&well, Some(&before));
    assert!(why.well, "{why:?}");
    assert_eq!(facts(&why, "last incident"), ["exited with code 1 after 90 s (helmctl incidents show 3)"]);
    // Restarted by Helm a minute ago: the story is told whole.
    let again = answer(&ServiceStatus { restarts: 1, ..well }, Some(&before));
    assert_eq!((again.well, again.verdict.as_str()), (false, "failed, and runs again"));
    assert_eq!(facts(&again, "now"), ["running, ready, healthy (pid 5)"]);
}

#[test]
fn an_incident_is_bounded_whatever_was_gathered() {
    let lines = vec![line(&"ü".repeat(5_000)); 500];
    let before = vec![Told { at: wall(1), service: None, text: "x".repeat(9_999) }; 99];
    let samples = vec![sample(1, 1); 99];
    let what = What::NotStarted { reason: "y".repeat(99_999) };
    let incident = incident(what, Evidence { lines, before, samples, ..Evidence::default() });
    assert!(serde_json::to_vec(&incident).unwrap().len() < 16 << 10);
    assert!(incident.evidence.lines.len() > 5 && incident.evidence.lines[0].text.ends_with('…'));
    let text = serde_json::to_string(&incident).unwrap();
    assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident);
}

#[test]
fn what_others_did_because_of_it_ends_a_minute_after_it_is_back() {
    let incident = incident(ended(Exit::Code(1)), Evidence::default());
    let changes = [
        change("nexus", ChangeKind::Exit, "code 9", "exited with code 9 after 1 s", 990),
        change("nexus", ChangeKind::State, "blocked", "waits for core (backoff)", 1_001),
        change("nexus", ChangeKind::Health, "unhealthy", "HTTP 502", 1_002),
        change("other", ChangeKind::Exit, "code 1", "exited with code 1 after 1 s", 1_003),
        change("core", ChangeKind::State, "running", "is ready", 1_004),
        change("beacon", ChangeKind::Health, "unhealthy", "HTTP 502", 1_010),
        change("late", ChangeKind::Exit, "code 1", "exited with code 1 after 1 s", 1_100),
    ];
    let told = aftermath(&incident, &["nexus", "beacon", "late"].map(name), changes.iter());
    let words: Vec<String> =
        told.iter().map(|told| format!("{} {}", told.service.as_ref().unwrap(), told.text)).collect();
    assert_eq!(words, ["nexus waits for core (backoff)", "beacon unhealthy: HTTP 502"]);
}

#[test]
fn what_had_changed_before_is_its_own_wishes_and_the_ends_of_those_it_needs() {
    let changes = [
        change("core", ChangeKind::Wish, "running", "asked by uid 7", 100),
        change("core", ChangeKind::Wish, "running", "asked by uid 8", 900),
        change("db", ChangeKind::Exit, "code 1", "exited with code 1 after 1 s", 950),
        change("db", ChangeKind::State, "running", "is ready", 960),
        change("other", ChangeKind::Exit, "code 1", "exited with code 1 after 1 s", 950),
        change("core", ChangeKind::State, "backoff", "its own story", 999),
        change("core", ChangeKind::Wish, "stopped", "asked by uid 9", 1_001),
    ];
    let told = before(&name("core"), &[name("db")], changes.iter(), wall(1_000));
    let words: Vec<&str> = told.iter().map(|told| told.text.as_str()).collect();
    assert_eq!(words, ["to be running: asked by uid 8", "exited with code 1 after 1 s"]);
}

fn scripted(restart: RestartPolicy, limit: Option<u32>) -> Script {
    let backoff = Backoff { limit, jitter: 0.0, ..Backoff::default() };
    let mut script = Script::new([ServiceSpec { restart, backoff, ..svc("a") }]);
    script.start("a").started("a");
    script
}

#[test]
fn the_fleet_lets_each_unexpected_end_be_investigated_with_what_follows() {
    let mut s = scripted(RestartPolicy::Always, Some(2));
    s.after(secs(3)).died("a", Exit::Code(7));
    let found = s.mishaps();
    let [first] = found else { panic!("{found:?}") };
    assert_eq!(first.what, What::Ended { exit: Exit::Code(7), ran: secs(3) });
    assert_eq!(first.follows, Follows::After { delay: secs(1), number: 1 });
    s.after(secs(1)).started("a").died("a", Exit::Unknown);
    assert_eq!(s.mishaps().last().unwrap().follows, Follows::GaveUp { failures: 2 });
}

#[test]
fn what_was_asked_for_or_has_done_its_work_is_no_incident() {
    let mut s = scripted(RestartPolicy::Always, None);
    s.stop("a").died("a", Exit::Signal(15));
    assert!(s.mishaps().is_empty());
    s.start("a").started("a").restart(&["a"]).died("a", Exit::Signal(15));
    assert!(s.mishaps().is_empty());
    let mut s = scripted(RestartPolicy::OnFailure, None);
    s.died("a", Exit::Code(0));
    assert!(s.mishaps().is_empty());
}

#[test]
fn a_start_that_comes_to_nothing_is_one_while_the_service_is_wanted() {
    let mut s = Script::new([svc("a")]);
    s.start("a");
    let run = s.run("a");
    s.news("a", News::NotInstalled { run, reason: "no /x".into() });
    assert_eq!(s.mishaps()[0].what, What::NotInstalled { reason: "no /x".into() });
    s.start("a");
    let run = s.run("a");
    s.news("a", News::StartFailed { run, reason: "no program".into(), permanent: true });
    let found = s.mishaps();
    assert_eq!(found[1].what, What::NotStarted { reason: "no program".into() });
    assert_eq!(found[1].follows, Follows::Stays);
    s.start("a");
    let run = s.run("a");
    s.stop("a").news("a", News::NotInstalled { run, reason: "no /x".into() });
    assert_eq!(s.mishaps().len(), 2, "nobody wants it any more");
}
