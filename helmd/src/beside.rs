//! The programs of Helm that helmd starts: the versions belong together, so they lie beside it.

use std::io;
use std::path::{Path, PathBuf};

/// Where a program of Helm is: beside helmd, else in helmd's own PATH; if it is nowhere, the place where it should be.
///
/// # Errors
/// helmd cannot find itself.
pub fn find(name: &str) -> io::Result<Result<PathBuf, PathBuf>> {
    let beside = std::env::current_exe()?.with_file_name(name);
    if beside.is_file() {
        return Ok(Ok(beside));
    }
    Ok(in_path(Path::new(name)).ok_or(beside))
}

/// Where a program is that was called by its name alone.
pub(crate) fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}
