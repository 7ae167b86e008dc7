//! What keeps entries from being altered.

/// What keeps entries from being altered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// The role that helmd uses cannot alter entries, nor what refuses it.
    RolesAndTriggers {
        /// Owner of the tables; nobody logs in as it.
        owner: String,
        /// Role that helmd uses.
        writer: String,
    },
    /// Triggers refuse, and there is no more to be had: whoever may write a file may do with it as he likes.
    Triggers,
    /// Triggers refuse, but the role that helmd uses could take them away.
    TriggersOnly {
        /// Why roles add nothing.
        why: String,
        /// How to harden.
        how: String,
    },
    /// Some triggers are gone.
    Broken {
        /// Tables, or files, without them.
        tables: Vec<String>,
        /// What to do.
        how: String,
    },
}

impl Protection {
    /// In one word: `roles`, `triggers`, `broken`.
    pub fn word(&self) -> &'static str {
        match self {
            Protection::RolesAndTriggers { .. } => "roles",
            Protection::Triggers | Protection::TriggersOnly { .. } => "triggers",
            Protection::Broken { .. } => "broken",
        }
    }

    /// What is to be done about it, if anything is.
    pub fn advice(&self) -> Option<String> {
        match self {
            Protection::RolesAndTriggers { .. } | Protection::Triggers => None,
            Protection::TriggersOnly { why, how } => Some(format!("{why}: {how}")),
            Protection::Broken { tables, how } => {
                Some(format!("no triggers protect {}: {how}", tables.join(", ")))
            }
        }
    }
}
