//! The invariants 1 to 4 of docs/ARCHITECTURE.md, proved over `cargo tree` and the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::bins::root;

/// What `cargo tree` says with these words: package names.
fn tree(words: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(words)
        .current_dir(root())
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "cargo tree {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn linked_by(package: &str) -> BTreeSet<String> {
    tree(&["-p", package, "-e", "normal"])
}

fn refuse(package: &str, forbidden: &[&str]) {
    let found: Vec<String> =
        linked_by(package).into_iter().filter(|name| forbidden.contains(&name.as_str())).collect();
    assert!(found.is_empty(), "{package} links {found:?}");
}

#[test]
fn helm_core_links_serde_thiserror_and_pure_text_libraries() {
    // Decision 0002; the rest is what the derive macros need at build time.
    let allowed = [
        "helm-core",
        "jsonc-parser",
        "proc-macro2",
        "quote",
        "serde",
        "serde_core",
        "serde_derive",
        "strsim",
        "syn",
        "thiserror",
        "thiserror-impl",
        "unicode-ident",
    ];
    let beyond: Vec<String> =
        linked_by("helm-core").into_iter().filter(|name| !allowed.contains(&name.as_str())).collect();
    assert!(beyond.is_empty(), "helm-core links {beyond:?}: is that pure? then decision 0002 must say so");
}

/// What a crate without IO and without a clock names nowhere.
const IO: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "println!",
];

#[test]
fn helm_core_and_helm_lines_read_no_clock_and_do_no_io() {
    for pure in ["crates/helm-core/src", "crates/helm-lines/src"] {
        for (file, line, text) in sources(&root().join(pure)).into_iter().filter(outside_tests()) {
            let word = IO.iter().find(|word| text.contains(**word));
            assert!(word.is_none(), "{}:{line}: {text}", file.display());
        }
    }
}

#[test]
fn helm_ingest_reads_no_clock_and_does_no_io() {
    for (file, line, text) in
        sources(&root().join("crates/helm-ingest/src")).into_iter().filter(outside_tests())
    {
        // The decoders of gzip and zstd read bytes in memory through `Read`.
        let unpacks = file.ends_with("unpack.rs") && !text.contains("std::io::std");
        let word = IO.iter().find(|word| text.contains(**word) && !(unpacks && **word == "std::io"));
        assert!(word.is_none(), "{}:{line}: {text}", file.display());
    }
}

/// What a pure crate links neither itself nor through others.
const WORLD: [&str; 13] = [
    "tokio",
    "mio",
    "hyper",
    "tonic",
    "prost",
    "sqlx",
    "sqlx-core",
    "rustix",
    "jiff",
    "helm-shim",
    "helm-proto",
    "helm-client",
    "helmd",
];

#[test]
fn helm_lines_and_helm_ingest_link_no_runtime_no_database_no_grpc() {
    refuse("helm-lines", &WORLD);
    refuse("helm-lines", &["libc"]);
    refuse("helm-ingest", &WORLD);
}

#[test]
fn the_keeper_links_no_runtime_no_database_no_grpc() {
    refuse(
        "helm-shim",
        &[
            "tokio",
            "mio",
            "hyper",
            "h2",
            "tonic",
            "prost",
            "tower",
            "sqlx",
            "sqlx-core",
            "helmd",
            "helm-proto",
            "helm-client",
        ],
    );
}

#[test]
fn clients_reach_services_through_helm_client_only() {
    for client in ["helmctl", "helm-web"] {
        refuse(client, &["helmd", "helm-shim", "helm-store", "sqlx-core"]);
    }
    refuse("helm-client", &["helmd", "helm-shim"]);
}

#[test]
fn only_three_packages_name_tonic_and_only_helm_store_sqlx() {
    let ours = tree(&["--workspace", "--depth", "0"]);
    let naming = |word: &str| -> BTreeSet<String> {
        let names = |package: &&String| {
            tree(&["-p", package, "--depth", "1", "-e", "normal,build,dev"])
                .iter()
                .any(|name| name == word || name.starts_with(&format!("{word}-")))
        };
        ours.iter().filter(names).cloned().collect()
    };
    let tonic = naming("tonic");
    let allowed: BTreeSet<String> = ["helm-client", "helm-proto", "helmd"].map(str::to_owned).into();
    assert!(tonic.is_subset(&allowed), "tonic is named by {tonic:?}");
    let store: BTreeSet<String> = ["helm-store".to_owned()].into();
    assert_eq!(naming("sqlx"), store, "sqlx is named outside helm-store");
}

#[test]
fn in_helmd_only_rpc_names_tonic() {
    let rpc = root().join("helmd/src/rpc");
    for (file, line, text) in sources(&root().join("helmd/src")) {
        let words = || text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let names =
            words().any(|w| w == "tonic" || w.starts_with("tonic_")) && !text.trim_start().starts_with("//");
        assert!(!names || file.starts_with(&rpc), "{}:{line}: {text}", file.display());
    }
}

#[test]
fn unsafe_is_allowed_in_the_keeper_only_and_must_say_why() {
    let mut manifests: Vec<PathBuf> = ["helmd", "helmctl", "helm-web", "tests", "benches"]
        .map(|d| root().join(d).join("Cargo.toml"))
        .into();
    let crates = fs::read_dir(root().join("crates")).expect("crates").flatten();
    manifests.extend(crates.map(|entry| entry.path().join("Cargo.toml")));
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("a manifest");
        let own = if manifest.parent().is_some_and(|dir| dir.ends_with("helm-shim")) {
            text.contains("undocumented_unsafe_blocks = \"deny\"")
        } else {
            text.contains("[lints]\nworkspace = true")
        };
        assert!(
            own,
            "{}: does not take the lints of the workspace (unsafe_code = \"forbid\")",
            manifest.display()
        );
    }
}

/// Lets through what is compiled into the library: a file ends, for us, where its tests begin.
fn outside_tests() -> impl FnMut(&(PathBuf, usize, String)) -> bool {
    let mut tests: Option<PathBuf> = None;
    move |(file, _, text)| {
        if text.trim() == "#[cfg(test)]"
            || file.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs")
        {
            tests = Some(file.clone());
        }
        tests.as_ref() != Some(file)
    }
}

/// Every line of every Rust file below, with its place.
fn sources(dir: &Path) -> Vec<(PathBuf, usize, String)> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).expect("sources").flatten() {
        let path = entry.path();
        if path.is_dir() {
            lines.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            lines.extend(text.lines().enumerate().map(|(n, line)| (path.clone(), n + 1, line.to_owned())));
        }
    }
    lines
}
