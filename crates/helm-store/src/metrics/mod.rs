//! Numbers over time.
//!
//! ```text
//!  samples --> handle --> keep (the hour in hand) --flush--> waiting --put--> MetricEngine
//!                 |         |                                   |                |
//!  queries -------'---------+-----------------------------------+----------------'   joined, rolled up to the points that are wanted
//! ```
//!
//! Three tiers: raw samples in packed blocks of an hour, minutes, hours. A block is written anew while its hour lasts; minutes and hours are
//! rolled up when they are over. Which tier answers is decided by how many points are wanted.
//!
//! Never waits for the database where samples come in.

mod bits;
pub mod block;
pub mod engine;
mod handle;
pub mod keep;
mod pick;
pub mod rollup;
mod task;
mod waiting;

pub use handle::{Curve, Metrics, MetricsHandle, NotStored, Point, Standing};
pub use pick::Retention;
pub use waiting::Dropped;
