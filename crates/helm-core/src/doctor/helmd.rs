//! The daemon of the home.

use super::{Daemon, Finding, Fix, Hands, Id, quoted};

/// A process of helmd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Its command line.
    pub command: String,
}

/// What there is of helmd in this home.
#[derive(Debug, Clone, PartialEq)]
pub struct Helmds {
    /// Whether one answers.
    pub daemon: Daemon,
    /// Services that are to run, by the wishes on disk.
    pub wanted: usize,
    /// Processes of helmd for this home, without the one that holds the lock.
    pub strays: Vec<Process>,
    /// A socket that nobody listens at.
    pub stale_socket: Option<String>,
    /// Where the keeper's program should be, if it is not.
    pub missing_keeper: Option<String>,
}

impl Helmds {
    /// What is wrong with it.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        let keeper = self.missing_keeper.as_ref().map(|place| {
            Finding::fault(Id::KeeperMissing, "the keeper's program is not there: no service can be started")
                .seen(format!("helm-shim is neither at {place} nor in PATH"))
                .mend("cargo build --release --bin helm-shim")
        });
        let presence = self.presence(hands);
        // The helmd that is started takes its place.
        let socket = if presence.is_none() { self.socket() } else { None };
        let all = [presence, self.strays(), socket, keeper];
        all.into_iter().flatten().collect()
    }

    fn presence(&self, hands: &Hands) -> Option<Finding> {
        match &self.daemon {
            Daemon::Answers(_) => None,
            Daemon::Absent if self.wanted == 0 => None,
            Daemon::Absent => Some(
                Finding::fault(Id::HelmdNotRunning, "no helmd runs: nothing is started or looked after")
                    .seen(format!("{} service(s) are to run", self.wanted))
                    .mend(hands.ctl("daemon start")),
            ),
            Daemon::Silent { pid, why } => {
                let start = hands.ctl("daemon start");
                let finding = Finding::fault(Id::HelmdSilent, "helmd does not answer").seen(why.clone());
                Some(match pid {
                    0 => finding.mend(start),
                    // Services stay: their keepers hold them.
                    pid => finding.seen(format!("pid {pid}")).mend(format!("kill -9 {pid} && {start}")),
                })
            }
        }
    }

    fn strays(&self) -> Option<Finding> {
        if self.strays.is_empty() {
            return None;
        }
        let pids: Vec<String> = self.strays.iter().map(|stray| stray.pid.to_string()).collect();
        let mut finding = Finding::fault(Id::TwoHelmds, "a second helmd runs for this home")
            .mend(format!("kill {}", pids.join(" ")));
        for stray in &self.strays {
            finding = finding.seen(format!(
                "pid {}: {}, which does not hold instance/helmd.lock",
                stray.pid, stray.command
            ));
        }
        Some(finding)
    }

    fn socket(&self) -> Option<Finding> {
        let path = self.stale_socket.as_ref()?;
        Some(
            Finding::warning(Id::StaleSocket, "helmd's socket is there, and nobody listens")
                .seen(format!("{path}: connection refused"))
                .mend(format!("rm {}", quoted(path)))
                .fixed_by(Fix::RemoveSocket { path: path.clone() }),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(daemon: Daemon, wanted: usize) -> Vec<(Id, String)> {
        let hands = Hands { helmctl: "helmctl".into(), root: true };
        let helmds = Helmds { daemon, wanted, strays: vec![], stale_socket: None, missing_keeper: None };
        helmds.findings(&hands).into_iter().map(|f| (f.id, f.mend.unwrap_or_default())).collect()
    }

    #[test]
    fn no_helmd_is_a_fault_where_something_is_to_run() {
        assert_eq!(ids(Daemon::Absent, 0), []);
        assert_eq!(ids(Daemon::Absent, 2), [(Id::HelmdNotRunning, "helmctl daemon start".to_owned())]);
        let silent = Daemon::Silent { pid: 7, why: "no answer".into() };
        assert_eq!(ids(silent, 0), [(Id::HelmdSilent, "kill -9 7 && helmctl daemon start".to_owned())]);
    }
}
