//! The store and its retention, for people.

use std::fmt::Write;

use helm_proto::v1::{PartitionInfo, RetentionClass, RetentionResponse, StoreStatusResponse};

use super::time::{local_to_second, span};
use super::{BAD, GOOD, HEAD, QUIET, WARN, metrics, safe, styled, warning};

/// Captured bytes of a service that are more than what is always on the way: a line waits a quarter of a second for what belongs to it.
const BEHIND: u64 = 64 << 10;
/// Partitions that are shown; the rest is a number.
const SHOWN: usize = 12;

/// `db status`
pub(crate) fn status(s: &StoreStatusResponse) -> String {
    let mut text = String::new();
    let state = styled(if s.available { GOOD } else { BAD }, &safe(&s.state));
    let entries = format!("{} in {} partition(s), {}", s.entries, s.partitions.len(), size(s.bytes));
    let instance = s.instance.to_string();
    // A store that was not opened has said nothing of itself.
    let known = |value: String| if s.version.is_empty() { "not known".to_owned() } else { value };
    for (name, value) in [
        ("store", safe(&s.address)),
        ("version", known(s.version.clone())),
        ("state", state),
        ("instance", known(instance)),
        ("entries", known(entries)),
        ("protected", known(protected(&s.protection))),
        ("waiting", format!("{} sent batch(es), {}", s.queued_appends, size(s.queued_bytes))),
    ] {
        let _ = writeln!(text, "{name:9} {value}");
    }
    for host in s.hosts.iter().filter(|host| host.instance != s.instance) {
        let _ = writeln!(
            text,
            "{:9} {} on {}, {}; started {}",
            "shared",
            host.instance,
            safe(&host.host),
            safe(&host.home),
            local_to_second(host.seen)
        );
    }
    if !s.partitions.is_empty() {
        let head = format!(
            "\n{:12}  {:12}  {:>9}  {:>8}  {:19}  CLOSED",
            "PARTITION", "CLASS", "ENTRIES", "SIZE", "OPENED"
        );
        let _ = writeln!(text, "{}", styled(HEAD, &head));
    }
    s.partitions.iter().rev().take(SHOWN).for_each(|p| text.push_str(&partition(p)));
    if let Some(more) = s.partitions.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "{}", styled(QUIET, &format!("{more} older ones: --json has them all")));
    }
    let behind: Vec<_> = s.capture.iter().filter(|lag| lag.bytes >= BEHIND).collect();
    let on_the_way = s.capture.iter().map(|lag| lag.bytes).sum();
    let _ = match (behind.len(), on_the_way) {
        _ if s.version.is_empty() => {
            writeln!(text, "\ncaptured output waits in logs/ until the store is open; how much is not known")
        }
        (0, waiting) if !s.available => {
            writeln!(
                text,
                "\nthe log cannot be written now: {} of captured output wait in logs/",
                size(waiting)
            )
        }
        (0, 0) => writeln!(text, "\nall captured output of {} service(s) is stored", s.capture.len()),
        (0, _) => {
            writeln!(text, "\ncaptured output is stored as it comes, {} are on the way", size(on_the_way))
        }
        _ => writeln!(text, "\n{}", styled(HEAD, &format!("{:24}  NOT STORED YET", "SERVICE"))),
    };
    for lag in behind {
        let _ = writeln!(text, "{:24}  {}", lag.service, size(lag.bytes));
    }
    let probes: u64 = s.dropped.iter().map(|dropped| dropped.health_probes).sum();
    if probes > 0 {
        let _ = writeln!(
            text,
            "{probes} access lines of health probes of {} service(s) were counted, not stored (log.drop_health)",
            s.dropped.len()
        );
    }
    for advice in &s.advice {
        let _ = writeln!(text, "{}", styled(WARN, &warning(advice)));
    }
    text
}

fn protected(by: &str) -> String {
    match by {
        "broken" => styled(BAD, "no more: triggers are gone, see below"),
        "roles" | "triggers" => format!("by {by}"),
        other => safe(other),
    }
}

fn partition(p: &PartitionInfo) -> String {
    let closed = p.closed.map_or_else(|| "open".to_owned(), local_to_second);
    let (opened, size) = (local_to_second(p.opened), size(p.bytes));
    format!("{:12}  {:12}  {:>9}  {size:>8}  {opened:19}  {closed}\n", p.id, p.class, p.entries)
}

/// `retention`
pub(crate) fn retention(r: &RetentionResponse, dry_run: bool) -> String {
    let mut text = String::new();
    let head = format!("{:12}  {:14}  {:>9}  {:>8}  AT THIS RATE", "CLASS", "KEPT", "ENTRIES", "SIZE");
    let _ = writeln!(text, "{}", styled(HEAD, &head));
    for class in &r.classes {
        let (kept, size) = (rule(class), size(class.bytes));
        let _ = writeln!(
            text,
            "{:12}  {kept:14}  {:>9}  {size:>8}  {}",
            class.class, class.entries, class.forecast
        );
    }
    if r.free_floor > 0 {
        let _ = writeln!(text, "free on its disk: {}, at least {} is left", size(r.free), size(r.free_floor));
    }
    for note in &r.notes {
        let _ = writeln!(text, "{}", styled(WARN, &warning(note)));
    }
    if !dry_run {
        return text;
    }
    let (mut entries, mut bytes) = (0_u64, 0_u64);
    for removal in &r.removals {
        if let Some(p) = &removal.partition {
            (entries, bytes) = (entries + u64::from(p.entries), bytes + p.bytes);
            let _ = write!(text, "{:5}  {}", removal.reason, partition(p));
        }
    }
    let count = r.removals.len();
    let _ = writeln!(
        text,
        "{count} partition(s) with {entries} entries would go, {} given back; nothing was removed",
        size(bytes)
    );
    text
}

fn rule(class: &RetentionClass) -> String {
    let age = (class.age > 0).then(|| span(class.age));
    let most = (class.max_bytes > 0).then(|| size(class.max_bytes));
    match (age, most) {
        (None, None) => "forever".to_owned(),
        (age, most) => [age, most].into_iter().flatten().collect::<Vec<_>>().join(" "),
    }
}

fn size(bytes: u64) -> String {
    metrics::bytes(bytes as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_store_that_is_not_open_or_away_nothing_is_made_up() {
        let closed = status(&StoreStatusResponse { state: "not open since 1".into(), ..Default::default() });
        assert!(closed.contains("entries   not known") && !closed.contains("is stored"), "{closed}");
        let (version, state) = ("PostgreSQL 15".into(), "away since 1".into());
        let away = status(&StoreStatusResponse { version, state, ..Default::default() });
        assert!(away.contains("cannot be written now") && !away.contains("stored"), "{away}");
    }

    #[test]
    fn a_dry_run_sums_what_would_go() {
        let partition = PartitionInfo {
            id: "7.1".into(),
            class: "default".into(),
            entries: 5,
            bytes: 1 << 20,
            closed: Some(1),
            ..Default::default()
        };
        let removal = helm_proto::v1::Removal { partition: Some(partition), reason: "age".into() };
        let class = RetentionClass {
            class: "default".into(),
            age: 90 * 86_400,
            forecast: "f".into(),
            ..Default::default()
        };
        let response = RetentionResponse {
            classes: vec![class],
            removals: vec![removal],
            free_floor: 0,
            free: 0,
            notes: Vec::new(),
        };
        let text = retention(&response, true);
        assert!(text.contains("1 partition(s) with 5 entries would go") && text.contains("90d"), "{text}");
        assert!(!retention(&response, false).contains("would go"));
    }
}
