//! The log over the real binaries: kept once, found, followed, exported, proved.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::home::{Home, Said, fixture};
use harness::wait::{eventually, until};
use harness::watch::block_on;
use helm_client::{ClientError, Logs, Reason};
use helm_proto::v1::{
    AppendRequest, AppendResponse, FollowLogsRequest, LogFacetsRequest, LogFilter, LogHistogramRequest,
    LogText, NewLogEntry, QueryLogsRequest,
};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

/// A service that says one line of each kind, and a traceback.
const TALKER: &str = r#"
import logging, sys, time
logging.basicConfig(level=logging.DEBUG, format="%(asctime)s - %(name)s - %(levelname)s - %(message)s", stream=sys.stdout)
logging.info("hello")
try:
    1 / 0
except ZeroDivisionError:
    logging.exception("it broke")
print('{"timestamp":"2026-01-02T03:04:05.678Z","level":"warn","message":"slow answer","trace_id":"tr-1","user_id":"u7","ms":1200}', flush=True)
sys.stdout.buffer.write(b"odd \xff byte\n")
sys.stdout.flush()
time.sleep(600)
"#;

fn talker() -> Home {
    let home = Home::new(&json!({"talker": {"command": ["python3", "talker.py"], "path": "dir"}}));
    home.write("dir/talker.py", TALKER);
    home.ctl(&["up"]).code(0);
    home
}

pub(crate) fn rows(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// `logs --json` once as many are there.
pub(crate) fn logged(home: &Home, words: &[&str], count: usize) -> Vec<Value> {
    let words: Vec<&str> = ["logs", "--json"].iter().chain(words).copied().collect();
    eventually("entries are kept", || {
        let said = home.ctl(&words);
        let found = rows(&said);
        if found.len() >= count { Ok(found) } else { Err(format!("{}{}", said.out, said.err)) }
    })
}

pub(crate) async fn logs(home: &Home) -> Logs {
    Logs::of(&home.client().await.unwrap()).await.unwrap()
}

pub(crate) async fn append(home: &Home, request: AppendRequest) -> Result<AppendResponse, ClientError> {
    logs(home).await.append(request).await
}

pub(crate) fn batch(service: &str, messages: &[&str]) -> AppendRequest {
    let entry =
        |text: &&str| NewLogEntry { message: (*text).into(), level: "info".into(), ..Default::default() };
    AppendRequest {
        service: service.into(),
        entries: messages.iter().map(entry).collect(),
        ..Default::default()
    }
}

pub(crate) fn idle() -> Home {
    let home = Home::new(&json!({"app": {"command": ["sleep", "600"]}}));
    home.ctl(&["up"]).code(0);
    home
}

#[test]
fn what_a_service_prints_is_kept_with_level_time_and_trace_and_a_traceback_is_one_entry() {
    let home = talker();
    let found = logged(&home, &["talker"], 4);
    assert_eq!(found.len(), 4, "{found:#?}");
    let slow = &found[0];
    assert_eq!(slow["at"], "2026-01-02T03:04:05.678000000Z", "oldest first, by its own time");
    assert_eq!(
        (&slow["level"], &slow["trace_id"], &slow["user_id"]),
        (&json!("WARNING"), &json!("tr-1"), &json!("u7"))
    );
    assert_eq!(slow["context"], json!({"ms": 1200}));
    let broke = found.iter().find(|e| e["level"] == "ERROR").expect("the traceback");
    let message = broke["message"].as_str().unwrap();
    assert!(message.starts_with("it broke\nTraceback") && message.ends_with("division by zero"), "{message}");
    let odd = &logged(&home, &["--grep", "^odd"], 1)[0];
    assert_eq!((&odd["message"], &odd["flags"]), (&json!("odd \u{fffd} byte"), &json!(["invalid-utf8"])));
    for (words, count) in [
        (vec!["--trace", "tr-1"], 1),
        (vec!["-c", "tr-1", "-u", "u7", "-l", "warn", "--tail", "5"], 1),
        (vec!["-u", "nobody"], 0),
        (vec!["--level", "error"], 1),
        (vec!["--level", "info", "--exact"], 2),
        (vec!["--grep", "BROKE", "-v", "hello"], 1),
        (vec!["--until", "2026-02-01"], 1),
        (vec!["--since", "2026-02-01"], 3),
        (vec!["-n", "2"], 2),
        (vec!["-n", "0"], 0),
    ] {
        let words: Vec<&str> = ["logs", "--json", "talker"].iter().chain(&words).copied().collect();
        assert_eq!(rows(&home.ctl(&words).code(0)).len(), count, "{words:?}");
    }
    let said = home.ctl(&["logs", "--grep", "it broke", "--context", "1"]).code(0);
    assert!(said.out.contains("hello") && said.out.contains("odd"), "neighbours: {}", said.out);
    assert!(!said.out.contains('\u{1b}'), "no colours where there is no terminal");
    home.ctl(&["logs", "tolker"]).code(4).says("did you mean `talker`?");
}

#[test]
fn what_is_sent_is_judged_entry_by_entry_and_a_repetition_is_harmless() {
    let home = idle();
    let mut request = batch("sender-1", &["one", "two", "", "three"]);
    request.entries[1].level = "loud".into();
    request.entries[3].service = "No Name".into();
    request.sender = "s".into();
    request.sequence = 1;
    let answer = block_on(append(&home, request.clone())).unwrap();
    assert_eq!((answer.kept, answer.duplicate, answer.repaired), (2, false, 1), "{answer:?}");
    let refused: Vec<u32> = answer.rejected.iter().map(|r| r.index).collect();
    assert_eq!(refused, [2, 3], "{answer:?}");
    assert!(answer.rejected[1].reason.contains("is not a service name"), "{answer:?}");
    assert!(block_on(append(&home, request)).unwrap().duplicate);
    let keyed = AppendRequest { idempotency_key: "k".into(), ..batch("sender-1", &["four"]) };
    assert_eq!(block_on(append(&home, keyed.clone())).unwrap().kept, 1);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let again = block_on(append(&home, keyed)).unwrap();
    assert!(again.duplicate && again.kept == 0, "{again:?}");
    let found = logged(&home, &["sender-1"], 3);
    let messages: Vec<&str> = found.iter().map(|e| e["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["one", "two", "four"]);
    assert_eq!((&found[1]["level"], &found[1]["flags"]), (&json!("INFO"), &json!(["repaired"])));
    assert_eq!(found[1]["context"]["helm.level"], "loud");
    let exact =
        NewLogEntry { message: "timed".into(), at: Some(1_700_000_000_123_456_789), ..Default::default() };
    let request = AppendRequest { service: "sender-1".into(), entries: vec![exact], ..Default::default() };
    block_on(append(&home, request)).unwrap();
    assert_eq!(logged(&home, &["--grep", "timed"], 1)[0]["at"], "2023-11-14T22:13:20.123456789Z");
}

#[test]
fn hostile_input_is_bounded_and_answered_with_a_sentence() {
    let home = idle();
    let refused = |filter: LogFilter| {
        let request = QueryLogsRequest { filter: Some(filter), ..Default::default() };
        let error = block_on(async { logs(&home).await.query(request).await }).unwrap_err();
        assert!(matches!(&error, ClientError::Refused { reason: Reason::BadRequest, .. }), "{error:?}");
        error.to_string()
    };
    let regex = |pattern: &str| LogFilter {
        texts: vec![LogText { pattern: pattern.into(), kind: "regex".into(), ..Default::default() }],
        ..Default::default()
    };
    assert!(refused(regex("(")).contains("no regular expression"));
    assert!(refused(regex(r"(\w{900}){900}")).contains("no regular expression"), "too large");
    assert!(refused(LogFilter { level: "loud".into(), ..Default::default() }).contains("is no level"));
    let bad = QueryLogsRequest { cursor: "../../x".into(), ..Default::default() };
    assert!(
        block_on(async { logs(&home).await.query(bad).await }).unwrap_err().to_string().contains("no cursor")
    );
    let bad = FollowLogsRequest { cursor: "f1~default.zz".into(), ..Default::default() };
    assert!(block_on(async { logs(&home).await.follow(bad).await }).is_err());

    let mut request = batch("hostile", &["deep", &"x".repeat(10_000_000)]);
    request.entries[0].context = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let answer = block_on(append(&home, request)).unwrap();
    assert_eq!((answer.kept, answer.repaired), (2, 2), "{answer:?}");
    let found = logged(&home, &["hostile"], 2);
    assert_eq!(found[1]["message"].as_str().unwrap().len(), 64 << 10);
    assert_eq!(found[1]["context"]["helm.message_bytes"], "10000000");

    let names = (0..3000).map(|n| NewLogEntry {
        service: format!("name-{n}"),
        message: "m".into(),
        ..Default::default()
    });
    let request = AppendRequest { entries: names.collect(), ..Default::default() };
    let answer = block_on(append(&home, request)).unwrap();
    assert!(answer.kept > 1000 && answer.kept < 2001, "{} kept", answer.kept);
    assert_eq!(answer.kept as usize + answer.rejected.len(), 3000);
    assert_eq!(block_on(append(&home, batch("hostile", &["still here"]))).unwrap().kept, 1);
    home.ctl(&["logs", "verify"]).code(0);
}

#[test]
fn a_follower_outlives_helmd_without_loss_or_doubling() {
    let home = Home::new(&json!({"app": {"command": fixture("chatty", "rate=100 streams=stdout")}}));
    home.ctl(&["up"]).code(0);
    logged(&home, &["app"], 10);
    let out = home.path("followed");
    let file = std::fs::File::create(&out).unwrap();
    let mut follower = home
        .helmctl(&["logs", "app", "--json", "-f", "-n", "5"])
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let followed = || {
        let text = std::fs::read_to_string(&out).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap();
        whole.lines().filter(|line| !line.is_empty()).map(id).collect::<Vec<i64>>()
    };
    for _ in 0..3 {
        let before = followed().len();
        until("more is followed", || followed().len() > before + 30);
        home.kill_helmd();
        home.ctl(&["daemon", "start"]).code(0);
    }
    let before = followed().len();
    until("it goes on", || followed().len() > before + 30);
    follower.kill().unwrap();
    follower.wait().unwrap();
    let ids = followed();
    let once: BTreeSet<i64> = ids.iter().copied().collect();
    assert_eq!(once.len(), ids.len(), "something came twice");
    let all = rows(&home.ctl(&["logs", "export", "app"]).code(0));
    let stored: BTreeSet<i64> = all.iter().map(|e| e["id"].as_i64().unwrap()).collect();
    let (first, last) = (ids.iter().min().unwrap(), ids.iter().max().unwrap());
    let between: BTreeSet<i64> = stored.range(*first..=*last).copied().collect();
    assert_eq!(once, between, "what was followed is what is kept");
}

#[test]
fn an_export_is_what_a_query_finds_and_histogram_and_facets_agree() {
    let home = idle();
    let messages: Vec<String> = (0..2500).map(|n| format!("line {n}, with \"quotes\"\nand more")).collect();
    let texts: Vec<&str> = messages.iter().map(String::as_str).collect();
    assert_eq!(block_on(append(&home, batch("many", &texts))).unwrap().kept, 2500);
    let exported = rows(&home.ctl(&["logs", "export", "many"]).code(0));
    assert_eq!(exported.len(), 2500);
    let paged = block_on(async {
        let mut logs = logs(&home).await;
        let filter = Some(LogFilter { services: vec!["many".into()], ..Default::default() });
        let mut request =
            QueryLogsRequest { filter, oldest_first: true, limit: 700, total: true, ..Default::default() };
        let mut ids = Vec::new();
        loop {
            let page = logs.query(request.clone()).await.unwrap();
            assert_eq!((page.total, page.total_exact), (Some(2500), true));
            ids.extend(page.entries.into_iter().map(|e| e.id));
            if page.cursor.is_empty() {
                break;
            }
            request.cursor = page.cursor;
        }
        let skipped =
            logs.query(QueryLogsRequest { cursor: String::new(), offset: 2000, limit: 1, ..request }).await;
        assert_eq!(skipped.unwrap().entries[0].id, ids[2000]);
        ids
    });
    assert_eq!(exported.iter().map(|e| e["id"].as_i64().unwrap()).collect::<Vec<_>>(), paged);

    let csv = home.ctl(&["logs", "export", "many", "--format", "csv"]).code(0).out;
    assert!(csv.starts_with("id,at,") && csv.contains("\"line 7, with \"\"quotes\"\"\nand more\""));
    let text = home.ctl(&["logs", "export", "many", "--format", "text"]).code(0).out;
    assert_eq!(text.lines().count(), 5000);

    let (sum, facets) = block_on(async {
        let mut logs = logs(&home).await;
        let hour = 3_600_000_000_000;
        let now = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos()).unwrap();
        let (from, to) = (now - 24 * hour, now + hour);
        let histogram = LogHistogramRequest { filter: None, from, to, step: hour };
        let buckets = logs.histogram(histogram).await.unwrap().buckets;
        let filter = LogFilter { since: Some(from), until: Some(to), ..Default::default() };
        let facets = logs.facets(LogFacetsRequest { filter: Some(filter) }).await.unwrap().services;
        (buckets.iter().map(|b| b.info + b.warning + b.error).sum::<u64>(), facets)
    });
    assert_eq!(sum, facets.iter().map(|f| f.info + f.warning + f.error).sum::<u64>());
    assert_eq!(facets.iter().find(|f| f.service == "many").unwrap().info, 2500);
    home.ctl(&["logs", "stats", "many"]).code(0).says("2500").says("last 24 hours");
}

/// Stops helmd, does something to the open file of the log, starts it again, and asks for the proof.
fn tampered(home: &Home, sql: &str) -> Said {
    home.ctl(&["daemon", "stop"]).code(0);
    let dir = home.path("instance/store/log");
    let files = std::fs::read_dir(dir).unwrap().flatten().map(|f| f.path());
    let file = files.filter(|path| path.to_string_lossy().ends_with("-default.db")).max().unwrap();
    let drop = "SELECT 'DROP TRIGGER \"' || name || '\";' FROM sqlite_master WHERE type = 'trigger'";
    let sqlite = |sql: &str| {
        let done = Command::new("sqlite3").arg(&file).arg(sql).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    };
    let triggers = sqlite(drop);
    sqlite(&format!("{triggers}{sql}"));
    home.ctl(&["daemon", "start"]).code(0);
    home.ctl(&["logs", "verify"])
}

#[test]
fn whoever_alters_or_removes_an_entry_is_found_out() {
    let home = idle();
    block_on(append(&home, batch("audited", &["first", "second", "third"]))).unwrap();
    home.ctl(&["logs", "verify"]).code(0).says("none altered").says("--anchor");
    let ends = home.ctl(&["logs", "verify", "--anchor"]).code(0);
    assert!(
        ends.out.lines().all(|line| line.starts_with("# ")
            || ["/default/", "/audit/"].iter().any(|class| line.contains(class))),
        "{}",
        ends.out
    );
    home.write("ends", &ends.out);
    let (ends, nonsense) =
        (home.path("ends").display().to_string(), home.path("nonsense").display().to_string());
    block_on(append(&home, batch("audited", &["fourth"]))).unwrap();
    home.ctl(&["logs", "verify", "--against", &ends]).code(0).says("nothing was cut off");
    home.write("nonsense", "nonsense\n");
    home.ctl(&["logs", "verify", "--against", &nonsense]).code(2).says("is no anchor");
    home.write("nonsense", "# nothing\n");
    home.ctl(&["logs", "verify", "--against", &nonsense]).code(1).says("holds no anchor");
    home.ctl(&["logs", "verify", "--against", "/no/such/file"]).code(1).says("cannot be read");
    let second = logged(&home, &["--grep", "second"], 1)[0]["id"].to_string();
    let said = tampered(&home, "UPDATE ENTRY SET message = 'forged' WHERE message = 'second'").code(1);
    assert!(said.out.contains(&second) && said.out.contains("altered"), "{}", said.out);
    let said = tampered(&home, "UPDATE ENTRY SET message = 'second' WHERE message = 'forged'").code(0);
    assert!(said.out.contains("none altered"), "{}", said.out);
    let said = tampered(&home, "DELETE FROM ENTRY WHERE message = 'second'").code(1);
    assert!(said.out.contains(&second) && said.out.contains("removed"), "{}", said.out);
}

#[test]
fn lines_are_explained_without_a_helmd() {
    let home = Home::new(&json!({}));
    home.write("some.log", "2026-01-02 03:04:05,678 - core - ERROR - it broke\nTraceback (most recent call last):\n  File \"x\"\nValueError: no\n");
    let file = home.path("some.log");
    let said = home.ctl(&["logs", "explain", file.to_str().unwrap()]).code(0);
    assert!(said.out.starts_with("lines 1 to 4, one entry: read as "), "{}", said.out);
    home.ctl(&["logs", "explain", file.to_str().unwrap(), "--rule", "jsn"]).code(2);
    // Explained as they come: the writer is still there.
    let mut child =
        home.helmctl(&["logs", "explain", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"{\"message\":\"one\",\"level\":\"info\"}\n").unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("line 1: read as json"), "{said}");
    drop(input);
    child.wait().unwrap();
    home.ctl(&["logs", "explain", "/no/such/file"]).code(1).says("cannot be read");
}

#[test]
fn a_follower_is_given_its_place_at_once_and_a_gap_can_be_fetched() {
    let home = idle();
    block_on(async {
        let logs = logs(&home).await;
        let next = |stream: helm_client::stream::Stream<helm_proto::v1::FollowLogsResponse>| async move {
            let mut stream = stream;
            let message = tokio::time::timeout(Duration::from_secs(30), stream.next()).await;
            (message.expect("told in time").expect("a message").unwrap(), stream)
        };
        let (first, stream) = next(logs.follow(FollowLogsRequest::default()).await.unwrap()).await;
        assert!(first.entries.is_empty() && !first.cursor.is_empty());
        append(&home, batch("late", &["a", "b"])).await.unwrap();
        let (came, _stream) = next(stream).await;
        assert_eq!(came.entries.len(), 2);
        let between = FollowLogsRequest { cursor: first.cursor, until: came.cursor, ..Default::default() };
        let mut fetched = logs.follow(between).await.unwrap();
        let mut messages = Vec::new();
        while let Some(piece) = fetched.next().await {
            messages.extend(piece.unwrap().entries.into_iter().map(|e| e.message));
        }
        assert_eq!(messages, ["a", "b"]);
    });
}
