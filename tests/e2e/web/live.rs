//! Streams: what they tell, to whom, from where on, and how they end.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::site::Site;
use harness::wait::eventually;
use serde_json::{Value, json};

use super::{send, site};

/// A stream that is read line by line.
pub(super) struct Listening(BufReader<TcpStream>);

/// One event of it.
#[derive(Debug)]
pub(super) struct Event {
    id: String,
    pub(super) kind: String,
    pub(super) data: Value,
}

/// Longer than a heartbeat.
const WITHIN: Duration = Duration::from_secs(30);

impl Listening {
    pub(super) fn to(site: &Site, query: &str, token: &str, last: &str) -> Self {
        let mut stream = TcpStream::connect(site.address()).expect("helm-web listens");
        stream.set_read_timeout(Some(WITHIN)).expect("a socket");
        let last = if last.is_empty() { String::new() } else { format!("Last-Event-ID: {last}\r\n") };
        let head = format!(
            "GET /api/v1/stream?{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{last}\r\n",
            site.address()
        );
        stream.write_all(head.as_bytes()).expect("helm-web reads");
        let mut reading = Self(BufReader::new(stream));
        let status = reading.line();
        assert!(status.starts_with("HTTP/1.1 200"), "{status}");
        reading
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.0.read_line(&mut line).expect("the stream goes on");
        assert!(length > 0, "the stream has ended");
        line.trim_end().to_owned()
    }

    /// The next event; heads, sizes of chunks and heartbeats are passed over.
    fn next(&mut self) -> Event {
        let (mut id, mut kind) = (String::new(), String::new());
        loop {
            let line = self.line();
            if let Some(it) = line.strip_prefix("id: ") {
                id = it.to_owned();
            } else if let Some(it) = line.strip_prefix("event: ") {
                kind = it.to_owned();
            } else if let Some(it) = line.strip_prefix("data: ") {
                return Event { id, kind, data: serde_json::from_str(it).expect("JSON") };
            }
        }
    }

    pub(super) fn until(&mut self, holds: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next();
            if holds(&event) {
                return event;
            }
        }
    }

    /// Messages of the log, in order, until this one.
    fn messages_until(&mut self, last: &str) -> (Vec<String>, String) {
        let mut messages = Vec::new();
        loop {
            let event = self.until(|event| event.kind == "logs");
            for entry in event.data.as_array().into_iter().flatten() {
                messages.push(entry["message"].as_str().unwrap_or_default().to_owned());
            }
            if messages.iter().any(|message| message == last) {
                return (messages, event.id);
            }
        }
    }
}

fn entries(range: std::ops::Range<u32>) -> Value {
    range.map(|n| json!({"message": format!("n{n}")})).collect()
}

#[test]
fn a_stream_goes_on_behind_its_cursor_without_loss_or_doubling() {
    let site = site();
    let admin = site.user("admin");
    send(&site, "a", &entries(0..1));
    let mut first = Listening::to(&site, "topics=logs&services=a", &admin, "");
    first.until(|event| event.kind == "begin");
    send(&site, "a", &entries(1..4));
    let (messages, cursor) = first.messages_until("n3");
    assert_eq!(messages, ["n1", "n2", "n3"]);
    drop(first);
    send(&site, "a", &entries(4..8));
    let mut second = Listening::to(&site, "topics=logs&services=a", &admin, &cursor);
    let (missed, _) = second.messages_until("n7");
    assert_eq!(missed, ["n4", "n5", "n6", "n7"]);
    second.until(|event| event.kind == "begin");
    send(&site, "a", &entries(8..10));
    let (then, _) = second.messages_until("n9");
    assert_eq!(then, ["n8", "n9"]);
}

#[test]
fn states_and_events_are_told_as_they_happen() {
    let site = site();
    let admin = site.user("admin");
    let mut stream = Listening::to(&site, "topics=status,events", &admin, "");
    let picture = stream.until(|event| event.kind == "services");
    assert_eq!(picture.data.as_array().map(Vec::len), Some(3), "{picture:?}");
    stream.until(|event| event.kind == "begin");
    site.home.ctl(&["start", "a", "--no-wait"]).code(0);
    let running = |event: &Event| event.kind == "status" && event.data["state"] == "running";
    assert_eq!(stream.until(running).data["service_name"], "a");
    let mut again = Listening::to(&site, "topics=events&services=a", &admin, "0!");
    again.until(|event| event.kind == "begin");
    site.home.ctl(&["stop", "a"]).code(0);
    let stopped = |event: &Event| event.kind == "event" && event.data["to"] == "stopped";
    assert_eq!(again.until(stopped).data["service"], "a");
}

#[test]
fn a_role_hears_what_it_may_and_nothing_else() {
    let site = site();
    // A client may know names and states of `a`, and reads no log.
    let client = site.user("client");
    let mut stream = Listening::to(&site, "topics=status,logs", &client, "");
    let picture = stream.until(|event| event.kind == "services").data;
    assert_eq!(picture, json!([{"service_name": "a", "state": "stopped", "status": "stopped"}]));
    stream.until(|event| event.kind == "begin");
    send(&site, "a", &entries(0..2));
    site.home.ctl(&["start", "a", "--no-wait"]).code(0);
    let next = stream.next();
    assert_eq!((next.kind.as_str(), next.data["service_name"].as_str()), ("status", Some("a")));
    assert!(next.data.get("pid").is_none(), "{next:?}");
}

#[test]
fn the_ninth_stream_of_a_user_is_told_why_and_a_closed_one_makes_room() {
    let site = site();
    let admin = site.user("admin");
    let mut open: Vec<Listening> = (0..8).map(|_| Listening::to(&site, "", &admin, "")).collect();
    let detail = site.get("/api/v1/stream", &admin).problem(429);
    assert!(detail.contains("8 streams"), "{detail}");
    Listening::to(&site, "", &site.user("technician"), "");
    open.pop();
    eventually("the closed stream makes room", || {
        let mut stream = TcpStream::connect(site.address()).map_err(|e| e.to_string())?;
        let head = format!(
            "GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {admin}\r\n\r\n",
            site.address()
        );
        stream.write_all(head.as_bytes()).map_err(|e| e.to_string())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).map_err(|e| e.to_string())?;
        if line.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(line) }
    });
}

#[test]
fn a_stream_ends_when_its_session_does() {
    let site = site();
    let admin = site.user("admin");
    let mut stream = Listening::to(&site, "", &admin, "");
    stream.until(|event| event.kind == "begin");
    site.revoke(&admin);
    let end = stream.until(|event| event.kind == "end");
    assert!(end.data["why"].as_str().is_some_and(|why| why.contains("ended")), "{end:?}");
}

#[test]
fn a_stream_outlives_helmd() {
    let site = site();
    let admin = site.user("admin");
    send(&site, "a", &entries(0..1));
    let mut stream = Listening::to(&site, "topics=logs,status&services=a", &admin, "");
    stream.until(|event| event.kind == "begin");
    site.home.ctl(&["daemon", "stop"]).code(0);
    stream.until(|event| event.kind == "helmd" && event.data["away"] == true);
    site.home.ctl(&["daemon", "start"]).code(0);
    stream.until(|event| event.kind == "helmd" && event.data["away"] == false);
    send(&site, "a", &entries(1..3));
    assert_eq!(stream.messages_until("n2").0, ["n1", "n2"]);
}

#[test]
fn of_several_services_those_that_may_be_heard_are_told_and_the_others_named() {
    let site = site();
    let billing = site.user("billing");
    send(&site, "a", &entries(0..1));
    let mut first = Listening::to(&site, "topics=logs&services=a,b", &billing, "");
    let refused = first.until(|event| event.kind == "refused").data;
    assert_eq!(refused["services"], json!(["b"]), "{refused}");
    first.until(|event| event.kind == "begin");
    send(&site, "a", &entries(1..2));
    let (_, cursor) = first.messages_until("n1");
    drop(first);
    send(&site, "b", &entries(2..3));
    send(&site, "a", &entries(3..5));
    let mut second = Listening::to(&site, "topics=logs&services=a,b,nobody", &billing, &cursor);
    let mut told = Vec::new();
    let begin = loop {
        let event = second.next();
        match event.kind.as_str() {
            "logs" => {
                assert!(!event.id.is_empty(), "what lies in the past has its place, too: {event:?}");
                told.extend(event.data.as_array().unwrap().iter().map(|line| line["message"].clone()));
            }
            "begin" => break event,
            "gap" => panic!("{event:?}"),
            _ => {}
        }
    };
    assert!(!begin.id.is_empty());
    assert_eq!(told, [json!("n3"), json!("n4")]);
}

/// A stream whose client takes nothing of it, of all log entries.
fn deaf(site: &Site, token: &str, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(site.address()).expect("helm-web listens");
    let head = format!(
        "GET /api/v1/stream?{query} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        site.address()
    );
    stream.write_all(head.as_bytes()).expect("helm-web reads");
    stream
}

/// More than the kernel holds for a reader that takes nothing, and helm-web beside.
fn fill(site: &Site, batches: u32) {
    let text = "x".repeat(8000);
    for batch in 0..batches {
        let entries: Value = (0..400).map(|n| json!({"message": format!("{batch}.{n} {text}")})).collect();
        send(site, "a", &entries);
    }
}

#[test]
fn a_stream_whose_client_takes_nothing_ends_with_its_session_and_never_stalls_the_others() {
    let site = site();
    let admin = site.user("admin");
    send(&site, "a", &entries(0..1));
    let mut quick = Listening::to(&site, "topics=logs&services=a", &site.user("technician"), "");
    let (_, cursor) = {
        let mut first = Listening::to(&site, "topics=logs&services=a", &admin, "");
        first.until(|event| event.kind == "begin");
        send(&site, "a", &entries(1..2));
        first.messages_until("n1")
    };
    quick.messages_until("n1");
    fill(&site, 8);
    // In the past, and told what happens: neither takes anything.
    let past = deaf(&site, &admin, &format!("topics=logs&cursor={cursor}"));
    let now = deaf(&site, &admin, "topics=logs");
    fill(&site, 8);
    send(&site, "a", &entries(2..3));
    quick.messages_until("n2");
    site.revoke(&admin);
    for (what, mut stream) in [("past", past), ("now", now)] {
        // Nothing is read before the connection is cut: that is seen by a write.
        eventually(&format!("the stream ({what}) is cut"), || match stream.write_all(b"\r\n") {
            Err(_) => Ok(()),
            Ok(()) => Err("it is open".to_owned()),
        });
    }
    site.get("/health", "").status(200);
}

#[test]
fn a_client_that_was_too_slow_is_told_where_to_go_on_and_misses_nothing_then() {
    let site = site();
    let admin = site.user("admin");
    send(&site, "a", &entries(0..1));
    let mut slow = Listening::to(&site, "topics=logs&services=a", &admin, "");
    slow.until(|event| event.kind == "begin");
    // Far more than the 8 MiB that wait for all streams together.
    fill(&site, 16);
    let mut heard = Vec::new();
    let gap = loop {
        let event = slow.next();
        match event.kind.as_str() {
            "logs" => heard.extend(firsts(&event.data)),
            "gap" => break event.data,
            other => panic!("{other}"),
        }
    };
    assert_eq!(gap["topic"], "all", "{gap}");
    assert!(gap["missed"].as_u64().is_some_and(|missed| missed > 0), "{gap}");
    drop(slow);
    let back =
        |gap: &Value| Listening::to(&site, "topics=logs&services=a", &admin, gap["cursor"].as_str().unwrap());
    let mut again = back(&gap);
    while heard.len() < 16 * 400 {
        let event = again.next();
        match event.kind.as_str() {
            "logs" => heard.extend(firsts(&event.data)),
            // On a busy machine this one may be too slow as well.
            "gap" => again = back(&event.data),
            _ => {}
        }
    }
    let all: Vec<String> = (0..16).flat_map(|batch| (0..400).map(move |n| format!("{batch}.{n}"))).collect();
    assert!(heard == all, "in order, each once");
}

/// What the messages of [`fill`] begin with.
fn firsts(lines: &Value) -> Vec<String> {
    let messages = lines.as_array().into_iter().flatten().filter_map(|line| line["message"].as_str());
    messages.map(|text| text.split(' ').next().unwrap_or_default().to_owned()).collect()
}
