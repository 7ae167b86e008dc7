//! Compiles proto/ with a pure-Rust compiler: no protoc on the machine.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let files = protox::compile(
        [
            "helm/v1/access.proto",
            "helm/v1/config.proto",
            "helm/v1/helm.proto",
            "helm/v1/incidents.proto",
            "helm/v1/logs.proto",
            "helm/v1/metrics.proto",
            "helm/v1/store.proto",
        ],
        ["../../proto"],
    )?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptor.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
