//! Where the binaries under test are: HELM_BIN_DIR, else beside the test, where they are built first.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A binary of the workspace: `helmd`, `helmctl`, `helm-shim`, `helm-web`, or a fixture.
pub fn bin(name: &str) -> PathBuf {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    let path = DIR.get_or_init(locate).join(name);
    assert!(path.is_file(), "{} is not there; set HELM_BIN_DIR or build the workspace", path.display());
    path
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn locate() -> PathBuf {
    if let Some(dir) = std::env::var_os("HELM_BIN_DIR") {
        return dir.into();
    }
    let exe = std::env::current_exe().unwrap_or_else(|e| panic!("where is this test? {e}"));
    let dir = exe.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(Path::new("/"));
    // With helm-tests in the selection the features are those that this test was built with: nothing is built twice.
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "-p",
            "helmd",
            "-p",
            "helmctl",
            "-p",
            "helm-shim",
            "-p",
            "helm-web",
            "-p",
            "helm-tests",
            "--bins",
        ])
        .env("CARGO_TARGET_DIR", dir.parent().unwrap_or(dir))
        .current_dir(root())
        .status();
    assert!(
        built.as_ref().is_ok_and(|status| status.success()),
        "cargo build of the binaries under test: {built:?}"
    );
    dir.to_owned()
}
