//! What services of HiveMatrix trip over: Keycloak's Java and realm. Core's keys and Nexus's certificate are beside this.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::name;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: false }
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
