//! What SQLite says, as an engine says it.

use std::path::Path;

use crate::engine::EngineError;

/// Primary result codes, <https://www.sqlite.org/rescode.html>.
mod code {
    pub(super) const PERM: i32 = 3;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const IOERR: i32 = 10;
    /// Extended: the file was moved or deleted under the connection.
    pub(super) const READONLY_DBMOVED: i32 = 1032;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const AUTH: i32 = 23;
    pub(super) const NOTADB: i32 = 26;
    /// Extended: the disk did not take a write, a sync, a truncation or a growth.
    pub(super) const IOERR_OF_WRITING: [i32; 5] = [778, 1034, 1290, 1546, 4874];
    /// Extended: the disk does not give what it should hold.
    pub(super) const IOERR_OF_CONTENT: [i32; 3] = [8202, 8458, 522];
}

/// `what` says what was tried, to which file.
pub(crate) fn engine_error(what: &str, path: &Path, source: sqlx::Error) -> EngineError {
    let place = path.display();
    let said = source.as_database_error().map_or_else(|| source.to_string(), |e| e.message().to_owned());
    let code = source.as_database_error().and_then(|e| e.code());
    let extended = code.and_then(|c| c.parse::<i32>().ok()).unwrap_or(0);
    let text = format!("{what} in `{place}`: {said}");
    match extended & 0xff {
        code::FULL => EngineError::Full(full(&text)),
        code::IOERR if code::IOERR_OF_WRITING.contains(&extended) => EngineError::Full(full(&text)),
        code::IOERR if code::IOERR_OF_CONTENT.contains(&extended) => EngineError::Damaged(text),
        code::IOERR | code::BUSY | code::LOCKED => EngineError::Away(text),
        code::CORRUPT | code::NOTADB => EngineError::Damaged(text),
        code::READONLY if extended == code::READONLY_DBMOVED => {
            EngineError::Damaged(format!("{text}; somebody moved or deleted the file"))
        }
        code::READONLY => EngineError::Denied(format!(
            "{text}; the disk or the file is read-only: make it writable, or give helmd another home"
        )),
        code::PERM | code::CANTOPEN | code::AUTH => EngineError::Denied(format!(
            "{text}; the user that helmd runs as must own the directory and be able to write there"
        )),
        _ => EngineError::Other { what: format!("{what} in `{place}`"), source: Box::new(source) },
    }
}

fn full(text: &str) -> String {
    format!("{text}; make room on its disk, or let the log keep less: `helmctl retention set`")
}

/// The same for what was tried with a file itself.
pub(crate) fn file_error(what: &str, path: &Path, source: std::io::Error) -> EngineError {
    use std::io::ErrorKind;
    let text = format!("{what} `{}`: {source}", path.display());
    // Every other kind is named by what was tried; the list of kinds is not ours and grows.
    #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum")]
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => EngineError::Full(full(&text)),
        ErrorKind::PermissionDenied => EngineError::Denied(format!(
            "{text}; the user that helmd runs as must own the directory and be able to write there"
        )),
        ErrorKind::ReadOnlyFilesystem => EngineError::Denied(format!(
            "{text}; the disk is read-only: make it writable, or give helmd another home"
        )),
        _ => EngineError::Other { what: format!("{what} `{}`", path.display()), source: Box::new(source) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_passes_and_a_missing_right_does_not() {
        let path = Path::new("/x");
        let error = |kind| file_error("could not write", path, std::io::Error::from(kind));
        assert!(error(std::io::ErrorKind::StorageFull).passes());
        let denied = error(std::io::ErrorKind::ReadOnlyFilesystem);
        assert!(!denied.passes() && denied.to_string().contains("read-only"), "{denied}");
    }
}
