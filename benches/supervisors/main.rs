//! Helm beside its peers. See docs/benches.md.
fn main() {}
