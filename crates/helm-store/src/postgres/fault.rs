//! What PostgreSQL's errors mean, with what to do next.

use crate::engine::EngineError;

/// What was being reached, for the sentences. Holds no password.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: String,
    pub(super) database: String,
    pub(super) user: String,
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
    let Target { place, database, user } = target;
    Some(match code {
        "28P01" | "28000" => EngineError::Denied(format!(
            "{place} does not let {user} in: {message}; check the password in instance/helm.conf (percent-encoded), or run `helmctl db init` again"
        )),
        "3D000" => EngineError::Denied(format!(
            "there is no database {database} at {place}: create it with `helmctl db init`, or mend the name in instance/helm.conf"
        )),
        "42501" => EngineError::Denied(format!(
            "{what}: {message}; role {user} lacks the right: `helmctl db init` grants it"
        )),
        // Raised by Helm's own triggers and functions.
        "HE001" => EngineError::Denied(format!("{what}: {message}")),
        // Of helm_commit: another transaction has closed the partition meanwhile.
        "P0001" if message.starts_with("partition ") && message.contains("is not the open one") => {
            EngineError::Stale(message)
        }
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

    fn meaning(code: &str) -> Option<EngineError> {
        let target = Target { place: "h:5432".into(), database: "helm_db".into(), user: "helm_user".into() };
        by_code(&target, "a commit", code, "it said".into())
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
        assert!(matches!(meaning("XX001"), Some(EngineError::Damaged(_))));
        assert!(meaning("42P01").is_none());
    }
}
