//! The certificate that Nexus shows to browsers.

use super::key::{KeyFile, aside, give};
use super::{Finding, Hands, Id, quoted};
use crate::name::ServiceName;

/// What is in the place of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateState {
    /// Nothing.
    Missing,
    /// Something that cannot be used, and why.
    Unreadable(String),
    /// A certificate.
    Read {
        /// Days until it ends; negative: days since.
        days_left: i64,
        /// It begins later than now.
        not_yet: bool,
        /// Its last day, to be shown.
        until: String,
        /// Signed by itself.
        own: bool,
    },
}

/// A certificate that a service shows to browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Which service.
    pub service: ServiceName,
    /// The file.
    pub path: String,
    /// What is there.
    pub state: CertificateState,
    /// The file of its key.
    pub key_path: String,
    /// Its key.
    pub key: KeyFile,
    /// They belong together; `None`: that cannot be told.
    pub matching: Option<bool>,
    /// A restart takes a new one in.
    pub runs: bool,
    /// As whom Nexus runs.
    pub owner: String,
}

impl Certificate {
    /// Days before the end from which on it is told.
    const SOON: i64 = 14;

    /// It is not there, not to be used, or at its end.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let finding = self.trouble()?;
        let own = match &self.state {
            CertificateState::Read { own, .. } => *own,
            CertificateState::Missing | CertificateState::Unreadable(_) => true,
        };
        let make = if self.key == KeyFile::Denied {
            give(&self.key_path, &self.owner, hands)
        } else if own {
            self.make()
        } else {
            hands.sudo("certbot renew")
        };
        let mend = match self.runs {
            true => format!("{make} && {}", hands.ctl(&format!("restart {}", self.service))),
            false => make,
        };
        Some(finding.mend(mend).of(&self.service))
    }

    fn trouble(&self) -> Option<Finding> {
        let Self { path, key_path, .. } = self;
        let unreadable = |seen: String| {
            Some(Finding::fault(Id::CertificateUnreadable, "its certificate cannot be used").seen(seen))
        };
        match &self.state {
            CertificateState::Missing => {
                let what = "it has no certificate: it speaks plain HTTP on a port for HTTPS";
                return Some(
                    Finding::fault(Id::CertificateMissing, what).seen(format!("{path} is not there")),
                );
            }
            CertificateState::Unreadable(why) => return unreadable(format!("{path}: {why}")),
            CertificateState::Read { days_left, until, .. } if *days_left < 0 => {
                let seen = format!("{path} was valid until {until}, {} day(s) ago", -days_left);
                return Some(
                    Finding::fault(Id::CertificateExpired, "its certificate has expired").seen(seen),
                );
            }
            CertificateState::Read { not_yet: true, .. } => {
                return unreadable(format!("{path} is not valid yet: is the clock right?"));
            }
            CertificateState::Read { .. } => {}
        }
        // Who uses a closed one can read it, for all that can be seen.
        if let Some(trouble) = self.key.trouble().filter(|_| self.key != KeyFile::Closed) {
            return unreadable(format!("its key {key_path}{trouble}"));
        }
        if self.matching == Some(false) {
            return unreadable(format!("{key_path} is not the key of {path}"));
        }
        match &self.state {
            CertificateState::Read { days_left, until, .. } if *days_left < Self::SOON => Some(
                Finding::warning(Id::CertificateExpired, "its certificate expires soon")
                    .seen(format!("{path} is valid until {until}, {days_left} more day(s)")),
            ),
            CertificateState::Read { .. } | CertificateState::Missing | CertificateState::Unreadable(_) => {
                None
            }
        }
    }

    /// As HiveMatrix makes them: signed by itself, for a year. What is there is put aside, and a key that is good is kept.
    fn make(&self) -> String {
        let (key, path) = (quoted(&self.key_path), quoted(&self.path));
        let old = match self.state {
            CertificateState::Missing => String::new(),
            CertificateState::Unreadable(_) | CertificateState::Read { .. } => aside(&path, "former"),
        };
        let (old_key, with) = match self.key {
            KeyFile::Good => (String::new(), format!("-key {key}")),
            KeyFile::Missing => (String::new(), format!("-newkey rsa:4096 -nodes -keyout {key}")),
            KeyFile::Unusable(_) | KeyFile::Encrypted | KeyFile::Closed | KeyFile::Denied => {
                (aside(&key, "unusable"), format!("-newkey rsa:4096 -nodes -keyout {key}"))
            }
        };
        format!(
            "mkdir -p \"$(dirname {path})\" && {old}{old_key}(umask 077 && openssl req -x509 {with} -days 365 -subj /C=US/O=HiveMatrix/CN=localhost -out {path})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Weight;
    use crate::fleet::testing::name;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: false }
    }

    fn certificate(state: CertificateState) -> Certificate {
        Certificate {
            service: name("nexus"),
            path: "/n/certs/nexus.crt".into(),
            state,
            key_path: "/n/certs/nexus.key".into(),
            key: KeyFile::Good,
            matching: Some(true),
            runs: true,
            owner: "helm".into(),
        }
    }

    fn read(days_left: i64, own: bool) -> CertificateState {
        CertificateState::Read { days_left, not_yet: false, until: "2026-01-01".into(), own }
    }

    #[test]
    fn a_certificate_is_told_of_before_it_ends() {
        let weight = |days| {
            certificate(read(days, true)).finding(&hands()).map(|finding| (finding.id, finding.weight))
        };
        assert_eq!(weight(100), None);
        assert_eq!(weight(13), Some((Id::CertificateExpired, Weight::Warning)));
        assert_eq!(weight(-1), Some((Id::CertificateExpired, Weight::Fault)));
    }

    #[test]
    fn one_of_an_authority_is_renewed_and_not_replaced() {
        let mend = |own| certificate(read(-1, own)).finding(&hands()).and_then(|finding| finding.mend);
        assert!(mend(true).unwrap().contains("openssl req -x509"));
        assert_eq!(mend(false).as_deref(), Some("sudo certbot renew && helmctl restart nexus"));
    }

    #[test]
    fn a_certificate_without_its_key_is_none() {
        let other = Certificate { matching: Some(false), ..certificate(read(100, true)) };
        let found = other.finding(&hands()).unwrap();
        assert_eq!(found.id, Id::CertificateUnreadable);
        let mend = found.mend.unwrap();
        assert!(
            mend.contains("mv --backup=numbered /n/certs/nexus.crt /n/certs/nexus.crt.former && "),
            "{mend}"
        );
        assert!(mend.contains(" -key /n/certs/nexus.key ") && !mend.contains("keyout"), "kept: {mend}");
        let gone = Certificate { key: KeyFile::Missing, ..certificate(read(100, true)) };
        assert_eq!(gone.finding(&hands()).map(|f| f.id), Some(Id::CertificateUnreadable));
    }
}
