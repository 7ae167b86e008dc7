//! `wait`: until services are as they are wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use helm_client::{Home, Resuming};
use helm_proto::v1::{ServiceStatus, WatchStatusRequest};
use tokio::time::Instant;

use super::follow::Following;
use crate::cli::Awaited;
use crate::failure::Failure;
use crate::render::{Printer, safe};

/// What a status says about a wait.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Met,
    NotYet,
    /// It will not come by itself.
    Never,
}

fn verdict(s: &ServiceStatus, awaited: Awaited) -> Verdict {
    let over = matches!(s.state.as_str(), "failed" | "not_installed");
    let met = match awaited {
        // A one-shot that has done its work is as ready as it can be.
        Awaited::Ready => s.ready || s.completed,
        Awaited::Healthy => s.health == "healthy",
        Awaited::Stopped => s.state == "stopped" || over,
    };
    match (met, over) {
        (true, _) => Verdict::Met,
        (false, true) => Verdict::Never,
        (false, false) => Verdict::NotYet,
    }
}

pub(super) async fn run(
    home: &Home,
    names: Vec<String>,
    awaited: Awaited,
    timeout: Duration,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let end = Instant::now() + timeout;
    let mut missing: BTreeMap<String, String> = names.iter().map(|n| (n.clone(), String::new())).collect();
    let request = WatchStatusRequest { names, numbers: false };
    let mut changes = Following::new(Resuming::open(home, request).await?)?;
    while !missing.is_empty() {
        let message = match tokio::time::timeout_at(end, changes.next()).await {
            Ok(message) => message?,
            Err(_) => return Err(Failure::Timeout(late(&missing, awaited))),
        };
        let Some(message) = message else { return Err(Failure::Failed("not waiting any longer".into())) };
        for s in message.services.iter().filter(|s| missing.contains_key(&s.name)).collect::<Vec<_>>() {
            match verdict(s, awaited) {
                Verdict::Met => {
                    missing.remove(&s.name);
                    printer.line(&format!("{}: {}", s.name, awaited.word()))?;
                }
                Verdict::NotYet => {
                    missing.insert(s.name.clone(), state(s));
                }
                Verdict::Never => {
                    let why = format!("{} will not be {}: it is {}", s.name, awaited.word(), state(s));
                    return Err(Failure::Failed(format!("{why}; helmctl events {}", s.name)));
                }
            }
        }
    }
    Ok(())
}

fn state(s: &ServiceStatus) -> String {
    let health = if s.health == "unknown" { String::new() } else { format!(", {}", s.health) };
    let reason = if s.reason.is_empty() { String::new() } else { format!(" ({})", safe(&s.reason)) };
    format!("{}{health}{reason}", s.state)
}

fn late(missing: &BTreeMap<String, String>, awaited: Awaited) -> String {
    let each: Vec<String> = missing.iter().map(|(name, state)| format!("{name} is {state}")).collect();
    format!("not {} in time: {}", awaited.word(), each.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for() {
        let with = |state: &str, ready, health: &str, completed| ServiceStatus {
            state: state.into(),
            health: health.into(),
            ready,
            completed,
            ..Default::default()
        };
        let all =
            |s: &ServiceStatus| [Awaited::Ready, Awaited::Healthy, Awaited::Stopped].map(|a| verdict(s, a));
        use Verdict::{Met, Never, NotYet};
        assert_eq!(all(&with("running", true, "healthy", false)), [Met, Met, NotYet]);
        assert_eq!(all(&with("running", false, "starting", false)), [NotYet, NotYet, NotYet]);
        assert_eq!(all(&with("stopped", false, "unknown", true)), [Met, NotYet, Met]);
        assert_eq!(all(&with("backoff", false, "unknown", false)), [NotYet, NotYet, NotYet]);
        assert_eq!(all(&with("failed", false, "unknown", false)), [Never, Never, Met]);
    }
}
