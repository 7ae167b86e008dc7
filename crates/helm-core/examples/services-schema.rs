//! Prints the JSON Schema of `services.json`:
//! `cargo run -p helm-core --example services-schema > services.schema.json`

#[allow(clippy::print_stdout, reason = "printing is what it is for")]
fn main() {
    print!("{}", helm_core::spec::schema());
}
