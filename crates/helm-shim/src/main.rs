//! The keeper of one service. See docs/ARCHITECTURE.md.
fn main() {}
