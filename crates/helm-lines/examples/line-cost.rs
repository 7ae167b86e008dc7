//! What a line costs: `cargo run --release -p helm-lines --example line-cost`.

use std::hint::black_box;
use std::time::Instant;

use helm_core::time::Wall;
use helm_lines::{Joiner, Line, Position, Rule, Span, sent};

const ROUNDS: u64 = 5_000;

/// The best of so many rounds: the machine may be busy with other things.
const TRIES: u32 = 40;

/// Nanoseconds of one call.
#[expect(clippy::disallowed_methods, reason = "an example that measures")]
fn best(mut call: impl FnMut(u64)) -> u64 {
    let once = |_| {
        let start = Instant::now();
        (0..ROUNDS).for_each(&mut call);
        u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX) / ROUNDS
    };
    (0..TRIES).map(once).min().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "an example that measures")]
fn main() {
    let service = r#"{"timestamp": "2026-11-23T09:04:00.424977Z", "level": "INFO", "logger": "app", "message": "ticket 4711 assigned", "module": "routes", "function": "assign", "line": 212, "correlation_id": "0d5a1f6e-6f5e-4c7e-9d6c-0f6f0a1b2c3d", "user_id": "a1b2c3d4", "username": "ada"}"#;
    let lines = [
        ("plain", "listening on http://127.0.0.1:5004, press ctrl-c to stop the server"),
        ("json, of a service", service),
        (
            "json, of pino",
            r#"{"level":30,"time":1795424640424,"pid":1,"hostname":"h","reqId":"r-1","msg":"request completed"}"#,
        ),
        (
            "logfmt",
            r#"time="2026-11-23T09:04:00Z" level=info msg="request completed" status=200 path=/health"#,
        ),
        ("python", "2026-11-23 09:04:00,424 - app.views - WARNING - disk nearly full"),
        (
            "quarkus",
            "2026-11-23 09:04:00,424 INFO  [io.quarkus] (main) Keycloak 26.0 on JVM started in 4.2s.",
        ),
        (
            "werkzeug, coloured",
            "127.0.0.1 - - [23/Nov/2026 09:04:00] \"\u{1b}[33mGET /nothing HTTP/1.1\u{1b}[0m\" 404 -",
        ),
        ("java frame", "\tat com.example.Web.start(Web.java:12)"),
    ];
    for (name, text) in lines {
        let mut joiner = Joiner::new(Rule::Auto, 0);
        let mut out = Vec::new();
        let cost = best(|n| {
            let span = Span { first: Position(0, n), last: Position(0, n + 1) };
            let line = Line {
                at: Wall(1_795_424_700_000_000_000),
                stream: 0,
                full: true,
                text: text.as_bytes(),
                span,
            };
            joiner.push(black_box(line), &mut out);
            if out.len() > 100 {
                black_box(&mut out).clear();
            }
        });
        println!("{name:<20} {cost:>6} ns a line");
    }
    let entry = r#"{"level":"INFO","message":"GET /health 200","timestamp":"2026-11-23T09:04:00.424977","context":{"path":"/health","method":"GET"},"trace_id":null,"user_id":"a1b2c3d4"}"#;
    let cost = best(|_| {
        let judged = sent::Sent::from_json(black_box(entry))
            .map(|sent| sent::repair(sent, Wall(1_795_424_700_000_000_000)));
        black_box(judged.is_ok());
    });
    println!("{:<20} {cost:>6} ns an entry", "sent");
}
