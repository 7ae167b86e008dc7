//! Status for people: one line a service, a second one where something needs words.

use std::fmt::Write;

use anstyle::Style;
use helm_proto::v1::{Holder, ServiceStatus};

use super::{BAD, GOOD, HEAD, QUIET, WARN, cut, metrics, safe, styled, time};

/// Columns of a row beside the name, with the gaps; and those of restarts and uptime, where there is room for them.
const BESIDE_NAME: usize = 66;
const MORE: usize = 19;
/// From here on there is.
const WIDE: usize = 100;
/// A name is never cut below this, even where the row is then too long.
const NARROWEST_NAME: usize = 12;

/// The style of a state.
pub(crate) fn state_style(state: &str) -> Style {
    match state {
        "running" | "external" => GOOD,
        "starting" | "stopping" | "blocked" | "backoff" => WARN,
        "failed" | "not_installed" => BAD,
        _ => QUIET,
    }
}

fn health_style(health: &str) -> Style {
    match health {
        "healthy" => GOOD,
        "degraded" | "starting" => WARN,
        "unhealthy" | "unreachable" => BAD,
        _ => QUIET,
    }
}

/// The whole table, at most `width` columns wide.
pub(crate) fn table(services: &[ServiceStatus], hold: bool, width: usize) -> String {
    let wide = width >= WIDE;
    let beside = if wide { BESIDE_NAME + MORE } else { BESIDE_NAME };
    let room = width.saturating_sub(beside).max(NARROWEST_NAME);
    let name_width = services.iter().map(|s| s.name.len()).max().unwrap_or(0).clamp(4, room);
    let mut text = String::new();
    if hold {
        let words = "The fleet is held down: nothing is started. `helmctl up` lifts the hold.";
        let _ = writeln!(text, "{}", styled(WARN, words));
    }
    let mut head = format!(
        "{:name_width$}  {:13}  {:11}  {:>7}  {:>5}  {:>5}  {:>5}  {:>6}",
        "NAME", "STATE", "HEALTH", "PID", "PORT", "SINCE", "CPU", "MEMORY"
    );
    if wide {
        let _ = write!(head, "  {:>7}  {:>8}", "UPTIME", "RESTARTS");
    }
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for service in services {
        let _ = writeln!(text, "{}", row(service, name_width, wide));
        for words in remarks(service, wide) {
            let line = format!("  {}", cut(&safe(&words), width.saturating_sub(2)));
            let _ = writeln!(text, "{}", styled(QUIET, &line));
        }
    }
    if services.is_empty() {
        text.push_str("No services are configured: add them to services.json (docs/services.md).\n");
    }
    text
}

fn row(s: &ServiceStatus, name_width: usize, wide: bool) -> String {
    let or_dash = |n: Option<u32>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let health = if s.health == "unknown" { "-" } else { s.health.as_str() };
    let amount =
        |value: Option<f64>, unit| value.map_or_else(|| "-".to_owned(), |v| metrics::amount(v, unit));
    #[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
    let memory = s.memory_bytes.map(|bytes| bytes as f64);
    let mut row = format!(
        "{:name_width$}  {}  {}  {:>7}  {:>5}  {:>5}  {:>5}  {:>6}",
        cut(&s.name, name_width),
        styled(state_style(&s.state), &format!("{:13}", s.state)),
        styled(health_style(&s.health), &format!("{health:11}")),
        or_dash(s.pid.or(s.holder.as_ref().and_then(|h| h.pid))),
        or_dash(s.port),
        time::ago(s.since.as_ref()),
        amount(s.cpu_percent, "percent"),
        amount(memory, "bytes"),
    );
    if wide {
        let uptime = s.uptime_seconds.map_or_else(|| "-".to_owned(), time::span);
        let _ = write!(row, "  {uptime:>7}  {:>8}", s.restarts);
    }
    row
}

/// What the row does not say: why, by whom, what is wrong.
fn remarks(s: &ServiceStatus, wide: bool) -> Vec<String> {
    let mut words = Vec::new();
    let plain = matches!((s.state.as_str(), s.wanted), ("running", _) | ("stopped", false));
    if !plain && !s.reason.is_empty() {
        words.push(s.reason.clone());
    }
    if let Some(ms) = s.next_start_ms.filter(|_| s.state == "backoff") {
        words.push(format!(
            "next start in {}; at once: helmctl start {}",
            time::span(ms.div_ceil(1000)),
            s.name
        ));
    }
    // The reason of an external service names its holder.
    let named = |holder: &&Holder| holder.pid.is_some_and(|pid| s.reason.contains(&format!("pid {pid} ")));
    if let Some(holder) = s.holder.as_ref().filter(|holder| plain || !named(holder)) {
        words.push(format!("not started by Helm: {}", holder_words(holder)));
    }
    if matches!(s.health.as_str(), "degraded" | "unhealthy" | "unreachable") {
        words.push(s.health_message.clone());
    }
    if s.restarts > 0 && !wide {
        words.push(format!(
            "restarted {} time{} after unexpected ends",
            s.restarts,
            if s.restarts == 1 { "" } else { "s" }
        ));
    }
    words.extend(s.notify_status.iter().filter(|t| !t.is_empty()).map(|t| format!("says: {t}")));
    words.extend(s.warnings.iter().cloned());
    words
}

fn holder_words(holder: &Holder) -> String {
    let mut parts = Vec::new();
    parts.extend(holder.pid.map(|pid| format!("pid {pid}")));
    parts.extend(holder.command.as_ref().map(|c| format!("`{}`", cut(c, 50))));
    if holder.pid.is_none() {
        parts.extend(holder.uid.map(|uid| format!("a process of uid {uid}")));
    }
    if parts.is_empty() { "its holder cannot be seen".into() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, state: &str) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: state.into(),
            health: "unknown".into(),
            ..Default::default()
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_table_of_every_kind() {
        let running = ServiceStatus {
            pid: Some(4711),
            port: Some(5000),
            health: "healthy".into(),
            cpu_percent: Some(12.34),
            memory_bytes: Some(512 << 20),
            uptime_seconds: Some(7_200),
            ..service("core", "running")
        };
        let waiting = ServiceStatus {
            reason: "waits for core (starting)".into(),
            wanted: true,
            ..service("nexus", "blocked")
        };
        let again = ServiceStatus {
            reason: "exited with code 7 after 3 s".into(),
            next_start_ms: Some(2_500),
            wanted: true,
            restarts: 3,
            ..service("codex", "backoff")
        };
        let foreign = ServiceStatus {
            holder: Some(Holder { pid: Some(99), command: Some("python3 run.py".into()), uid: Some(0) }),
            reason: "port 5030 is held by somebody else".into(),
            ..service("ledger", "external")
        };
        let sick = ServiceStatus {
            health: "degraded".into(),
            health_message: "HTTP 503 from /health: status degraded".into(),
            warnings: vec!["bad\u{1b}[31m".into()],
            ..service("beacon", "running")
        };
        insta::assert_snapshot!(plain(&table(
            &[running, waiting, again, foreign, sick, service("idle", "stopped")],
            true,
            80
        )));
    }

    #[test]
    fn a_holder_is_named_once() {
        let holder = Some(Holder { pid: Some(99), command: Some("python3 run.py".into()), uid: Some(0) });
        let reason = "pid 99 (python3 run.py) holds port 5030 and was not started by Helm".into();
        let text =
            plain(&table(&[ServiceStatus { holder, reason, ..service("ledger", "external") }], false, 120));
        assert_eq!(text.matches("run.py").count(), 1, "{text}");
    }

    #[test]
    fn words_of_a_later_helmd_are_shown_as_they_are() {
        let later = ServiceStatus { health: "radiant".into(), ..service("core", "hibernating") };
        let text = plain(&table(&[later], false, 80));
        assert!(text.contains("hibernating") && text.contains("radiant"), "{text}");
    }

    #[test]
    fn nothing_configured_says_what_to_do() {
        assert!(table(&[], false, 80).contains("services.json"));
    }

    #[test]
    fn rows_fit_eighty_columns() {
        let long = ServiceStatus { reason: "x".repeat(300), ..service(&"n".repeat(50), "not_installed") };
        let long = ServiceStatus {
            pid: Some(4_194_304),
            port: Some(65_535),
            cpu_percent: Some(1_600.0),
            memory_bytes: Some(999 << 30),
            uptime_seconds: Some(86_400_000),
            ..long
        };
        for width in [80, 100, 160] {
            for line in plain(&table(std::slice::from_ref(&long), false, width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        assert!(plain(&table(&[long], false, 100)).contains("1000d"));
    }
}
