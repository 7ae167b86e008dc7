//! What can go wrong between a client and helmd.

use std::path::PathBuf;

use helm_proto::reason;
use tonic::{Code, Status};

use crate::home::HomeError;

/// An error of the client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// No helmd holds the home.
    #[error("helmd is not running for `{home}`; start it: helmctl --home {home} daemon start")]
    NotRunning {
        /// The home.
        home: PathBuf,
    },
    /// It holds the lock and has not said yet where it listens.
    #[error("helmd is still starting for `{home}`; try again in a moment")]
    Starting {
        /// The home.
        home: PathBuf,
    },
    /// It holds the lock and does not answer.
    #[error("helmd (pid {pid}) does not answer at {socket}: {cause}")]
    NotAnswering {
        /// Its pid.
        pid: u32,
        /// Its socket.
        socket: PathBuf,
        /// Why, in words.
        cause: String,
    },
    /// The socket belongs to somebody else.
    #[error(
        "permission denied at {socket}: helmd listens to its own user, root, and the members of `peer_group` in instance/helm.conf"
    )]
    Denied {
        /// Its socket.
        socket: PathBuf,
    },
    /// helmd answered with an error.
    #[error("{message}")]
    Refused {
        /// What kind.
        reason: Reason,
        /// In words.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to helmd broke: {0}")]
    Broken(String),
    /// helmd could not be started.
    #[error("helmd could not be started: {0}")]
    Start(String),
    /// systemd did not do what it was asked.
    #[error("`{words}` failed: {why}. What helmd said: journalctl --user -u helmd, and logs/helmd.log")]
    Unit {
        /// The command.
        words: String,
        /// What systemctl said.
        why: String,
    },
}

/// The machine-readable part of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There is no such service; the name that was probably meant.
    UnknownService(Option<String>),
    /// An entry without a program.
    NotRunnable,
    /// Not for this user.
    Denied,
    /// What was shown proves nothing, or nothing any more.
    Unauthenticated,
    /// helmd is on its way out.
    Leaving,
    /// The store is not open, or its database does not answer.
    StoreAway,
    /// What was asked makes no sense.
    BadRequest,
    /// There is no such entry.
    UnknownEntry,
    /// Something else: the word, if there was one, and what the gRPC code says of it.
    Other(String, Failing),
}

/// What a gRPC code says, whoever it comes from: helmd, a later one, or a library on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// The request: it is to be another one (`INVALID_ARGUMENT`, `OUT_OF_RANGE`).
    Request,
    /// There is no such thing (`NOT_FOUND`).
    Missing,
    /// Not as things are now (`FAILED_PRECONDITION`, `ALREADY_EXISTS`, `ABORTED`).
    State,
    /// Not for this caller (`PERMISSION_DENIED`).
    Denied,
    /// Nobody is known (`UNAUTHENTICATED`).
    Nobody,
    /// Too much or too often (`RESOURCE_EXHAUSTED`).
    Exhausted,
    /// It took too long (`DEADLINE_EXCEEDED`).
    Late,
    /// This helmd does not know how (`UNIMPLEMENTED`): another version.
    Version,
    /// helmd itself (`INTERNAL`, `DATA_LOSS`, anything else).
    Helmd,
}

impl From<Code> for Failing {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange => Self::Request,
            Code::NotFound => Self::Missing,
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => Self::State,
            Code::PermissionDenied => Self::Denied,
            Code::Unauthenticated => Self::Nobody,
            Code::ResourceExhausted => Self::Exhausted,
            Code::DeadlineExceeded => Self::Late,
            Code::Unimplemented => Self::Version,
            Code::Internal
            | Code::DataLoss
            | Code::Ok
            | Code::Unknown
            | Code::Unavailable
            | Code::Cancelled => Self::Helmd,
        }
    }
}

impl ClientError {
    /// helmd is not there, or on its way out: the next one may answer.
    pub fn is_away(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Starting { .. } | Self::NotAnswering { .. } | Self::Broken(_) => {
                true
            }
            Self::Refused { reason, .. } => *reason == Reason::Leaving,
            Self::Home(_) | Self::Denied { .. } | Self::Start(_) | Self::Unit { .. } => false,
        }
    }

    /// The same may go through later: helmd is away, or its store is.
    pub fn may_pass(&self) -> bool {
        self.is_away() || matches!(self, Self::Refused { reason: Reason::StoreAway, .. })
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let word = reason::of(&status);
        let kind = match word {
            reason::UNKNOWN_SERVICE => Reason::UnknownService(reason::nearest(&status).map(str::to_owned)),
            reason::NOT_RUNNABLE => Reason::NotRunnable,
            reason::PERMISSION_DENIED => Reason::Denied,
            reason::UNAUTHENTICATED => Reason::Unauthenticated,
            reason::LEAVING => Reason::Leaving,
            reason::STORE_AWAY => Reason::StoreAway,
            reason::BAD_REQUEST => Reason::BadRequest,
            reason::UNKNOWN_ENTRY => Reason::UnknownEntry,
            "" if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) => {
                return Self::Broken(status.message().to_owned());
            }
            _ => Reason::Other(word.to_owned(), status.code().into()),
        };
        Self::Refused { reason: kind, message: status.message().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use helm_core::ask::Refusal;
    use helm_core::name::ServiceName;

    use super::*;

    fn kind(status: Status) -> Reason {
        let ClientError::Refused { reason, .. } = ClientError::from(status) else { panic!("no refusal") };
        reason
    }

    #[test]
    fn every_word_of_helmd_is_understood() {
        let name = ServiceName::new("core").unwrap();
        let unknown = Refusal::UnknownService { name: "coer".into(), nearest: Some(name.clone()) };
        assert_eq!(kind(reason::refused(&unknown)), Reason::UnknownService(Some("core".into())));
        let unlike = Refusal::UnknownService { name: "zebra".into(), nearest: None };
        assert_eq!(kind(reason::refused(&unlike)), Reason::UnknownService(None));
        assert_eq!(kind(reason::refused(&Refusal::NotRunnable { name })), Reason::NotRunnable);
        assert_eq!(kind(reason::permission_denied("no")), Reason::Denied);
        assert_eq!(kind(reason::unauthenticated("who?")), Reason::Unauthenticated);
        assert_eq!(kind(reason::leaving("bye")), Reason::Leaving);
        assert_eq!(kind(reason::store_away("gone")), Reason::StoreAway);
        assert_eq!(kind(reason::bad_request("no level")), Reason::BadRequest);
        assert_eq!(kind(reason::unknown_entry("7")), Reason::UnknownEntry);
        assert_eq!(kind(reason::bad_mode("prod")), Reason::Other(reason::BAD_MODE.into(), Failing::Request));
        assert_eq!(
            kind(reason::not_recorded("full")),
            Reason::Other(reason::NOT_RECORDED.into(), Failing::State)
        );
    }

    #[test]
    fn a_word_of_a_later_helmd_is_kept_and_no_sentence_is_lost() {
        let mut later = Status::failed_precondition("the moon is full");
        later.metadata_mut().insert(reason::REASON, "full-moon".parse().unwrap());
        let error = ClientError::from(later);
        assert_eq!(error.to_string(), "the moon is full");
        assert!(!error.is_away());
        assert!(
            matches!(error, ClientError::Refused { reason: Reason::Other(word, Failing::State), .. } if word == "full-moon")
        );
        assert_eq!(kind(Status::unimplemented("what?")), Reason::Other(String::new(), Failing::Version));
    }

    #[test]
    fn every_code_says_something() {
        use Failing::*;
        for (code, failing) in [
            (Code::InvalidArgument, Request),
            (Code::OutOfRange, Request),
            (Code::NotFound, Missing),
            (Code::FailedPrecondition, State),
            (Code::AlreadyExists, State),
            (Code::Aborted, State),
            (Code::PermissionDenied, Denied),
            (Code::Unauthenticated, Nobody),
            (Code::ResourceExhausted, Exhausted),
            (Code::DeadlineExceeded, Late),
            (Code::Unimplemented, Version),
            (Code::Internal, Helmd),
            (Code::DataLoss, Helmd),
        ] {
            let without_a_word = kind(Status::new(code, "the moon is full"));
            assert_eq!(without_a_word, Reason::Other(String::new(), failing), "{code:?}");
        }
    }

    #[test]
    fn who_is_away_may_come_back() {
        for code in [Code::Unavailable, Code::Unknown, Code::Cancelled] {
            let error = ClientError::from(Status::new(code, "h2 protocol error"));
            assert!(matches!(error, ClientError::Broken(_)) && error.is_away(), "{code:?}");
        }
        assert!(ClientError::from(reason::leaving("bye")).is_away());
        let store = ClientError::from(reason::store_away("gone"));
        assert!(store.may_pass() && !store.is_away());
        assert!(ClientError::NotRunning { home: "/h".into() }.is_away());
        assert!(!ClientError::from(reason::permission_denied("no")).is_away());
        assert!(!ClientError::Denied { socket: "/s".into() }.is_away());
    }
}
