//! What the operator asked for: durable, local, recorded before it is acted on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name::ServiceName;
use crate::status::RunId;

/// How a service is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By hand, unless said otherwise.
    #[default]
    Development,
    /// Under systemd, unless said otherwise.
    Production,
}

impl Mode {
    /// `development` or `production`, the words of contract 5.2 and of FLASK_ENV.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Development => "development",
            Mode::Production => "production",
        }
    }
}

/// The wish for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wish {
    /// It is to run.
    pub run: bool,
    /// In this mode.
    #[serde(default)]
    pub mode: Mode,
    /// By a newer run than this one: a restart was asked for. True for good once such a run has been started, so that
    /// nobody has to take it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<RunId>,
}

/// All wishes of a home. A service without an entry was never asked for: it does not run, and `up --as-wanted` starts it
/// (it leaves alone only what an operator stopped).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wishes {
    /// The fleet is held down (`helmctl down`, shutdown of the host): nothing runs, and the wishes stay as they are.
    #[serde(default)]
    pub hold: bool,
    /// By service. Entries for services that are not configured any more are kept: they may come back.
    #[serde(default)]
    pub services: BTreeMap<ServiceName, Wish>,
}
