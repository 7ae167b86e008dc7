//! What the tests over the real binaries share. See docs/testing.md.

pub mod bins;
pub mod capture;
pub mod fixture;
pub mod home;
pub mod journal;
pub mod postgres;
pub mod procs;
pub mod site;
pub mod small;
pub mod terminal;
pub mod wait;
pub mod watch;
