//! The database behind the log.

use super::shell::chown;
use super::{Finding, Hands, Id, quoted};

/// Where a database is, in the words of `db init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name, number, or the directory of a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
}

impl Place {
    /// `db init` for this place: what it takes anyway is not said.
    fn init(&self) -> String {
        let Self { host, port, database, user } = self;
        let mut words = "db init".to_owned();
        for (option, value, usual) in [
            ("host", host.as_str(), "localhost"),
            ("port", &port.to_string(), "5432"),
            ("database", database, "helm_db"),
            ("user", user, "helm_user"),
        ] {
            if value != usual {
                words.push_str(&format!(" --{option} {}", quoted(value)));
            }
        }
        words
    }
}

/// What `instance/helm.conf` says of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// There is something about a database in it.
    pub mentioned: bool,
    /// The connection string, as it stands there.
    pub connection_string: Option<String>,
    /// Why it cannot be read, in words that quote nothing of it.
    pub unreadable: Option<String>,
    /// Where it leads, as far as that can be told.
    pub place: Option<Place>,
}

impl Settings {
    /// What is wrong before anybody is asked.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let init = hands.ctl(&self.place.as_ref().map_or_else(|| "db init".to_owned(), Place::init));
        let Some(text) = &self.connection_string else {
            return self.mentioned.then(|| {
                Finding::fault(Id::DatabaseNotConfigured, "a database is meant, and not configured")
                    .seen("instance/helm.conf has a section of the database, without connection_string: SQLite is used")
                    .mend(init)
            });
        };
        if let Some(at) = stray_percent(text) {
            return Some(
                Finding::fault(Id::PercentSign, "the connection string has a % that stands for nothing")
                    .seen(format!(
                        "instance/helm.conf, [database] connection_string, sign {}: in a password % is written %25, @ is %40, / is %2F",
                        at + 1
                    ))
                    .mend(format!("{init} --password-file FILE")),
            );
        }
        self.unreadable.as_ref().map(|why| {
            Finding::fault(Id::ConnectionString, "the connection string cannot be read")
                .seen(format!("instance/helm.conf, [database] connection_string: {why}"))
                .mend(init)
        })
    }
}

/// The string as it was probably meant.
pub fn with_percent_signs(text: &str) -> String {
    let mut meant = String::with_capacity(text.len() + 2);
    for (at, sign) in text.char_indices() {
        meant.push(sign);
        if sign == '%' && stray_percent(&text[at..]) == Some(0) {
            meant.push_str("25");
        }
    }
    meant
}

/// The first `%` that two hexadecimal digits do not follow, in signs.
fn stray_percent(text: &str) -> Option<usize> {
    let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let stray = text.match_indices('%').map(|(at, _)| at).find(|at| !is_hex(at + 1) || !is_hex(at + 2))?;
    Some(text[..stray].chars().count())
}

/// Why a database cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Nobody answers, or not in time.
    Away,
    /// The password is wrong; where passwords are asked for, this is said of an unknown role, too.
    Password,
    /// There is no such role.
    Role,
    /// There is no such database.
    Database,
    /// The role may not do what helmd does.
    Rights,
    /// The tables cannot be brought up to date by helmd.
    Schema,
    /// Anything else: damage, a full disk, a newer database.
    Other,
}

/// Whose faults it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Files.
    Sqlite {
        /// Their directory.
        dir: String,
        /// As whom helmd runs.
        owner: String,
    },
    /// A server; where, for `db init`.
    Postgres(Place),
}

/// Where it is, and what came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// In words, without a password.
    pub address: String,
    /// Which.
    pub kind: Kind,
    /// It is on this host.
    pub here: bool,
    /// Why it cannot be used, and what it said.
    pub refused: Option<(Refused, String)>,
    /// Its triggers are gone: what was written can be changed.
    pub unprotected: bool,
}

impl Database {
    /// What is wrong with it.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        let refused = self.refused.as_ref().map(|(refused, said)| self.refusal(*refused, said, hands));
        let unprotected = self.unprotected.then(|| {
            Finding::fault(Id::LogUnprotected, "nothing protects the log from being changed")
                .seen(format!("{}: the triggers that refuse UPDATE and DELETE are gone", self.address))
                .mend(hands.ctl("logs verify"))
        });
        refused.into_iter().chain(unprotected).collect()
    }

    fn refusal(&self, refused: Refused, said: &str, hands: &Hands) -> Finding {
        match &self.kind {
            Kind::Sqlite { dir, owner } => self.of_sqlite(refused, said, hands, (dir, owner)),
            Kind::Postgres(place) => self.of_postgres(refused, said, hands, place),
        }
    }

    /// It has neither roles nor a server: only files, which belong to somebody.
    fn of_sqlite(&self, refused: Refused, said: &str, hands: &Hands, (dir, owner): (&str, &str)) -> Finding {
        let (id, what, mend) = match refused {
            Refused::Rights => (
                Id::DatabaseRights,
                "helmd may not use the files of its log",
                hands.sudo(&chown("-R ", owner, &quoted(dir))),
            ),
            Refused::Away
            | Refused::Password
            | Refused::Role
            | Refused::Database
            | Refused::Schema
            | Refused::Other => (Id::DatabaseFault, "the database cannot be used", hands.ctl("db check")),
        };
        Finding::fault(id, what).seen(format!("{}: {said}", self.address)).mend(mend)
    }

    fn of_postgres(&self, refused: Refused, said: &str, hands: &Hands, place: &Place) -> Finding {
        let init = hands.ctl(&place.init());
        let (id, what, mend) = match refused {
            Refused::Away if self.here => {
                let start = match place.port {
                    5432 => hands.sudo("systemctl start postgresql"),
                    // A second cluster, a container, a tunnel: which one, is not known here.
                    _ => "pg_lsclusters".to_owned(),
                };
                (Id::DatabaseAway, "PostgreSQL does not answer", start)
            }
            Refused::Away => (Id::DatabaseAway, "PostgreSQL does not answer", hands.ctl("db check")),
            Refused::Password => (
                Id::DatabasePassword,
                "PostgreSQL does not let helmd in",
                format!("{init} --password-file FILE"),
            ),
            Refused::Role => (Id::DatabaseRole, "PostgreSQL has no such role", init),
            Refused::Database => (Id::DatabaseMissing, "PostgreSQL has no such database", init),
            Refused::Rights => (Id::DatabaseRights, "helmd's role may not do what it must", init),
            Refused::Schema => (Id::DatabaseSchema, "the tables are of an older Helm", init),
            Refused::Other => (Id::DatabaseFault, "the database cannot be used", hands.ctl("db check")),
        };
        let finding = Finding::fault(id, what).seen(format!("{}: {said}", self.address)).mend(mend);
        match refused {
            Refused::Away if self.here && place.port != 5432 => finding.seen(format!(
                "port {} is not PostgreSQL's usual one: a cluster of its own (pg_lsclusters; pg_ctlcluster starts it), a container, a tunnel",
                place.port
            )),
            Refused::Password => finding.seen(
                "the password in instance/helm.conf is not the role's, or there is no such role: PostgreSQL does not tell which",
            ),
            Refused::Away
            | Refused::Role
            | Refused::Database
            | Refused::Rights
            | Refused::Schema
            | Refused::Other => finding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: true }
    }

    fn of(text: Option<&str>, unreadable: Option<&str>) -> Option<Id> {
        let settings = Settings {
            mentioned: true,
            connection_string: text.map(str::to_owned),
            unreadable: unreadable.map(str::to_owned),
            place: None,
        };
        settings.finding(&hands()).map(|finding| finding.id)
    }

    #[test]
    fn percent_signs_are_told_from_encoded_ones() {
        assert_eq!(of(Some("postgresql://u:p%40ss%2F@h/d"), None), None);
        assert_eq!(of(Some("postgresql://u:100%@h/d"), Some("cannot be read")), Some(Id::PercentSign));
        assert_eq!(stray_percent("ä%4"), Some(1));
        assert_eq!(stray_percent("%zz"), Some(0));
    }

    #[test]
    fn what_was_meant_is_written_as_it_must_be() {
        assert_eq!(with_percent_signs("postgresql://u:50%off%40@h/d"), "postgresql://u:50%25off%40@h/d");
    }

    #[test]
    fn a_place_is_said_where_it_is_not_the_usual_one() {
        let place = |host: &str, port| Place {
            host: host.into(),
            port,
            database: "helm_db".into(),
            user: "helm_user".into(),
        };
        assert_eq!(place("localhost", 5432).init(), "db init");
        assert_eq!(place("db.lan", 5433).init(), "db init --host db.lan --port 5433");
    }

    #[test]
    fn nothing_configured_is_sqlite_and_half_of_it_is_a_fault() {
        assert_eq!(Settings::default().finding(&hands()), None);
        assert_eq!(of(None, None), Some(Id::DatabaseNotConfigured));
        assert_eq!(of(Some("mysql://h/d"), Some("no")), Some(Id::ConnectionString));
    }

    #[test]
    fn a_server_elsewhere_is_not_started_from_here() {
        let mend = |here, port| {
            let place =
                Place { host: "h".into(), port, database: "helm_db".into(), user: "helm_user".into() };
            let away = refused(Kind::Postgres(place), here, Refused::Away);
            away.findings(&hands())[0].mend.clone().unwrap()
        };
        assert_eq!(mend(true, 5432), "systemctl start postgresql");
        assert_eq!(mend(true, 5433), "pg_lsclusters", "which unit that is, is not known");
        assert_eq!(mend(false, 5432), "helmctl db check");
    }

    fn refused(kind: Kind, here: bool, refused: Refused) -> Database {
        let refused = Some((refused, "refused".to_owned()));
        Database { address: "x".into(), kind, here, refused, unprotected: false }
    }

    #[test]
    fn sqlite_has_no_server_and_no_role() {
        let told = |why| {
            let kind = Kind::Sqlite { dir: "/h/instance/store".into(), owner: "helm".into() };
            let found = refused(kind, true, why).findings(&hands()).remove(0);
            (found.id, found.mend.unwrap())
        };
        assert_eq!(told(Refused::Away), (Id::DatabaseFault, "helmctl db check".to_owned()));
        let rights = (Id::DatabaseRights, "chown -R helm: /h/instance/store".to_owned());
        assert_eq!(told(Refused::Rights), rights);
    }
}
