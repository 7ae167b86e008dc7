//! helm-core's types as messages.

use helm_core::event::Change;
use helm_core::spec::{Fault, Severity};
use helm_core::status::{Holder, ServiceStatus};
use helm_core::time::{Mono, Wall};
use helm_core::wish::Mode;
use prost_types::Timestamp;

use crate::v1;

/// A status as of `now` (countdowns become milliseconds from there).
pub fn service_status(s: &ServiceStatus, now: Mono) -> v1::ServiceStatus {
    let countdown = |at: Mono| u64::try_from(at.since(now).as_millis()).unwrap_or(u64::MAX);
    v1::ServiceStatus {
        name: s.name.to_string(),
        state: s.state.as_str().to_owned(),
        status: s.state.seed_word().to_owned(),
        reason: s.reason.clone(),
        wanted: s.wanted,
        mode: s.mode.as_str().to_owned(),
        run: s.run.map(|run| run.to_string()).unwrap_or_default(),
        pid: s.pid,
        port: s.port.map(u32::from),
        url: s.url.clone(),
        health: s.health.as_str().to_owned(),
        health_message: s.health_message.clone(),
        health_latency_us: s.health_latency_us,
        ready: s.ready,
        completed: s.completed,
        started_at: s.started_at.map(timestamp),
        since: Some(timestamp(s.since)),
        restarts: s.restarts,
        last_exit: s.last_exit.map(|exit| exit.to_string()),
        next_start_ms: s.next_start.map(countdown),
        kill_in_ms: s.kill_at.map(countdown),
        limits: Vec::new(),
        waits_for: s.waits_for.iter().map(ToString::to_string).collect(),
        holder: s.holder.as_ref().map(holder),
        notify_status: s.notify_status.clone(),
        warnings: s.warnings.clone(),
        revision: s.revision,
        // What is measured and not decided is filled in by whoever knows it.
        cpu_percent: None,
        memory_bytes: None,
        uptime_seconds: None,
    }
}

fn holder(h: &Holder) -> v1::Holder {
    v1::Holder { pid: h.pid, command: h.command.clone(), uid: h.uid }
}

/// An event with its number.
pub fn event_record(id: u64, change: &Change) -> v1::EventRecord {
    v1::EventRecord {
        id,
        at: Some(timestamp(change.at)),
        service: change.service.to_string(),
        kind: change.kind.as_str().to_owned(),
        from: change.from.clone(),
        to: change.to.clone(),
        cause: change.cause.clone(),
        run: change.run.map(|run| run.to_string()).unwrap_or_default(),
        pid: change.pid,
        exit: change.exit.map(|exit| exit.to_string()),
        missed: 0,
        incomplete: String::new(),
    }
}

/// Wall time as protobuf has it.
pub fn timestamp(wall: Wall) -> Timestamp {
    // The remainder of a division by a thousand million fits.
    let nanos = i32::try_from(wall.0.rem_euclid(1_000_000_000)).unwrap_or(0);
    Timestamp { seconds: wall.0.div_euclid(1_000_000_000), nanos }
}

/// Nanoseconds since 1970; a time too far off to be one is the farthest.
pub fn nanos(at: &Timestamp) -> i64 {
    at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos))
}

/// A mode as requests carry it; empty: not said.
pub fn mode(text: &str) -> Result<Option<Mode>, String> {
    match text {
        "" => Ok(None),
        "development" => Ok(Some(Mode::Development)),
        "production" => Ok(Some(Mode::Production)),
        _ => Err(format!("`{text}` is no mode: use development or production")),
    }
}

/// A fault of the configuration.
pub fn fault(fault: &Fault) -> v1::Fault {
    let severity = match fault.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    v1::Fault {
        file: fault.file.clone(),
        line: fault.line,
        column: fault.column,
        field: fault.field.clone(),
        severity: severity.to_owned(),
        message: fault.message.clone(),
        hint: fault.hint.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use helm_core::event::ChangeKind;
    use helm_core::exit::Exit;
    use helm_core::name::ServiceName;
    use helm_core::status::{Health, RunId, State};

    use super::*;

    #[test]
    fn times_before_the_epoch_have_positive_nanoseconds() {
        assert_eq!(timestamp(Wall(-1)), Timestamp { seconds: -1, nanos: 999_999_999 });
        assert_eq!(timestamp(Wall(1_500_000_000)), Timestamp { seconds: 1, nanos: 500_000_000 });
    }

    fn name(text: &str) -> ServiceName {
        ServiceName::new(text).unwrap()
    }

    #[test]
    fn a_status_goes_over_whole() {
        let status = ServiceStatus {
            name: name("nexus"),
            state: State::Backoff,
            reason: "exited with code 7".into(),
            wanted: true,
            mode: Mode::Production,
            run: Some(RunId(255)),
            pid: Some(4711),
            port: Some(5000),
            url: Some("http://localhost:5000".into()),
            health: Health::Degraded,
            health_message: "HTTP 503".into(),
            health_latency_us: Some(1500),
            ready: true,
            completed: true,
            started_at: Some(Wall(1_000_000_000)),
            since: Wall(2_000_000_001),
            restarts: 3,
            last_exit: Some(Exit::Code(7)),
            next_start: Some(Mono(Duration::from_secs(5))),
            kill_at: Some(Mono(Duration::from_secs(7))),
            waits_for: vec![name("core")],
            stuck: None,
            holder: Some(Holder { pid: Some(9), command: Some("python3".into()), uid: Some(0) }),
            notify_status: Some("warm".into()),
            warnings: vec!["old".into()],
            revision: 12,
        };
        let holder = v1::Holder { pid: Some(9), command: Some("python3".into()), uid: Some(0) };
        let sent = service_status(&status, Mono(Duration::from_millis(3500)));
        let expected = v1::ServiceStatus {
            name: "nexus".into(),
            state: "backoff".into(),
            status: "error".into(),
            reason: "exited with code 7".into(),
            wanted: true,
            mode: "production".into(),
            run: RunId(255).to_string(),
            pid: Some(4711),
            port: Some(5000),
            url: Some("http://localhost:5000".into()),
            health: "degraded".into(),
            health_message: "HTTP 503".into(),
            health_latency_us: Some(1500),
            ready: true,
            completed: true,
            started_at: Some(Timestamp { seconds: 1, nanos: 0 }),
            since: Some(Timestamp { seconds: 2, nanos: 1 }),
            restarts: 3,
            last_exit: Some("code 7".into()),
            next_start_ms: Some(1500),
            kill_in_ms: Some(3500),
            waits_for: vec!["core".into()],
            holder: Some(holder),
            notify_status: Some("warm".into()),
            warnings: vec!["old".into()],
            revision: 12,
            ..v1::ServiceStatus::default()
        };
        assert_eq!(sent, expected);
        // A countdown that is over is none below zero.
        assert_eq!(service_status(&status, Mono(Duration::from_secs(9))).next_start_ms, Some(0));
    }

    #[test]
    fn an_event_goes_over_whole_with_the_word_of_its_kind() {
        let of = |kind| Change {
            at: Wall(1_000_000_000),
            service: name("core"),
            kind,
            from: "running".into(),
            to: "failed".into(),
            cause: "exited".into(),
            run: Some(RunId(1)),
            pid: Some(7),
            exit: Some(Exit::Signal(9)),
        };
        let sent = event_record(41, &of(ChangeKind::Exit));
        let expected = v1::EventRecord {
            id: 41,
            at: Some(Timestamp { seconds: 1, nanos: 0 }),
            service: "core".into(),
            kind: "exit".into(),
            from: "running".into(),
            to: "failed".into(),
            cause: "exited".into(),
            run: RunId(1).to_string(),
            pid: Some(7),
            exit: Some("signal 9 (SIGKILL)".into()),
            ..v1::EventRecord::default()
        };
        assert_eq!(sent, expected);
        let kinds = [ChangeKind::State, ChangeKind::Health, ChangeKind::Wish, ChangeKind::Warning];
        assert_eq!(kinds.map(|k| event_record(1, &of(k)).kind), ["state", "health", "wish", "warning"]);
    }

    #[test]
    fn modes_are_two_words_or_nothing() {
        assert_eq!(mode(""), Ok(None));
        assert_eq!(mode("production"), Ok(Some(Mode::Production)));
        assert!(mode("prod").is_err_and(|why| why.contains("development or production")));
    }
}
