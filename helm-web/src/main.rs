//! The program: nothing yet.
fn main() {}
