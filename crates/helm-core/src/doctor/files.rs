//! Files and directories of the home: whose they are, and who can read what is secret.

use std::collections::BTreeSet;

use super::shell::chown;
use super::{Finding, Fix, Hands, Id, quoted};
use crate::name::ServiceName;

/// A file with a secret in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The file.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Others can get to it: no directory above keeps them out.
    pub reachable: bool,
    /// Whose it is.
    pub service: Option<ServiceName>,
}

impl Secret {
    /// It is open to others.
    pub fn finding(&self) -> Option<Finding> {
        if self.mode & 0o077 == 0 {
            return None;
        }
        let (what, seen) = (
            "what is secret can be read by others",
            format!("{} has mode {:04o}", self.path, self.mode & 0o7777),
        );
        let finding = if self.reachable {
            Finding::fault(Id::SecretsOpen, what).seen(seen)
        } else {
            Finding::warning(Id::SecretsOpen, "what is secret is protected by its directory alone").seen(seen)
        };
        let finding = finding
            .mend(format!("chmod 600 {}", quoted(&self.path)))
            .fixed_by(Fix::Close { path: self.path.clone() });
        Some(match &self.service {
            Some(name) => finding.of(name),
            None => finding,
        })
    }
}

/// A part of the home that is not its owner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// What.
    pub path: String,
    /// The user that it belongs to.
    pub by: String,
    /// What is to be given back together with it, where it really lies.
    pub whole: String,
}

impl Owned {
    /// All of them are one finding: one command mends them.
    pub fn finding(all: &[Owned], owner: &str, hands: &Hands) -> Option<Finding> {
        let first = all.first()?;
        let mut finding = Finding::fault(Id::Permissions, format!("parts of the home are not {owner}'s"))
            .seen(format!("{} belongs to {}", first.path, first.by));
        for other in &all[1..] {
            finding = finding.seen(format!("{} belongs to {}", other.path, other.by));
        }
        let wholes: BTreeSet<String> = all.iter().map(|part| quoted(&part.whole)).collect();
        let wholes: Vec<String> = wholes.into_iter().collect();
        Some(finding.mend(hands.sudo(&chown("-R ", owner, &wholes.join(" ")))))
    }
}

/// What tells helmd what to run, and can be changed by everybody on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The file or directory.
    pub path: String,
    /// Its mode.
    pub mode: u32,
}

impl Open {
    /// All of them are one finding.
    pub fn finding(all: &[Open]) -> Option<Finding> {
        if all.is_empty() {
            return None;
        }
        let what = "everybody on this host can change what helmd runs";
        let paths: Vec<String> = all.iter().map(|open| quoted(&open.path)).collect();
        let finding = Finding::fault(Id::Permissions, what).mend(format!("chmod o-w {}", paths.join(" ")));
        let seen = |finding: Finding, open: &Open| {
            finding.seen(format!("{} has mode {:04o}", open.path, open.mode & 0o7777))
        };
        Some(all.iter().fold(finding, seen))
    }
}

/// A directory of the home that is a link to nothing: helmd can neither use nor make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The link.
    pub path: String,
    /// Where it leads.
    pub to: String,
}

impl Directory {
    /// helmd cannot start.
    pub fn finding(&self) -> Finding {
        Finding::fault(Id::DirectoryMissing, "a directory of the home is a link to nothing")
            .seen(format!("{} leads to {}, which is not there", self.path, self.to))
            .mend(format!("mkdir -p {}", quoted(&self.to)))
            .fixed_by(Fix::MakeDirectory { path: self.to.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Weight;

    #[test]
    fn an_open_file_behind_a_closed_door_is_a_warning() {
        let found = |mode, reachable| {
            let secret = Secret { path: "/h/instance/helm.conf".into(), mode, reachable, service: None };
            secret.finding().map(|finding| finding.weight)
        };
        assert_eq!(found(0o100_600, true), None);
        assert_eq!(found(0o100_644, true), Some(Weight::Fault));
        assert_eq!(found(0o100_644, false), Some(Weight::Warning));
    }

    #[test]
    fn whoever_can_write_helmds_files_runs_what_they_like() {
        let open = |path: &str| Open { path: path.into(), mode: 0o100_666 };
        assert_eq!(Open::finding(&[]), None);
        let found = Open::finding(&[open("/h/services.json"), open("/h/a b")]).unwrap();
        assert_eq!(found.evidence[0], "/h/services.json has mode 0666");
        assert_eq!(found.mend.as_deref(), Some("chmod o-w /h/services.json '/h/a b'"));
    }

    #[test]
    fn one_command_gives_everything_back() {
        let hands = Hands { helmctl: "helmctl".into(), root: false };
        let strange =
            |path: &str, whole: &str| Owned { path: path.into(), by: "root".into(), whole: whole.into() };
        let all = [
            strange("/h/logs", "/var/log/helm"),
            strange("/h/instance/run", "/h/instance"),
            strange("/h/instance", "/h/instance"),
        ];
        let found = Owned::finding(&all, "helm", &hands).unwrap();
        assert_eq!(found.evidence.len(), 3);
        assert_eq!(found.mend.as_deref(), Some("sudo chown -R helm: /h/instance /var/log/helm"));
        assert_eq!(Owned::finding(&[], "helm", &hands), None);
    }
}
