//! What PostgreSQL's errors mean, with what to do next.

use crate::engine::EngineError;

/// What was being reached, for the sentences. Holds no password.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: String,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) asker: Asker,
}

/// For whom a database is reached: what can be done next is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asker {
    /// helmd, by what is configured.
    #[default]
    Helmd,
    /// `db init`, as the role that helmd is to have.
    Init,
    /// `db init`, with an administrator's rights.
    Admin,
}

impl Target {
    fn not_let_in(&self, message: &str) -> String {
        let Target { place, user, .. } = self;
        let next = match self.asker {
            _ if message.starts_with("Peer authentication") => {
                "over a socket this server lets in only the system's user of that name: name the host `localhost`"
            }
            Asker::Helmd => {
                "check the password in instance/helm.conf (percent-encoded), or run `helmctl db init` again"
            }
            Asker::Init => {
                "check the password that was given; with an administrator's rights (--admin-url-file, or as root on the server's host) it is set"
            }
            Asker::Admin => {
                "check name and password in the administrator's connection string (percent-encoded)"
            }
        };
        format!("{place} does not let {user} in: {message}; {next}")
    }

    fn no_database(&self) -> String {
        let Target { place, database, user, .. } = self;
        let next = match self.asker {
            Asker::Helmd => {
                "create it with `helmctl db init`, or mend the name in instance/helm.conf".to_owned()
            }
            Asker::Init => format!(
                "an administrator makes it with CREATE DATABASE {database} OWNER {user} ENCODING 'UTF8' TEMPLATE template0, or run this with an administrator's rights (--admin-url-file)"
            ),
            Asker::Admin => "mend the name in the administrator's connection string".to_owned(),
        };
        format!("there is no database {database} at {place}: {next}")
    }

    fn no_right(&self, what: &str, message: &str) -> String {
        let user = &self.user;
        let next = match self.asker {
            Asker::Helmd => format!("role {user} lacks the right: `helmctl db init` grants it"),
            Asker::Init => format!(
                "role {user} lacks the right: an administrator grants it with GRANT ALL ON SCHEMA public TO {user}, or run this with an administrator's rights (--admin-url-file)"
            ),
            Asker::Admin => {
                format!("{user} is no administrator: the connection string must be that of a superuser")
            }
        };
        format!("{what}: {message}; {next}")
    }
}

/// The meaning of an error met while `what` was tried.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is sqlx's, and may grow")]
pub(super) fn of(target: &Target, what: &str, error: sqlx::Error) -> EngineError {
    match &error {
        sqlx::Error::Database(db) => {
            let message =
                match db.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().and_then(|e| e.hint()) {
                    Some(hint) => format!("{} ({hint})", db.message()),
                    None => db.message().to_owned(),
                };
            let code = db.code().map(|c| c.into_owned()).unwrap_or_default();
            by_code(target, what, &code, message).unwrap_or_else(|| other(what, error))
        }
        sqlx::Error::Io(e) => EngineError::Away(format!(
            "{} cannot be reached: {e}; is PostgreSQL running, and does it listen there?",
            target.place
        )),
        sqlx::Error::Tls(e) => EngineError::Away(format!(
            "no encrypted connection to {}: {e}; sslmode in the connection string says what is wanted",
            target.place
        )),
        sqlx::Error::PoolTimedOut => {
            EngineError::Away(format!("{} gave no connection in time", target.place))
        }
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            EngineError::Away("the connections are closed: helmd is leaving".to_owned())
        }
        sqlx::Error::BeginFailed => EngineError::Away(format!("{} began no transaction", target.place)),
        // An answer that broke off: the connection is no longer to be trusted, the next one may do better.
        sqlx::Error::Protocol(e) => EngineError::Away(format!("{} broke off: {e}", target.place)),
        _ => other(what, error),
    }
}

fn other(what: &str, error: sqlx::Error) -> EngineError {
    EngineError::Other { what: what.to_owned(), source: Box::new(error) }
}

/// By SQLSTATE (PostgreSQL's manual, appendix A).
fn by_code(target: &Target, what: &str, code: &str, message: String) -> Option<EngineError> {
    let Target { place, database, .. } = target;
    Some(match code {
        "28P01" | "28000" => EngineError::Denied(target.not_let_in(&message)),
        "3D000" => EngineError::Denied(target.no_database()),
        "42501" => EngineError::Denied(target.no_right(what, &message)),
        // Raised by Helm's own triggers and functions.
        "HE001" => EngineError::Denied(format!("{what}: {message}")),
        // Of the functions that write: another transaction came in between.
        "HE003" => EngineError::Stale(message),
        // A function that this program calls is there no longer.
        "42883" if message.contains("function helm_") => EngineError::Denied(format!(
            "{what}: {message}; a newer helmd has brought the schema of database {database} up to date: update this one"
        )),
        "25006" => EngineError::Denied(format!(
            "{what}: {message}; {place} is a read-only copy: the connection string must lead to the primary"
        )),
        "53100" => EngineError::Full(format!("{what}: {message}; make room on the disk of {place}")),
        "58030" if message.contains("No space left") => {
            EngineError::Full(format!("{what}: {message}; make room on the disk of {place}"))
        }
        "53300" => {
            EngineError::Away(format!("{place} has no connection free: {message}; raise max_connections"))
        }
        // Lost races and full queues: the same call may go through later.
        "40001" | "40P01" | "55P03" | "53000" | "53200" | "55006" => {
            EngineError::Away(format!("{what}: {message}"))
        }
        "57014" => {
            EngineError::Away(format!("{what} took too long and was ended: {message}; ask for less time"))
        }
        "XX001" | "XX002" => {
            EngineError::Damaged(format!("{what}: {message}; restore {database} from a backup"))
        }
        _ if code.starts_with("57P") || code.starts_with("08") => {
            EngineError::Away(format!("{place} ended the connection: {message}"))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(asker: Asker, code: &str, message: &str) -> Option<EngineError> {
        let [place, database, user] = ["h:5432", "helm_db", "helm_user"].map(str::to_owned);
        by_code(&Target { place, database, user, asker }, "a commit", code, message.into())
    }

    fn meaning(code: &str) -> Option<EngineError> {
        said(Asker::Helmd, code, "it said")
    }

    #[test]
    fn what_can_be_done_next_depends_on_who_asks() {
        for (asker, code, message, words) in [
            (Asker::Init, "28P01", "no", "password that was given"),
            (Asker::Init, "28000", "Peer authentication failed", "`localhost`"),
            (Asker::Init, "3D000", "no", "CREATE DATABASE helm_db OWNER helm_user"),
            (Asker::Init, "42501", "no", "GRANT ALL ON SCHEMA public TO helm_user"),
            (Asker::Admin, "28P01", "no", "administrator's connection string"),
            (Asker::Admin, "42501", "no", "superuser"),
        ] {
            let said = said(asker, code, message).unwrap().to_string();
            assert!(said.contains(words) && !said.contains("helmctl db init"), "{said}");
        }
    }

    #[test]
    fn what_may_pass_passes_and_what_needs_a_hand_says_so() {
        for code in ["57P01", "57P03", "08006", "40P01", "53100", "53300"] {
            assert!(meaning(code).unwrap().passes(), "{code}");
        }
        for (code, words) in
            [("28P01", "db init"), ("3D000", "no database helm_db"), ("42501", "lacks the right")]
        {
            let error = meaning(code).unwrap();
            assert!(matches!(error, EngineError::Denied(_)) && error.to_string().contains(words), "{error}");
        }
        assert!(matches!(meaning("53100"), Some(EngineError::Full(_))));
        let gone = said(Asker::Helmd, "42883", "function helm_commit(smallint) does not exist").unwrap();
        assert!(gone.to_string().contains("update this one"), "{gone}");
        assert!(matches!(meaning("XX001"), Some(EngineError::Damaged(_))));
        assert!(meaning("42P01").is_none());
    }
}
