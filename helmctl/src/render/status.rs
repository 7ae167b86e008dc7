//! Status for people: one line a service, a second one where something needs words.

use std::fmt::Write;

use anstyle::Style;
use helm_proto::v1::{Holder, ServiceStatus};

use super::{BAD, GOOD, HEAD, QUIET, Sheet, WARN, cut, metrics, safe, styled, time};

/// Columns of a row beside the name, with the gaps; and those of restarts and uptime, where there is room for them.
const BESIDE_NAME: usize = 66;
const MORE: usize = 19;
/// From here on there is.
const WIDE: usize = 100;
/// A name is never cut below this, even where the row is then too long.
const NARROWEST_NAME: usize = 12;

/// Said above the table.
pub(crate) const HELD: &str = "The fleet is held down: nothing is started. `helmctl up` lifts the hold.";

/// Said above a table that nobody refreshes, after these seconds.
pub(crate) fn away(seconds: u64) -> String {
    let waited = time::span(seconds);
    format!("helmd is not reachable; waiting ({waited}). Services go on; this is how they were.")
}

/// The style of a state.
pub(crate) fn state_style(state: &str) -> Style {
    match state {
        "running" | "external" => GOOD,
        "starting" | "stopping" | "blocked" | "backoff" => WARN,
        "failed" | "not_installed" => BAD,
        _ => QUIET,
    }
}

/// The style of a health.
pub(crate) fn health_style(health: &str) -> Style {
    match health {
        "healthy" => GOOD,
        "degraded" | "starting" => WARN,
        "unhealthy" | "unreachable" => BAD,
        _ => QUIET,
    }
}

/// The whole table.
pub(crate) fn table(services: &[ServiceStatus], hold: bool, sheet: impl Into<Sheet>) -> String {
    lines(services, hold, sheet, usize::MAX).into_iter().map(|line| line + "\n").collect()
}

/// The table in at most `room` lines. Where there are more services than that, those that somebody must look at stay;
/// the last line counts the others.
pub(crate) fn lines(
    services: &[ServiceStatus],
    hold: bool,
    sheet: impl Into<Sheet>,
    room: usize,
) -> Vec<String> {
    let sheet = sheet.into();
    let width = sheet.width;
    let wide = width >= WIDE;
    let beside = if wide { BESIDE_NAME + MORE } else { BESIDE_NAME };
    let longest = width.saturating_sub(beside).max(NARROWEST_NAME);
    let name_width = sheet.column(services.iter().map(|s| s.name.len()).max().unwrap_or(0).max(4), longest);
    let mut lines = Vec::new();
    if hold {
        lines.push(styled(WARN, HELD));
    }
    let mut head = format!(
        "{:name_width$}  {:13}  {:11}  {:>7}  {:>5}  {:>5}  {:>5}  {:>6}",
        "NAME", "STATE", "HEALTH", "PID", "PORT", "SINCE", "CPU", "MEMORY"
    );
    if wide {
        let _ = write!(head, "  {:>7}  {:>8}", "UPTIME", "RESTARTS");
    }
    lines.push(styled(HEAD, &head));
    let rows = services.iter().map(|service| {
        let remarks = remarks(service, wide).into_iter().map(|words| {
            let line = format!("  {}", sheet.fit(&safe(&words), width.saturating_sub(2)));
            styled(QUIET, &line)
        });
        std::iter::once(row(service, name_width, wide)).chain(remarks).collect()
    });
    let room = room.saturating_sub(lines.len());
    lines.extend(fitting(services, rows.collect(), room, width));
    if services.is_empty() {
        lines.push("No services are configured: add them to services.json (docs/services.md).".into());
    }
    lines
}

/// How much a service is in need of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Broken,
    Look,
    Calm,
}

/// Of one service.
pub(crate) fn need(s: &ServiceStatus) -> Need {
    match (s.state.as_str(), s.health.as_str()) {
        ("failed" | "backoff", _) | (_, "unhealthy" | "unreachable") => Need::Broken,
        ("running", "healthy" | "starting" | "unknown") | ("stopped", _) if s.warnings.is_empty() => {
            Need::Calm
        }
        _ => Need::Look,
    }
}

/// The rows, each with its remarks, in the order of the services. Where they do not fit, the neediest keep their lines.
fn fitting(services: &[ServiceStatus], rows: Vec<Vec<String>>, room: usize, width: usize) -> Vec<String> {
    if rows.iter().map(Vec::len).sum::<usize>() <= room {
        return rows.into_iter().flatten().collect();
    }
    let mut by_need: Vec<usize> = (0..rows.len()).collect();
    by_need.sort_by_key(|&i| services.get(i).map(need));
    // The last line says what is not there. Of the last service that fits some remarks may not.
    let mut left = room.saturating_sub(1);
    let mut shown = vec![0; rows.len()];
    for i in by_need {
        shown[i] = rows[i].len().min(left);
        left -= shown[i];
    }
    let hidden: Vec<&ServiceStatus> =
        services.iter().zip(&shown).filter(|(_, lines)| **lines == 0).map(|(service, _)| service).collect();
    let kept = rows.into_iter().zip(shown).flat_map(|(row, lines)| row.into_iter().take(lines));
    kept.chain(Some(&hidden).filter(|hidden| !hidden.is_empty()).map(|hidden| more(hidden, width))).collect()
}

/// `… 12 more: 11 running, 1 stopped`
fn more(hidden: &[&ServiceStatus], width: usize) -> String {
    let mut states: Vec<(&str, usize)> = Vec::new();
    for service in hidden {
        let word = word(service);
        match states.iter_mut().find(|(state, _)| *state == word) {
            Some((_, count)) => *count += 1,
            None => states.push((word, 1)),
        }
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let style = if hidden.iter().any(|s| need(s) == Need::Broken) { BAD } else { QUIET };
    let line = format!("… {} more: {}; the window is too low", hidden.len(), states.join(", "));
    styled(style, &cut(&safe(&line), width))
}

/// A one-shot that has done its work is another thing than a service that somebody stopped.
pub(crate) fn word(s: &ServiceStatus) -> &str {
    if s.completed && s.state == "stopped" { "completed" } else { &s.state }
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
        styled(state_style(&s.state), &format!("{:13}", word(s))),
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
    if (!plain || ended_ill(s)) && !s.reason.is_empty() {
        let kill = s.kill_in_ms.filter(|_| s.state == "stopping");
        let kill = kill.map(|ms| format!("; SIGKILL in {} s", ms.div_ceil(1000))).unwrap_or_default();
        words.push(format!("{}{kill}", s.reason));
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

/// It was stopped, and was not well before: what was wrong stays readable.
fn ended_ill(s: &ServiceStatus) -> bool {
    // What SIGTERM and SIGINT do to a program that does not catch them, or that says so as a shell does.
    let well = ["code 0", "code 130", "code 143", "signal 2 (SIGINT)", "signal 15 (SIGTERM)"];
    let exit = s.last_exit.as_deref().is_some_and(|exit| !well.contains(&exit));
    s.state == "stopped" && (exit || s.reason.contains("; before: "))
}

/// Who holds it.
pub(crate) fn holder_words(holder: &Holder) -> String {
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
    fn what_was_wrong_stays_readable_after_a_stop() {
        let gave_up = ServiceStatus {
            reason:
                "stopped by uid 0; before: exited with code 7 after 3 s; gave up after 5 failures in a row"
                    .into(),
            last_exit: Some("code 7".into()),
            ..service("web", "stopped")
        };
        let never_started = ServiceStatus {
            reason: "stopped by uid 0; before: could not be started: no such file".into(),
            ..service("db", "stopped")
        };
        let killed = ServiceStatus {
            reason: "stopped by uid 0; was ended by signal 9 (SIGKILL) after 3 s".into(),
            last_exit: Some("signal 9 (SIGKILL)".into()),
            ..service("slow", "stopped")
        };
        let task = ServiceStatus {
            completed: true,
            reason: "completed: exited with code 0 after 3 s".into(),
            last_exit: Some("code 0".into()),
            ..service("task", "stopped")
        };
        let well = ServiceStatus {
            reason: "stopped by uid 0; exited with code 0 after 3 s".into(),
            last_exit: Some("code 0".into()),
            ..service("core", "stopped")
        };
        insta::assert_snapshot!(plain(&table(&[gave_up, never_started, killed, task, well], false, 120)));
    }

    #[test]
    fn a_stop_says_when_it_becomes_a_kill() {
        let stopping = ServiceStatus {
            reason: "stopped by uid 1000 pid 4711 (helmctl); waits for it to end".into(),
            kill_in_ms: Some(6_200),
            ..service("core", "stopping")
        };
        let text = plain(&table(&[stopping], false, 80));
        assert!(text.contains("waits for it to end; SIGKILL in 7 s\n"), "{text}");
    }

    /// Twenty calm ones, with three in the middle and at the end that need somebody.
    fn fleet() -> Vec<ServiceStatus> {
        let mut all: Vec<ServiceStatus> = (0..20)
            .map(|i| ServiceStatus { health: "healthy".into(), ..service(&format!("web{i}"), "running") })
            .collect();
        let reason = "exited with code 7 after 3 s; gave up after 5 failures in a row".into();
        all[19] = ServiceStatus { reason, ..service("broken", "failed") };
        all[9].health = "degraded".into();
        all[9].health_message = "HTTP 503".into();
        all[15] = service("idle", "stopped");
        all
    }

    #[test]
    fn in_a_low_window_those_that_need_somebody_stay() {
        let text = |room| plain(&lines(&fleet(), false, 80, room).join("\n"));
        assert_eq!(text(23).lines().count(), 23, "all of it fits: a head, 20 rows, 2 remarks");
        assert!(!text(23).contains("more"));
        insta::assert_snapshot!(text(10));
        for room in 2..23 {
            let text = text(room);
            assert_eq!(text.lines().count(), room, "{text}");
            assert!(room < 3 || text.contains("broken") && text.contains(" more: "), "{room}: {text}");
        }
    }

    #[test]
    fn what_is_hidden_and_broken_is_loud() {
        let broken: Vec<ServiceStatus> = (0..9).map(|i| service(&format!("web{i}"), "failed")).collect();
        let shown = lines(&broken, false, 80, 5);
        assert!(plain(&shown[4]).starts_with("… 6 more: 6 failed; the window is too low"), "{shown:?}");
        assert!(shown[4].starts_with(&BAD.to_string()), "{shown:?}");
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

    #[test]
    fn a_pipe_cuts_nothing() {
        let name = "n".repeat(50);
        let reason = "waits for ".to_owned() + &"x".repeat(90);
        let long = ServiceStatus { reason: reason.clone(), wanted: true, ..service(&name, "blocked") };
        let pipe = Sheet { width: 80, whole: true };
        let text = plain(&table(std::slice::from_ref(&long), false, pipe));
        assert!(text.contains(&name) && text.contains(&reason), "{text}");
        assert!(!plain(&table(&[long], false, 80)).contains(&name));
    }
}
