//! A small file system of a test's own. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until it is dropped.
#[derive(Debug)]
pub struct Small(PathBuf);

impl Small {
    /// At `path`, with 2 MiB.
    #[track_caller]
    pub fn at(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        mount(&["-t", "tmpfs", "-o", "size=2m", "none"], &path);
        Self(path)
    }

    /// Makes room for what was kept while it was full, too.
    #[track_caller]
    pub fn grow(&self) {
        mount(&["-o", "remount,size=64m"], &self.0);
    }

    /// Whether anybody may write there. Only while nobody does.
    #[track_caller]
    pub fn write(&self, may: bool) {
        mount(&["-o", if may { "remount,rw" } else { "remount,ro" }], &self.0);
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[track_caller]
fn mount(words: &[&str], path: &Path) {
    let done = Command::new("mount").args(words).arg(path).status();
    assert!(done.is_ok_and(|status| status.success()), "mount {words:?} needs root");
}
