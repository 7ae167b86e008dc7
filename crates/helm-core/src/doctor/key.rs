//! Keys: what is in the place of one, and those that Core signs its tokens with.

use super::shell::chown;
use super::{Finding, Hands, Id, quoted};
use crate::name::ServiceName;

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
    pub(super) fn trouble(&self) -> Option<String> {
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
pub(super) fn give(file: &str, owner: &str, hands: &Hands) -> String {
    hands.sudo(&chown("", owner, &quoted(file)))
}

/// Puts what is there aside under another name: whatever it is, it may be the only one. An older one that was put aside stays, too.
pub(super) fn aside(file: &str, is: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Weight;
    use crate::fleet::testing::name;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: false }
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
}
