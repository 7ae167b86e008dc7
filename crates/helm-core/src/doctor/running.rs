//! Services as they run, or do not.

use super::shell::{append, edit};
use super::{Finding, Hands, Id, ToldService};
use crate::name::ServiceName;
use crate::status::{Health, State};
use crate::time::Wall;

/// What it prints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The last lines that were captured.
    pub last: Vec<String>,
    /// Python keeps what this run prints to itself until much has come together: nothing asks for another way.
    pub buffered: bool,
    /// This run has printed something.
    pub any: bool,
}

/// One service, as helmd sees it and as its processes show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What helmd says.
    pub told: ToldService,
    /// What it waits for is not installed.
    pub waits_for_absent: bool,
    /// One of those that it waits for, which a start does not help: something is wrong with it as well.
    pub waits_for_faulty: Option<ServiceName>,
    /// Its directory.
    pub path: String,
    /// Its port, and the ports that its processes listen on.
    pub port: Option<u16>,
    /// See `port`; `None`: they cannot be seen.
    pub listens: Option<Vec<u16>>,
    /// What it prints.
    pub output: Output,
    /// The file and line that it is configured in.
    pub place: (String, u32),
    /// Now.
    pub now: Wall,
}

impl Run {
    /// A service may take this long to come up.
    const COMING_UP: i64 = 10_000_000_000;

    /// What is wrong with it.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        let all = [self.state(hands), self.health(hands), self.output(hands)];
        all.into_iter().flatten().map(|finding| finding.of(&self.told.name)).collect()
    }

    fn state(&self, hands: &Hands) -> Option<Finding> {
        let ToldService { state, reason, .. } = &self.told;
        match state {
            State::Failed => Some(self.failing("it failed, and is not started again", "start", hands)),
            State::Backoff => {
                Some(self.failing("it ended unexpectedly, and waits for its next start", "kick", hands))
            }
            // It is passed over as that one is.
            State::Blocked if self.waits_for_absent => Some(
                Finding::warning(Id::Blocked, "it waits for a service that is not installed")
                    .seen(reason.clone()),
            ),
            State::Blocked => {
                let needed = self.told.waits_for.iter().map(|name| name.as_str()).collect::<Vec<_>>();
                let finding =
                    Finding::fault(Id::Blocked, "it waits for another service").seen(reason.clone());
                Some(match &self.waits_for_faulty {
                    Some(faulty) => finding.mend(hands.ctl(&format!("doctor {faulty}"))),
                    None if needed.is_empty() => finding,
                    None => finding.mend(hands.ctl(&format!("start {}", needed.join(" ")))),
                })
            }
            State::Stopped
            | State::Starting
            | State::Running
            | State::Stopping
            | State::External
            | State::NotInstalled => None,
        }
    }

    fn failing(&self, what: &str, again: &str, hands: &Hands) -> Finding {
        let finding = Finding::fault(Id::Failing, what).seen(self.told.reason.clone());
        let finding = self.output.last.iter().fold(finding, |f, line| f.seen(format!("| {line}")));
        let name = &self.told.name;
        finding
            .seen(format!("the whole of it: {}", hands.ctl(&format!("why {name}"))))
            .mend(hands.ctl(&format!("{again} {name}")))
    }

    fn health(&self, hands: &Hands) -> Option<Finding> {
        let ToldService { name, state, health, health_message, since, .. } = &self.told;
        let young = self.now.0.saturating_sub(since.0) < Self::COMING_UP;
        let finding = match (state, health) {
            (State::Running, Health::Degraded) => {
                Finding::warning(Id::Unhealthy, "it runs, and says that something is wrong")
            }
            (State::Starting, _) if young => return None,
            (State::Starting | State::Running, Health::Unhealthy | Health::Unreachable) => {
                Finding::fault(Id::Unhealthy, "it runs, and is not healthy")
            }
            _ => return None,
        };
        let finding = finding.seen(health_message.clone());
        let restart = hands.ctl(&format!("restart {name}"));
        Some(match (self.port, &self.listens) {
            (Some(port), Some(listens)) if listens.is_empty() => {
                finding.seen(format!("nothing of it listens on port {port}, or on any other")).mend(restart)
            }
            (Some(port), Some(listens)) if !listens.contains(&port) => finding
                .seen(format!("it listens on {}, and not on {port}", ports(listens)))
                .mend(edit(&self.place.0, self.place.1)),
            (Some(_) | None, Some(_) | None) => finding.mend(restart),
        })
    }

    fn output(&self, hands: &Hands) -> Option<Finding> {
        let runs = matches!(self.told.state, State::Running | State::Starting);
        if !runs || self.output.any || !self.output.buffered {
            return None;
        }
        let set = append(&format!("{}/.flaskenv", self.path), "PYTHONUNBUFFERED", "1");
        let restart = hands.ctl(&format!("restart {}", self.told.name));
        Some(
            Finding::warning(Id::OutputBuffered, "nothing it prints arrives")
                .seen("Python keeps its output back: PYTHONUNBUFFERED is not set, and this run has printed nothing")
                .mend(format!("{set} && {restart}")),
        )
    }
}

fn ports(ports: &[u16]) -> String {
    let words: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("port {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::name;

    fn run(state: State, health: Health) -> Run {
        Run {
            told: ToldService {
                name: name("core"),
                state,
                reason: "because".into(),
                health,
                health_message: "HTTP 500".into(),
                pid: Some(7),
                last_exit: None,
                waits_for: vec![name("keycloak")],
                production: false,
                since: Wall(0),
                started: None,
            },
            waits_for_absent: false,
            waits_for_faulty: None,
            path: "/c".into(),
            port: Some(5000),
            listens: Some(vec![5000]),
            output: Output { last: vec!["boom".into()], buffered: true, any: true },
            place: ("/h/services.json".into(), 3),
            now: Wall(60_000_000_000),
        }
    }

    fn only(run: &Run) -> Option<(Id, String)> {
        let hands = Hands { helmctl: "helmctl".into(), root: false };
        let mut found = run.findings(&hands);
        assert!(found.len() < 2, "{found:?}");
        found.pop().map(|finding| (finding.id, finding.mend.unwrap_or_default()))
    }

    #[test]
    fn what_runs_well_has_no_finding() {
        assert_eq!(only(&run(State::Running, Health::Healthy)), None);
        assert_eq!(only(&run(State::Running, Health::Unknown)), None, "there is nothing to ask");
        assert_eq!(only(&run(State::Stopped, Health::Unknown)), None);
    }

    #[test]
    fn a_young_service_has_its_time() {
        let mut young = run(State::Starting, Health::Unreachable);
        assert_eq!(only(&young).map(|f| f.0), Some(Id::Unhealthy));
        young.now = Wall(1_000_000_000);
        assert_eq!(only(&young), None);
    }

    #[test]
    fn a_wrong_port_is_corrected_and_anything_else_restarted() {
        let mut sick = run(State::Running, Health::Unreachable);
        assert_eq!(only(&sick), Some((Id::Unhealthy, "helmctl restart core".into())));
        sick.listens = Some(vec![5001]);
        assert_eq!(only(&sick), Some((Id::Unhealthy, "${EDITOR:-vi} +3 /h/services.json".into())));
        sick.listens = None;
        assert_eq!(only(&sick).map(|f| f.1), Some("helmctl restart core".into()));
    }

    #[test]
    fn only_silence_that_python_makes_is_told() {
        let mut silent = run(State::Running, Health::Healthy);
        silent.output.any = false;
        assert_eq!(only(&silent).map(|f| f.0), Some(Id::OutputBuffered));
        silent.output.buffered = false;
        assert_eq!(only(&silent), None);
    }

    #[test]
    fn a_blocked_service_names_whom_to_start() {
        let mended = Some((Id::Blocked, "helmctl start keycloak".into()));
        assert_eq!(only(&run(State::Blocked, Health::Unknown)), mended);
        let absent = Run { waits_for_absent: true, ..run(State::Blocked, Health::Unknown) };
        assert_eq!(only(&absent), Some((Id::Blocked, String::new())), "no start helps");
        let faulty = Run { waits_for_faulty: Some(name("keycloak")), ..run(State::Blocked, Health::Unknown) };
        assert_eq!(only(&faulty), Some((Id::Blocked, "helmctl doctor keycloak".into())));
    }
}
