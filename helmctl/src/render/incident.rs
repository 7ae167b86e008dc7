//! Incidents, and why a service is as it is, for people.

use std::fmt::Write;

use helm_proto::Timestamp;
use helm_proto::v1::{Incident, IncidentSample, IncidentTold, WhyResponse};

use super::{BAD, GOOD, HEAD, QUIET, Sheet, list, metrics, safe, styled, time, wrapped};

/// A longer cause or fact is broken into this many lines; the rest is in `incidents show`.
const CAUSE_LINES: usize = 3;
const FACT_LINES: usize = 2;
/// The label of lines that a service printed.
const LAST_WORDS: &str = "last words";

/// `why`
pub(crate) fn why(why: &WhyResponse, sheet: Sheet) -> String {
    let mut text = String::new();
    let when = why.at.as_ref().map_or(String::new(), |at| {
        let (at, ago) = (second(at), words_ago(at));
        if why.incident > 0 { format!(" {ago} ago ({at})") } else { format!(" (since {at}, {ago})") }
    });
    let style = if why.well { GOOD } else { BAD };
    let head = format!("{} {}{when}: {}", why.service, why.verdict, safe(&why.cause));
    for (i, line) in at_most(CAUSE_LINES, &head, 2, sheet).into_iter().enumerate() {
        let indent = if i == 0 { "" } else { "  " };
        let _ = writeln!(text, "{indent}{}", styled(style.bold(), &line));
    }
    let width = why.facts.iter().map(|fact| fact.label.chars().count()).max().unwrap_or(0);
    let mut former = "";
    for fact in &why.facts {
        let label = if fact.label == former { "" } else { fact.label.as_str() };
        former = &fact.label;
        let at = fact.at.as_ref().map_or(String::new(), |at| format!("{} ", second(at)));
        let behind = width + 4;
        // What was printed is not broken: its lines are lines.
        let most = if fact.label == LAST_WORDS { 1 } else { FACT_LINES };
        for (i, line) in at_most(most, &format!("{at}{}", safe(&fact.text)), behind, sheet).iter().enumerate()
        {
            let label = if i == 0 { label } else { "" };
            let _ = writeln!(text, "  {}  {line}", styled(QUIET, &format!("{label:width$}")));
        }
    }
    for (i, step) in why.next.iter().enumerate() {
        let label = if i == 0 { "Next:" } else { "" };
        for (j, line) in broken(&safe(step), 6, sheet).into_iter().enumerate() {
            let label = if j == 0 { label } else { "" };
            let _ = writeln!(text, "{} {line}", styled(HEAD, &format!("{label:5}")));
        }
    }
    if why.incident > 0 {
        let more = format!("All of it: helmctl incidents show {}", why.incident);
        let _ = writeln!(text, "{}", styled(QUIET, &more));
    }
    text
}

/// `incidents`
pub(crate) fn list(all: &[Incident], sheet: Sheet) -> String {
    let mut text = String::new();
    let width = list::name_width(all.iter().map(|i| i.service.as_str()), sheet);
    let numbers = all.iter().map(|i| i.number.to_string().len()).max().unwrap_or(0).max(2);
    for incident in all {
        let at = incident.at.as_ref().map(time::local).unwrap_or_default();
        let line = format!(
            "{:>numbers$}  {}  {:>5}  {:width$}  {}",
            incident.number,
            at,
            time::ago(incident.at.as_ref()),
            sheet.fit(&incident.service, width),
            safe(&incident.cause),
        );
        let _ = writeln!(text, "{}", sheet.fit(&line, sheet.width));
    }
    text
}

/// `incidents show`
pub(crate) fn whole(incident: &Incident, sheet: Sheet) -> String {
    let mut text = String::new();
    let at =
        incident.at.as_ref().map_or(String::new(), |at| format!("{} ({} ago)", second(at), words_ago(at)));
    let head = format!("incident {}: {} {}", incident.number, incident.service, safe(&incident.cause));
    for line in broken(&head, 0, sheet) {
        let _ = writeln!(text, "{}", styled(BAD.bold(), &line));
    }
    let mut row = |label: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(
                text,
                "  {}  {}",
                styled(QUIET, &format!("{label:8}")),
                sheet.fit(&value, sheet.width - 12)
            );
        }
    };
    row("when", at);
    row("run", incident.run.clone());
    row("exit", incident.exit.clone().unwrap_or_default());
    row("ran", incident.ran_seconds.map_or(String::new(), |s| metrics::amount(s, "seconds")));
    row("worked", incident.cpu_seconds.map_or(String::new(), |s| metrics::amount(s, "seconds")));
    row("memory", memory(incident));
    row("killed", killed(incident));
    row("followed", incident.follows.clone());
    section(&mut text, "numbers", incident.samples.iter().map(|s| (s.at, sample(s))), sheet);
    let probe = |p: &helm_proto::v1::IncidentProbe| format!("{} {}: {}", p.probe, p.health, p.message);
    section(&mut text, "probes", incident.probes.iter().map(|p| (p.at, probe(p))), sheet);
    section(&mut text, "shortly before", incident.before.iter().map(told), sheet);
    let line = |l: &helm_proto::v1::IncidentLine| {
        (l.at, if l.stream == "stderr" { format!("stderr {}", l.text) } else { l.text.clone() })
    };
    section(&mut text, "last words", incident.lines.iter().map(line), sheet);
    section(&mut text, "because of it", incident.aftermath.iter().map(told), sheet);
    text
}

fn section(
    text: &mut String,
    name: &str,
    rows: impl Iterator<Item = (Option<Timestamp>, String)>,
    sheet: Sheet,
) {
    for (i, (at, row)) in rows.enumerate() {
        if i == 0 {
            let _ = writeln!(text, "{}", styled(HEAD, name));
        }
        let at = at.as_ref().map(time::local).unwrap_or_default();
        let line = safe(&row);
        let _ = writeln!(
            text,
            "  {}  {}",
            styled(QUIET, &at),
            sheet.fit(&line, sheet.width.saturating_sub(at.len() + 4))
        );
    }
}

fn told(told: &IncidentTold) -> (Option<Timestamp>, String) {
    let whose = if told.service.is_empty() { String::new() } else { format!("{} ", told.service) };
    (told.at, format!("{whose}{}", told.text))
}

#[allow(clippy::cast_precision_loss, reason = "bytes of memory stay far below 2^53")]
fn bytes(bytes: u64) -> String {
    metrics::amount(bytes as f64, "bytes")
}

fn sample(sample: &IncidentSample) -> String {
    let cpu =
        sample.cpu_percent.map_or(String::new(), |cpu| format!("  CPU {}", metrics::amount(cpu, "percent")));
    format!("memory {}{cpu}", bytes(sample.memory_bytes))
}

fn memory(incident: &Incident) -> String {
    let peak = incident.peak_bytes.map(|peak| format!("at most {} in one process", bytes(peak)));
    let limit = incident.memory_limit.map(|limit| format!("{} allowed", bytes(limit)));
    peak.into_iter().chain(limit).collect::<Vec<_>>().join(", ")
}

/// Whether the kernel did it, where that is a question.
fn killed(incident: &Incident) -> String {
    match incident.oom.as_str() {
        "yes" => format!("by the kernel, for memory: {}", incident.oom_detail),
        "no" => "not by the kernel for memory".to_owned(),
        _ if incident.exit.as_deref().is_some_and(|exit| exit.starts_with("signal 9")) => {
            "whether by the kernel for memory cannot be read on this host".to_owned()
        }
        _ => String::new(),
    }
}

/// `14:03:11`, with the date where it is not today's.
fn second(at: &Timestamp) -> String {
    let nanos = at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos));
    time::local_to_second(nanos)
}

/// `3 min`
fn words_ago(at: &Timestamp) -> String {
    let seconds =
        u64::try_from(time::now().div_euclid(1_000_000_000).saturating_sub(at.seconds)).unwrap_or(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// On a terminal broken between words, behind so many columns.
fn broken(text: &str, behind: usize, sheet: Sheet) -> Vec<String> {
    if sheet.whole { vec![text.to_owned()] } else { wrapped(text, sheet.width.saturating_sub(behind)) }
}

/// On a terminal so many lines at most.
fn at_most(most: usize, text: &str, behind: usize, sheet: Sheet) -> Vec<String> {
    if most == 1 {
        return vec![sheet.fit(text, sheet.width.saturating_sub(behind))];
    }
    let mut all = broken(text, behind, sheet);
    if all.len() > most {
        let last = all.get(most - 1).cloned();
        all.truncate(most - 1);
        all.extend(last.map(|last| sheet.fit(&format!("{last} …"), sheet.width.saturating_sub(behind))));
    }
    all
}
