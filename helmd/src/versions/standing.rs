//! Which configuration is in force, and how far a reload is: what the next helmd must know.

use helm_core::name::ServiceName;
use helm_core::reload::Todo;
use serde::{Deserialize, Serialize};

/// What is in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// The number of the configuration; `None`: none was kept.
    pub current: Option<u64>,
    /// One that was taken back: as long as the files say this, helmd does not run by them.
    pub refused: Option<Refused>,
    /// The newest reload.
    pub operation: Option<Operation>,
}

impl Standing {
    /// The reload that is under way.
    pub fn under_way(&self) -> Option<&Operation> {
        self.operation.as_ref().filter(|operation| operation.under_way())
    }

    /// Configurations that somebody still asks for.
    pub fn needed(&self) -> Vec<u64> {
        let refused = self.refused.iter().map(|refused| refused.number);
        let from = self.under_way().map(|operation| operation.from);
        self.current.into_iter().chain(refused).chain(from.flatten()).collect()
    }
}

/// A configuration that did not prove itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its number.
    pub number: u64,
    /// Who did not become healthy by it.
    #[serde(default)]
    pub who: Vec<ServiceName>,
    /// Why, in words.
    pub why: String,
}

/// A reload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// By which its client asks how far it is.
    pub id: String,
    /// Who asked.
    pub by: String,
    /// What was in force before.
    pub from: Option<u64>,
    /// What is to be in force.
    pub to: u64,
    /// How far it is.
    pub phase: Phase,
    /// What is to be done with services in this phase.
    pub todo: Todo,
    /// It has been asked of the fleet: it is in the wishes.
    pub asked: bool,
    /// How long services have to become healthy, in milliseconds; `None`: they are not waited for.
    pub gate_ms: Option<u64>,
    /// Until when, nanoseconds since 1970, once that has begun.
    pub until: Option<i64>,
    /// What came of it.
    pub ended: Option<Ended>,
}

impl Operation {
    /// It is not over.
    pub fn under_way(&self) -> bool {
        self.ended.is_none()
    }
}

/// How far a reload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// On the way to the new configuration.
    Apply,
    /// On the way back.
    Back {
        /// Why.
        why: String,
    },
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// `done`, `rolled_back`, `failed`
    pub result: String,
    /// In words.
    pub message: String,
}
