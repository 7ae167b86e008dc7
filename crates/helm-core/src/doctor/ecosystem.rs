//! What services of HiveMatrix trip over: Keycloak's Java and realm, Core's keys, Nexus's certificate.

use super::shell::chown;
use super::{Finding, Hands, Id, quoted};
use crate::name::ServiceName;

/// The Java that Keycloak would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Java {
    /// Whose.
    pub service: ServiceName,
    /// The program, and its version where it is known.
    pub found: Option<(String, Option<u32>)>,
    /// Where it was looked for.
    pub looked: String,
}

impl Java {
    /// The oldest that Keycloak 26 runs with.
    const WANTED: u32 = 17;

    /// None, or one that is too old.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let install = hands.sudo("apt install -y openjdk-17-jre-headless");
        let finding = match &self.found {
            None => Finding::fault(Id::JavaMissing, "there is no Java, and Keycloak needs it")
                .seen(format!("no program `java` in {}", self.looked)),
            Some((path, Some(version))) if *version < Self::WANTED => {
                Finding::fault(Id::JavaOld, "its Java is too old")
                    .seen(format!("{path} is Java {version}; Keycloak needs {} or newer", Self::WANTED))
            }
            Some(_) => return None,
        };
        Some(finding.mend(install).of(&self.service))
    }
}

/// The realm that users of HiveMatrix are in.
pub const REALM: &str = "hivematrix";

/// Whether a Keycloak that runs has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// Keycloak.
    pub service: ServiceName,
    /// Its directory.
    pub path: String,
    /// Its address.
    pub url: String,
    /// It answered that there is none.
    pub missing: bool,
}

impl Realm {
    /// Nobody can log in.
    pub fn finding(&self) -> Option<Finding> {
        let kcadm = quoted(&format!("{}/bin/kcadm.sh", self.path));
        self.missing.then(|| {
            Finding::fault(Id::RealmMissing, "Keycloak has no realm for HiveMatrix: nobody can log in")
                .seen(format!("{}/realms/{REALM}: 404", self.url))
                .mend(format!(
                    "{kcadm} config credentials --server {} --realm master --user admin && {kcadm} create realms -s realm={REALM} -s enabled=true",
                    self.url
                ))
                .of(&self.service)
        })
    }
}

/// What is in the place of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// A key.
    Good,
    /// Nothing.
    Missing,
    /// Something that cannot be used, and why.
    Unusable(String),
    /// A key behind a password.
    Encrypted,
    /// Whoever looks may not read it, and it is not they who use it.
    Closed,
    /// Whoever uses it may not read it.
    Denied,
}

impl KeyFile {
    /// What is wrong with it, behind its path.
    fn trouble(&self) -> Option<String> {
        match self {
            KeyFile::Good => None,
            KeyFile::Missing => Some(" is not there".to_owned()),
            KeyFile::Unusable(why) => Some(format!(": {why}")),
            KeyFile::Encrypted => Some(" is encrypted".to_owned()),
            KeyFile::Closed => Some(" may not be read by whoever looks here".to_owned()),
            KeyFile::Denied => Some(" may not be read by the user that it runs as".to_owned()),
        }
    }
}

/// Gives a key to whoever uses it.
fn give(file: &str, owner: &str, hands: &Hands) -> String {
    hands.sudo(&chown("", owner, &quoted(file)))
}

/// Puts what is there aside under another name: whatever it is, it may be the only one. An older one that was put aside stays, too.
fn aside(file: &str, is: &str) -> String {
    format!("mv --backup=numbered {file} {file}.{is} && ")
}

/// The keys that Core signs its tokens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// Core.
    pub service: ServiceName,
    /// The private key.
    pub private: (String, KeyFile),
    /// The public one.
    pub public: (String, KeyFile),
    /// They belong together; `None`: that cannot be told.
    pub matching: Option<bool>,
    /// As whom Core runs.
    pub owner: String,
}

const CANNOT_SIGN: &str = "it cannot sign tokens: nobody can log in";

impl KeyPair {
    /// What is wrong with them: without them nobody can log in.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let files = [&self.private, &self.public];
        let mut seen: Vec<String> =
            files.iter().filter_map(|(path, state)| Some(format!("{path}{}", state.trouble()?))).collect();
        if seen.is_empty() && self.matching == Some(false) {
            seen.push(format!("{} is not the public key of {}", self.public.0, self.private.0));
        }
        if seen.is_empty() {
            return None;
        }
        let finding = match (&self.private.1, &self.public.1) {
            (KeyFile::Closed, _) | (_, KeyFile::Closed) => {
                let look = hands.ctl(&format!("doctor {}", self.service));
                Finding::warning(Id::JwtKeys, "its keys cannot be looked at by this user")
                    .mend(format!("sudo -u {} {look}", quoted(&self.owner)))
            }
            (KeyFile::Denied, _) => {
                Finding::fault(Id::JwtKeys, CANNOT_SIGN).mend(give(&self.private.0, &self.owner, hands))
            }
            (_, KeyFile::Denied) => {
                Finding::fault(Id::JwtKeys, CANNOT_SIGN).mend(give(&self.public.0, &self.owner, hands))
            }
            (KeyFile::Encrypted, _) => Finding::warning(
                Id::JwtKeys,
                "its private key is encrypted, and nothing gives it the password",
            )
            .mend(self.decrypt()),
            _ => Finding::fault(Id::JwtKeys, CANNOT_SIGN).mend(self.make()),
        };
        Some(seen.into_iter().fold(finding, Finding::seen).of(&self.service))
    }

    /// The same key, without a password.
    fn decrypt(&self) -> String {
        let private = quoted(&self.private.0);
        format!(
            "(umask 077 && openssl pkey -in {private} -out {private}.open) && {}mv {private}.open {private}",
            aside(&private, "encrypted")
        )
    }

    /// What is missing or of no use is made anew; a private key that is good is kept.
    fn make(&self) -> String {
        let (private, public) = (quoted(&self.private.0), quoted(&self.public.0));
        let there = self.public.1 != KeyFile::Missing;
        let former = if there { aside(&public, "former") } else { String::new() };
        let publish = format!("{former}openssl rsa -in {private} -pubout -out {public}");
        let make = format!("(umask 077 && openssl genrsa -out {private} 2048) && {publish}");
        match &self.private.1 {
            KeyFile::Missing => format!("mkdir -p \"$(dirname {private})\" && {make}"),
            // What is there may be a key after all, for somebody else.
            KeyFile::Unusable(_) => format!("{}{make}", aside(&private, "unusable")),
            KeyFile::Good | KeyFile::Encrypted | KeyFile::Closed | KeyFile::Denied => publish,
        }
    }
}

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

    #[test]
    fn a_private_key_that_is_there_is_kept() {
        let pair = KeyPair {
            service: name("core"),
            private: ("/c/keys/a".into(), KeyFile::Good),
            public: ("/c/keys/b".into(), KeyFile::Missing),
            matching: None,
            owner: "helm".into(),
        };
        let mend = |pair: &KeyPair| pair.finding(&hands()).unwrap().mend.unwrap();
        assert_eq!(mend(&pair), "openssl rsa -in /c/keys/a -pubout -out /c/keys/b");
        let other =
            KeyPair { public: ("/c/keys/b".into(), KeyFile::Good), matching: Some(false), ..pair.clone() };
        assert!(mend(&other).starts_with("mv --backup=numbered /c/keys/b /c/keys/b.former && "));
        let none = KeyPair { private: ("/c/keys/a".into(), KeyFile::Missing), ..pair };
        assert!(mend(&none).contains("openssl genrsa"));
    }

    #[test]
    fn a_key_that_cannot_be_read_here_is_not_said_to_be_of_no_use() {
        let found = |state| {
            let pair = KeyPair {
                service: name("core"),
                private: ("/c/keys/a".into(), state),
                public: ("/c/keys/b".into(), KeyFile::Good),
                matching: None,
                owner: "helm".into(),
            };
            pair.finding(&hands()).map(|found| (found.weight, found.mend.unwrap())).unwrap()
        };
        let closed = (Weight::Warning, "sudo -u helm helmctl doctor core".to_owned());
        assert_eq!(found(KeyFile::Closed), closed);
        assert_eq!(found(KeyFile::Denied), (Weight::Fault, "sudo chown helm: /c/keys/a".to_owned()));
        let (weight, mend) = found(KeyFile::Encrypted);
        assert_eq!(weight, Weight::Warning);
        assert!(mend.contains("openssl pkey -in /c/keys/a ") && !mend.contains("genrsa"), "{mend}");
        assert_eq!(found(KeyFile::Unusable("x".into())).0, Weight::Fault);
    }

    #[test]
    fn java_is_old_below_17() {
        let java = |version| Java {
            service: name("keycloak"),
            found: Some(("/j".into(), version)),
            looked: String::new(),
        };
        assert_eq!(java(Some(17)).finding(&hands()), None);
        assert_eq!(java(None).finding(&hands()), None, "what cannot be told is no fault");
        assert_eq!(java(Some(11)).finding(&hands()).map(|f| f.id), Some(Id::JavaOld));
    }
}
