//! What happened, kept: every log entry exactly once, in a chain that shows alteration.
//!
//! ```text
//!  append ---> writer ----.            .---- reader <--- queries, follow, export
//!              numbers,    \          /      order, merging, texts
//!              chain, counts \      /
//!                           LogEngine   (carries out, decides nothing)
//!                           /      \
//!                       sqlite    postgres
//! ```
//!
//! This crate is the only one that names sqlx.

pub mod chain;
pub mod commit;
pub mod counts;
pub mod engine;
pub mod entry;
pub mod heavy;
pub mod history;
pub mod hot;
pub mod id;
pub mod live;
pub mod metrics;
pub mod once;
pub mod packed;
pub mod partition;
pub mod postgres;
pub mod protection;
pub mod query;
pub mod queue;
pub mod reader;
pub mod retention;
pub mod sqlite;
pub mod transfer;
pub mod verify;
pub mod writer;
