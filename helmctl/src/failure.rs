//! The one place that tells a user what went wrong, and with which exit code.

use std::io;
use std::process::ExitCode;

use helm_client::{ClientError, Reason};

use crate::render::note;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for failed; it has been told already, or is said here.
    #[error("{0}")]
    Failed(String),
    /// What was looked for was found, and has been told: only the exit code is left to say it.
    #[error("something is wrong")]
    Found,
    /// What was typed makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is nothing of that name.
    #[error("{0}")]
    Unknown(String),
    /// It took too long.
    #[error("{0}")]
    Timeout(String),
    /// helmd left, or died, before the operation was done. `taken`: it had begun, so its wish is recorded.
    #[error("{}", lost(*taken))]
    Lost {
        /// Progress had come.
        taken: bool,
    },
    /// Between us and helmd.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody reads our output any more: no reason to complain.
    #[error("the output was closed")]
    Closed,
}

fn lost(taken: bool) -> &'static str {
    if taken {
        "helmd has gone before this was done. What you asked for is recorded, and the next helmd goes on with it: helmctl daemon start, then helmctl status"
    } else {
        "helmd has gone, and did not say that it took this on: helmctl daemon start, then helmctl status, or ask again"
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Failed(error.to_string()) }
    }
}

impl From<helm_client::home::HomeError> for Failure {
    fn from(error: helm_client::home::HomeError) -> Self {
        Self::Client(error.into())
    }
}

impl Failure {
    /// 1 failed, 2 usage, 3 helmd not reachable, 4 unknown (service, metric, entry), 5 out of time.
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Found => 1,
            Self::Usage(_) => 2,
            Self::Unknown(_) => 4,
            Self::Timeout(_) => 5,
            Self::Closed => 0,
            Self::Lost { .. } => 3,
            Self::Client(error) => match error {
                ClientError::Home(_) => 2,
                ClientError::NotRunning { .. }
                | ClientError::Starting { .. }
                | ClientError::NotAnswering { .. }
                | ClientError::Denied { .. }
                | ClientError::Broken(_)
                | ClientError::Start(_)
                | ClientError::Unit { .. } => 3,
                ClientError::Refused { reason, .. } => match reason {
                    Reason::UnknownService(_) | Reason::UnknownEntry => 4,
                    Reason::BadRequest => 2,
                    Reason::Denied | Reason::Leaving => 3,
                    Reason::NotRunnable | Reason::StoreAway | Reason::Unauthenticated | Reason::Other(..) => {
                        1
                    }
                },
            },
        }
    }
}

/// Says it on standard error, with its causes.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::Closed | Failure::Found) {
        note(&format!("helmctl: {failure}"));
        let mut cause = std::error::Error::source(failure);
        while let Some(next) = cause {
            note(&format!("  cause: {next}"));
            cause = next.source();
        }
    }
    ExitCode::from(failure.code())
}
