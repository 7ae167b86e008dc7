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
    /// helmd is on its way out.
    Leaving,
    /// Something else; the word, if there was one.
    Other(String),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let word = reason::of(&status);
        let kind = match word {
            reason::UNKNOWN_SERVICE => Reason::UnknownService(reason::nearest(&status).map(str::to_owned)),
            reason::NOT_RUNNABLE => Reason::NotRunnable,
            reason::PERMISSION_DENIED => Reason::Denied,
            reason::LEAVING => Reason::Leaving,
            "" if matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled) => {
                return Self::Broken(status.message().to_owned());
            }
            _ => Reason::Other(word.to_owned()),
        };
        Self::Refused { reason: kind, message: status.message().to_owned() }
    }
}
