//! What helmd and the keeper share: messages, the run directory and its records, the log files.

pub mod wire;
