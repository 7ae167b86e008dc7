//! Links the keeper statically and at a fixed address: without relocations the pages of its tables stay shared between
//! all keepers, and no loader runs at each start (measured: docs/keeper.md, "Size").
//!
//! A target feature (`crt-static`) can only be set for all programs of a build, and helmd needs the shared libc for its
//! name look-ups. So the shared libraries are led to their static forms by linker scripts that are found first. Where the
//! static forms are not installed the keeper is linked to the shared ones.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|v| v == value);
    if !(is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu")) {
        return Ok(());
    }
    println!("cargo:rustc-link-arg-bins=-no-pie");
    // The compiler of another target is not ours to guess; before glibc 2.34 there are more libraries than these.
    let simple =
        env::var("HOST").is_ok_and(|host| is("TARGET", &host)) && installed("libpthread.so").is_none();
    let libraries: Option<Vec<String>> =
        ["libgcc_eh.a", "libgcc.a", "libm.a", "libc.a"].into_iter().map(installed).collect();
    if let (true, Some(libraries), Some(dir)) = (simple, libraries, env::var_os("OUT_DIR").map(PathBuf::from))
    {
        let script = format!("GROUP ( {} )\n", libraries.join(" "));
        for shared in ["libgcc_s.so", "libm.so", "libc.so"] {
            fs::write(dir.join(shared), &script)?;
        }
        println!("cargo:rustc-link-arg-bins=-static");
        println!("cargo:rustc-link-arg-bins=-L{}", dir.display());
    }
    Ok(())
}

/// Where the C compiler has this library, if it has it: it answers with a bare name otherwise.
fn installed(name: &str) -> Option<String> {
    let answer = Command::new("cc").arg(format!("-print-file-name={name}")).output().ok()?;
    let path = String::from_utf8(answer.stdout).ok()?.trim().to_owned();
    (Path::new(&path).is_absolute() && Path::new(&path).is_file()).then_some(path)
}
