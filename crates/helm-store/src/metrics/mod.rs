//! Numbers over time.
//!
//! Three tiers: raw samples in packed blocks of an hour, minutes, hours. A block is written anew while its hour lasts; minutes and hours are
//! rolled up when they are over. Which tier answers is decided by how many points are wanted.

mod bits;
pub mod block;
pub mod engine;
pub mod keep;
pub mod rollup;
