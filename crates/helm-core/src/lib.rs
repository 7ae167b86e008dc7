//! The decisions of Helm, as functions of values.
//!
//! Nothing in this crate performs IO, reads a clock, draws randomness or knows a wire or row type: time, random
//! draws and news are passed in, effects come out. See docs/ARCHITECTURE.md, invariant 1.

pub mod access;
pub mod ask;
pub mod doctor;
pub mod event;
pub mod exit;
pub mod fleet;
pub mod goal;
pub mod incident;
pub mod name;
pub mod policy;
pub mod reload;
pub mod secret;
pub mod spec;
pub mod status;
pub mod time;
mod unit;
pub mod wish;

pub use unit::memory;
