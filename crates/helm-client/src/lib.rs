//! A typed client of helmd: finds it from the home alone, and speaks `helm.v1` over its Unix socket.
//!
//! Calls and streams use connections of their own: three unread streams on one HTTP/2 connection stop every call on it.

pub mod access;
pub mod config;
pub mod connect;
pub mod daemon;
pub mod doctor;
pub mod error;
pub mod home;
pub mod jobs;
pub mod logs;
pub mod resume;
pub mod store;
pub mod stream;
pub mod tool;
pub mod unit;

pub use access::Access;
pub use connect::Client;
pub use error::{ClientError, Failing, Reason};
pub use home::{Home, LockInfo, Presence};
pub use jobs::Jobs;
pub use logs::Logs;
pub use resume::{News, Resuming};
pub use store::Store;
