//! The files of a store: names, modes, and changes that outlive a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use super::error::file_error;
use crate::engine::EngineError;
use crate::partition::Class;

/// Files beside a database: SQLite's own, and the mark of one that turned bad.
const COMPANIONS: [&str; 4] = ["-wal", "-shm", "-journal", ".suspect"];

/// How the names of files begin that retention took out of the log.
const GONE: &str = ".gone-";

/// Between two looks whether a file that is written is still where it was.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Runs file work where it may block.
pub(crate) async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(join) => {
            Err(EngineError::Other { what: "file work was not finished".into(), source: Box::new(join) })
        }
    }
}

/// `NNNNNNNN-CLASS.db`. What would not do in a file's name is written as `%` and two digits.
pub(super) fn segment_name(number: u32, class: &Class) -> String {
    let mut name = format!("{number:08}-");
    for byte in class.0.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name + ".db"
}

/// Number of the partition that a file's name names, set aside or not.
fn segment_number(name: &str) -> Option<u32> {
    name.split_once('-').filter(|(digits, _)| digits.len() >= 8)?.0.parse().ok()
}

/// Class that a segment's file name names.
pub(super) fn segment_class(path: &Path) -> Option<Class> {
    let (_, written) = path.file_stem()?.to_str()?.split_once('-')?;
    let mut parts = written.split('%');
    let mut class = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        class.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        class.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(class).ok().map(Class)
}

/// What lies in the directory of segments.
pub(super) struct Listing {
    /// Segments, by number.
    pub(super) segments: Vec<(u32, PathBuf)>,
    /// Databases whose names Helm never gave: copies that somebody made.
    pub(super) strange: Vec<PathBuf>,
    /// Highest number that was ever given, as far as names tell.
    pub(super) highest: Option<u32>,
}

/// Segments, and nothing else that may lie there.
pub(super) fn segments(log: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let failed = |e| file_error("could not list", log, e);
    let mut segments = Vec::new();
    for item in fs::read_dir(log).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let name = path.file_name().and_then(|n| n.to_str());
        if name.and_then(segment_number).is_some() && path.extension().is_some_and(|e| e == "db") {
            segments.push(path);
        }
    }
    segments.sort();
    Ok(segments)
}

/// Lists segments, and takes away what a crash left half made.
pub(super) fn list(log: &Path) -> Result<Listing, EngineError> {
    let failed = |e| file_error("could not list", log, e);
    let mut listing = Listing { segments: Vec::new(), strange: Vec::new(), highest: None };
    for item in fs::read_dir(log).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
        if name.starts_with(".new-") || name.starts_with(GONE) {
            fs::remove_file(&path).map_err(|e| file_error("could not remove", &path, e))?;
        } else if let Some(number) = segment_number(name) {
            listing.highest = listing.highest.max(Some(number));
            let is_ours = segment_class(&path).is_some_and(|class| segment_name(number, &class) == name);
            if is_ours {
                listing.segments.push((number, path));
            } else if path.extension().is_some_and(|e| e == "db") {
                listing.strange.push(path);
            }
        }
    }
    listing.segments.sort();
    Ok(listing)
}

/// Makes a directory that only its owner enters.
pub(super) fn make_directory(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| file_error("could not make the directory", path, e))
}

/// By which a file is known, whatever its name.
pub(crate) async fn inode(path: &Path) -> Result<u64, EngineError> {
    let path = path.to_owned();
    off(move || fs::metadata(&path).map(|m| m.ino()).map_err(|e| file_error("could not look for", &path, e)))
        .await
}

/// Whether the file of this number is still there: SQLite writes on into one that was moved or deleted, and nobody would ever find that.
pub(crate) async fn is_in_place(path: &Path, number: u64) -> Result<(), EngineError> {
    match inode(path).await.is_ok_and(|there| there == number) {
        true => Ok(()),
        false => Err(EngineError::Damaged(format!(
            "`{}` was moved or deleted while it was written",
            path.display()
        ))),
    }
}

/// Makes an empty file that only its owner reads, unless it is there.
pub(crate) fn make_file(path: &Path) -> Result<(), EngineError> {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map(drop).map_err(|e| file_error("could not make", path, e))
}

/// Makes a file's content and its directory's outlive a power cut.
pub(super) fn sync(path: &Path) -> Result<(), EngineError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    for path in [path, directory] {
        let synced = File::open(path).and_then(|f| f.sync_all());
        synced.map_err(|e| file_error("could not sync", path, e))?;
    }
    Ok(())
}

/// Gives a finished file its name.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), EngineError> {
    sync(from)?;
    fs::rename(from, to).map_err(|e| file_error("could not rename", from, e))?;
    sync(to)
}

/// Nobody writes it any more.
pub(super) fn make_read_only(path: &Path) -> Result<(), EngineError> {
    set_mode(path, 0o440)
}

/// Whether nobody may write it.
pub(super) fn is_read_only(path: &Path) -> Result<bool, EngineError> {
    let meta = fs::metadata(path).map_err(|e| file_error("could not look at", path, e))?;
    Ok(meta.permissions().readonly())
}

/// Its owner may write it.
pub(super) fn make_writable(path: &Path) -> Result<(), EngineError> {
    set_mode(path, 0o600)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), EngineError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| file_error("could not set the mode of", path, e))?;
    sync(path)
}

fn with_companions(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    std::iter::once("").chain(COMPANIONS).map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Takes a database away. It may be gone already.
pub(super) fn remove(path: &Path) -> Result<(), EngineError> {
    for path in with_companions(path) {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(file_error("could not remove", &path, e));
            }
            _ => {}
        }
    }
    let log = path.parent().unwrap_or(Path::new("."));
    File::open(log).and_then(|d| d.sync_all()).map_err(|e| file_error("could not sync", log, e))
}

/// Takes a database out of the log, at once and for good; the file under its new name is all that is left. It may be gone already.
pub(super) fn set_apart(path: &Path) -> Result<PathBuf, EngineError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let gone = path.with_file_name(format!("{GONE}{name}"));
    if path.exists() {
        make_writable(path)?;
        fs::rename(path, &gone).map_err(|e| file_error("could not take out of the log", path, e))?;
    }
    // What belonged to it, and the directory.
    remove(path)?;
    Ok(gone)
}

/// Moves a damaged database and what belongs to it out of the way; nothing is deleted. Returns its new name.
pub(crate) fn set_aside(path: &Path, seconds: u64) -> Result<PathBuf, EngineError> {
    let named = |path: &Path, n: u64| PathBuf::from(format!("{}.damaged-{}", path.display(), seconds + n));
    // What was moved aside within the same second stays.
    let free = (0..).find(|n| with_companions(path).all(|path| !named(&path, *n).exists())).unwrap_or(0);
    let aside = |path: &Path| named(path, free);
    for path in with_companions(path) {
        if path.exists() {
            fs::rename(&path, aside(&path)).map_err(|e| file_error("could not move aside", &path, e))?;
        }
    }
    let to = aside(path);
    // Somebody else may have taken it away.
    if to.exists() {
        sync(&to)?;
    }
    Ok(to)
}

/// Held back for a disk that is full: the group that waits, what its journal makes of it, and the record of what goes.
const RESERVE: u64 = 24 << 20;

fn reserve(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

/// Holds room back, unless it would be missed.
pub(super) fn hold_back(dir: &Path) {
    let path = reserve(dir);
    let plenty = |disk: rustix::fs::StatVfs| disk.f_bavail.saturating_mul(disk.f_frsize) / 20 >= RESERVE;
    if !rustix::fs::statvfs(dir).is_ok_and(plenty) {
        return;
    }
    if fs::metadata(&path).is_ok_and(|file| file.len() >= RESERVE) {
        return;
    }
    let made = make_file(&path).and_then(|()| {
        let file =
            OpenOptions::new().write(true).open(&path).map_err(|e| file_error("could not open", &path, e))?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE)
            .map_err(|e| file_error("could not hold back", &path, e.into()))
    });
    if made.is_err() {
        let _nothing_is_held_back = fs::remove_file(&path);
    }
}

/// Gives it up.
pub(super) fn make_room(dir: &Path) -> Result<(), EngineError> {
    match fs::remove_file(reserve(dir)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(file_error("could not remove", &reserve(dir), e))
        }
        _ => Ok(()),
    }
}

/// Bytes that a database holds. Its journal is not counted: it holds pages again and again, and is given back when the database is closed.
pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}

/// Held while a helmd uses the store; names its process to whoever comes second.
pub(super) fn lock(dir: &Path) -> Result<File, EngineError> {
    let path = dir.join("lock");
    let failed = |e| file_error("could not lock", &path, e);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _unreadable_is_unknown = file.read_to_string(&mut pid);
        let holder =
            if pid.trim().is_empty() { "another process".into() } else { format!("process {}", pid.trim()) };
        return Err(EngineError::Denied(format!(
            "`{}` is in use by {holder}: two helmds cannot share one SQLite store; stop that one, or give this one another home",
            dir.display()
        )));
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_number_and_class() {
        let name = segment_name(12, &Class("a/b".into()));
        assert_eq!(name, "00000012-a%2fb.db");
        assert_eq!(segment_number(&name), Some(12));
        assert_eq!(segment_class(Path::new(&name)), Some(Class("a/b".into())));
        assert_eq!(segment_class(Path::new("00000001-de_fault.db")), Some(Class("de_fault".into())));
        assert_eq!(segment_number("00000013-default.db.damaged-17"), Some(13));
        assert_eq!(segment_number("main.db"), None);
    }
}
