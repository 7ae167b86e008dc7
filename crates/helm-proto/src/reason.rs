//! Errors on the wire: a gRPC code, a sentence for people, and a word that programs match, in the metadata.
//!
//! `helm-reason` holds the word, `helm-nearest` the name that was probably meant.

use helm_core::ask::Refusal;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// Metadata key of the word.
pub const REASON: &str = "helm-reason";
/// Metadata key of the nearest name.
pub const NEAREST: &str = "helm-nearest";

/// There is no service of that name.
pub const UNKNOWN_SERVICE: &str = "unknown-service";
/// The entry has an address and no program.
pub const NOT_RUNNABLE: &str = "not-runnable";
/// The service is configured no more: it can be stopped, not started.
pub const REMOVED: &str = "removed";
/// A request that needs names came without one.
pub const NO_NAMES: &str = "no-names";
/// Not a mode.
pub const BAD_MODE: &str = "bad-mode";
/// The peer may not use this socket.
pub const PERMISSION_DENIED: &str = "permission-denied";
/// What was shown proves nothing, or nothing any more.
pub const UNAUTHENTICATED: &str = "unauthenticated";
/// The wish could not be written down.
pub const NOT_RECORDED: &str = "not-recorded";
/// The service does not run.
pub const NOT_RUNNING: &str = "not-running";
/// It could not be started as things are.
pub const CANNOT_START: &str = "cannot-start";
/// A request that makes no sense; the sentence says why.
pub const BAD_REQUEST: &str = "bad-request";
/// helmd is on its way out; try again.
pub const LEAVING: &str = "leaving";
/// The log does not keep up: send it again after the seconds in [`RETRY_AFTER`].
pub const LATER: &str = "later";
/// Whether it was kept is not known.
pub const UNCLEAR: &str = "unclear";
/// The store is not open, or does not answer.
pub const STORE_AWAY: &str = "store-away";
/// There is no entry of that id.
pub const UNKNOWN_ENTRY: &str = "unknown-entry";

/// Somebody else is at it: ask again when that is over.
pub const BUSY: &str = "busy";
/// Nothing is known of that reload.
pub const UNKNOWN_RELOAD: &str = "unknown-reload";

/// The program on disk did not pass its own check.
pub const NOT_TAKEN: &str = "not-taken";

/// Metadata key of the seconds after which to try again.
pub const RETRY_AFTER: &str = "helm-retry-after";

fn status(code: Code, reason: &'static str, message: &str, nearest: Option<&str>) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert(REASON, MetadataValue::from_static(reason));
    if let Some(value) = nearest.and_then(|n| MetadataValue::try_from(n).ok()) {
        metadata.insert(NEAREST, value);
    }
    Status::with_metadata(code, message, metadata)
}

/// What the fleet refused.
pub fn refused(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::UnknownService { nearest, .. } => {
            status(Code::NotFound, UNKNOWN_SERVICE, &message, nearest.as_ref().map(AsRef::as_ref))
        }
        Refusal::NotRunnable { .. } => status(Code::FailedPrecondition, NOT_RUNNABLE, &message, None),
        Refusal::Removed { .. } => status(Code::FailedPrecondition, REMOVED, &message, None),
        Refusal::NoNames => status(Code::InvalidArgument, NO_NAMES, &message, None),
    }
}

/// Not a mode.
pub fn bad_mode(message: &str) -> Status {
    status(Code::InvalidArgument, BAD_MODE, message, None)
}

/// Not for this peer.
pub fn permission_denied(message: &str) -> Status {
    status(Code::PermissionDenied, PERMISSION_DENIED, message, None)
}

/// Nobody is known by what was shown.
pub fn unauthenticated(message: &str) -> Status {
    status(Code::Unauthenticated, UNAUTHENTICATED, message, None)
}

/// The wish could not be written down, so nothing was done.
pub fn not_recorded(message: &str) -> Status {
    status(Code::Aborted, NOT_RECORDED, message, None)
}

/// What was asked for needs a process.
pub fn not_running(message: &str) -> Status {
    status(Code::FailedPrecondition, NOT_RUNNING, message, None)
}

/// Something that a start needs is not there.
pub fn cannot_start(message: &str) -> Status {
    status(Code::FailedPrecondition, CANNOT_START, message, None)
}

/// helmd is leaving.
pub fn leaving(message: &str) -> Status {
    status(Code::Unavailable, LEAVING, message, None)
}

/// The log does not keep up; nothing was kept, or a repetition is harmless.
pub fn later(message: &str, seconds: u64) -> Status {
    let mut later = status(Code::ResourceExhausted, LATER, message, None);
    later.metadata_mut().insert(RETRY_AFTER, seconds.max(1).into());
    later
}

/// Whether it was kept is not known.
pub fn unclear(message: &str) -> Status {
    status(Code::Aborted, UNCLEAR, message, None)
}

/// The store is not open, or does not answer.
pub fn store_away(message: &str) -> Status {
    status(Code::Unavailable, STORE_AWAY, message, None)
}

/// A question to the log, or a batch for it, that cannot be.
pub fn bad_request(message: &str) -> Status {
    status(Code::InvalidArgument, BAD_REQUEST, message, None)
}

/// Somebody else is at it.
pub fn busy(message: &str) -> Status {
    status(Code::FailedPrecondition, BUSY, message, None)
}

/// The program on disk did not pass its own check.
pub fn not_taken(message: &str) -> Status {
    status(Code::FailedPrecondition, NOT_TAKEN, message, None)
}

/// Nothing is known of that reload.
pub fn unknown_reload(message: &str) -> Status {
    status(Code::NotFound, UNKNOWN_RELOAD, message, None)
}

/// There is no entry of that id.
pub fn unknown_entry(message: &str) -> Status {
    status(Code::NotFound, UNKNOWN_ENTRY, message, None)
}

/// The word of an error; empty where it has none.
pub fn of(error: &Status) -> &str {
    error.metadata().get(REASON).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// The name that was probably meant.
pub fn nearest(error: &Status) -> Option<&str> {
    error.metadata().get(NEAREST).and_then(|v| v.to_str().ok())
}

#[cfg(test)]
mod tests {
    use helm_core::name::ServiceName;

    use super::*;

    #[test]
    fn a_refusal_carries_its_word_and_the_nearest_name() {
        let nearest = ServiceName::new("core").ok();
        let error = refused(&Refusal::UnknownService { name: "coer".into(), nearest });
        assert_eq!(
            (error.code(), of(&error), self::nearest(&error)),
            (Code::NotFound, UNKNOWN_SERVICE, Some("core"))
        );
        assert!(error.message().contains("did you mean `core`?"));
        let denied = permission_denied("no");
        assert_eq!((of(&denied), self::nearest(&denied)), (PERMISSION_DENIED, None));
    }

    /// The rows of the table in docs/api.md.
    #[test]
    fn every_error_has_the_documented_code_and_word() {
        let name = ServiceName::new("core").unwrap();
        let unknown = Refusal::UnknownService { name: "x".into(), nearest: None };
        let all = [
            (refused(&unknown), Code::NotFound, "NOT_FOUND"),
            (refused(&Refusal::NotRunnable { name }), Code::FailedPrecondition, "FAILED_PRECONDITION"),
            (refused(&Refusal::NoNames), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (bad_mode("m"), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (permission_denied("m"), Code::PermissionDenied, "PERMISSION_DENIED"),
            (unauthenticated("m"), Code::Unauthenticated, "UNAUTHENTICATED"),
            (not_recorded("m"), Code::Aborted, "ABORTED"),
            (leaving("m"), Code::Unavailable, "UNAVAILABLE"),
            (later("m", 5), Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
            (unclear("m"), Code::Aborted, "ABORTED"),
            (store_away("m"), Code::Unavailable, "UNAVAILABLE"),
            (bad_request("m"), Code::InvalidArgument, "INVALID_ARGUMENT"),
            (unknown_entry("m"), Code::NotFound, "NOT_FOUND"),
        ];
        let table = include_str!("../../../docs/api.md");
        for (error, code, documented) in all {
            assert_eq!(error.code(), code);
            let row = format!("| `{}` | {documented} |", of(&error));
            assert!(table.contains(&row), "{row}");
        }
        let foreign = Status::internal("no word");
        assert_eq!((of(&foreign), self::nearest(&foreign)), ("", None));
    }
}
