//! What helmd and the keeper share: messages, the run directory and its records, the log files.

pub mod codec;
pub mod cri;
pub mod peer;
pub mod procs;
pub mod record;
pub mod rundir;
pub mod segments;
pub mod sys;
pub mod wire;
