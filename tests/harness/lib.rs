//! What the tests over the real binaries share. See docs/testing.md.

pub mod fixture;
