//! The kinds of findings. Their words are for scripts, and stay.

use serde::{Deserialize, Serialize};

/// What findings without a service are listed under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The daemon itself.
    Helmd,
    /// Its home.
    Home,
    /// The database behind the log.
    Database,
    /// The host.
    Host,
    /// Units.
    Systemd,
    /// A service.
    Service,
}

impl Area {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Helmd => "helmd",
            Area::Home => "home",
            Area::Database => "database",
            Area::Host => "host",
            Area::Systemd => "systemd",
            Area::Service => "services",
        }
    }
}

/// One table: the kind, its word, and what it is listed under.
macro_rules! ids {
    ($($name:ident $word:literal $area:ident,)+) => {
        /// A kind of finding (docs/doctor.md).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "docs/doctor.md explains each; a test holds both together")]
        pub enum Id {
            $(#[serde(rename = $word)] $name,)+
        }

        impl Id {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [Id] = &[$(Id::$name,)+];

            /// Its word, on every wire and in every output.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Id::$name => $word,)+
                }
            }

            /// What it is listed under where it is of no service.
            pub fn area(self) -> Area {
                match self {
                    $(Id::$name => Area::$area,)+
                }
            }
        }
    };
}

ids! {
    HelmdNotRunning "helmd-not-running" Helmd,
    HelmdSilent "helmd-silent" Helmd,
    TwoHelmds "two-helmds" Helmd,
    StaleSocket "stale-socket" Helmd,
    KeeperMissing "keeper-missing" Helmd,
    ConfigFaulty "config-faulty" Home,
    NotInForce "not-in-force" Home,
    Permissions "permissions" Home,
    SecretsOpen "secrets-open" Home,
    DirectoryMissing "directory-missing" Home,
    DatabaseNotConfigured "database-not-configured" Database,
    ConnectionString "connection-string" Database,
    PercentSign "percent-sign" Database,
    DatabaseAway "database-away" Database,
    DatabasePassword "database-password" Database,
    DatabaseRole "database-role" Database,
    DatabaseMissing "database-missing" Database,
    DatabaseRights "database-rights" Database,
    DatabaseSchema "database-schema" Database,
    DatabaseFault "database-fault" Database,
    LogUnprotected "log-unprotected" Database,
    LogNotWritten "log-not-written" Database,
    NotInstalled "not-installed" Service,
    VenvMissing "venv-missing" Service,
    ScriptMissing "script-missing" Service,
    ProgramMissing "program-missing" Service,
    NotExecutable "not-executable" Service,
    EnvFileMissing "env-file-missing" Service,
    RegistryCopy "services-json-copy" Service,
    SecretKeyMissing "secret-key-missing" Service,
    HelmUrl "helm-url" Service,
    JwtKeys "jwt-keys" Service,
    CertificateExpired "certificate-expired" Service,
    CertificateUnreadable "certificate-unreadable" Service,
    CertificateMissing "certificate-missing" Service,
    JavaMissing "java-missing" Service,
    JavaOld "java-old" Service,
    RealmMissing "realm-missing" Service,
    PortHeld "port-held" Service,
    PortForbidden "port-forbidden" Service,
    OutsideAway "outside-away" Service,
    Failing "failing" Service,
    Blocked "blocked" Service,
    Unhealthy "unhealthy" Service,
    OutputBuffered "output-buffered" Service,
    DiskFull "disk-full" Host,
    DiskReadOnly "disk-read-only" Host,
    ClockOff "clock-off" Host,
    LingerMissing "linger-missing" Systemd,
    UnitDiffers "unit-differs" Systemd,
    OldUnit "old-unit" Systemd,
    Hangs "hangs" Host,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_explained() {
        let text = include_str!("../../../../docs/doctor.md");
        let table: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
        for id in Id::ALL {
            let word = format!("`{id}`");
            let rows =
                table.iter().filter(|row| row.split('|').nth(1).is_some_and(|ids| ids.contains(&word)));
            assert_eq!(rows.count(), 1, "{id}");
        }
    }
}
