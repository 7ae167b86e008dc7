//! The log files of a service: segments numbered from birth, closed ones compressed, `current.log` a second name of the
//! newest. Readers name a place by segment number and offset in plain bytes: neither changes when a file is compressed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

/// The second name of the newest segment.
pub const CURRENT: &str = "current.log";

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number, from birth.
    pub number: u64,
    /// Where it is now. It may be compressed or deleted between the listing and the opening: list again then.
    pub path: PathBuf,
    /// It is compressed, and so will not grow.
    pub compressed: bool,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Segment {
    /// Opens it for reading at an offset in plain bytes. An offset beyond the end reads nothing.
    pub fn open_at(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if !self.compressed {
            file.seek(SeekFrom::Start(offset))?;
            return Ok(Box::new(file));
        }
        let mut plain = MultiGzDecoder::new(BufReader::new(file));
        io::copy(&mut plain.by_ref().take(offset), &mut io::sink())?;
        Ok(Box::new(plain))
    }
}

/// `0000000001.log`
pub fn file_name(number: u64) -> String {
    format!("{number:010}.log")
}

/// The number in a segment's name, and whether it is compressed.
fn parse_name(name: &str) -> Option<(u64, bool)> {
    let (stem, compressed) = match name.strip_suffix(".log.gz") {
        Some(stem) => (stem, true),
        None => (name.strip_suffix(".log")?, false),
    };
    let digits = stem.len() >= 10 && stem.bytes().all(|b| b.is_ascii_digit());
    Some((digits.then(|| stem.parse().ok())??, compressed))
}

/// Segments in `dir`, oldest first. A segment that is there plain and compressed (a compressor was killed before its
/// last step) is listed once, plain. None if the directory is not there.
pub fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Some((number, compressed)) = entry.file_name().to_str().and_then(parse_name) else { continue };
        let bytes = match entry.metadata() {
            Ok(meta) => meta.len(),
            // Deleted or compressed since: the next listing shows it.
            Err(_) => continue,
        };
        found.push(Segment { number, path: entry.path(), compressed, bytes });
    }
    found.sort_by_key(|s| (s.number, s.compressed));
    found.dedup_by_key(|s| s.number);
    Ok(found)
}

/// Compresses a closed segment into `FILE.gz` and removes it. Crash-safe: whatever stands after a kill is the plain
/// file, or both, or the compressed one; doing it again finishes it. Two at once: the second one leaves it alone.
pub fn compress(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mut plain = File::open(path)?;
    match rustix::fs::flock(&plain, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    if plain.metadata()?.nlink() == 0 {
        // Another compressor finished between our open and our lock.
        return Ok(());
    }
    let packed = with_suffix(path, ".gz");
    let temporary = with_suffix(path, ".gz.tmp");
    let mut encoder =
        flate2::write::GzEncoder::new(File::create(&temporary)?, flate2::Compression::default());
    let done = io::copy(&mut plain, &mut encoder)
        .and_then(|_| encoder.finish())
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary, &packed));
    if let Err(e) = done {
        let _ = fs::remove_file(&temporary);
        return Err(e);
    }
    fs::remove_file(path)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(segment: &Segment, offset: u64) -> String {
        let mut text = String::new();
        segment.open_at(offset).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn segments_keep_number_and_offsets_when_compressed() {
        let dir = tempfile::tempdir().unwrap();
        for (n, text) in [(1, "first\n"), (2, "second\n"), (10, "tenth\n")] {
            fs::write(dir.path().join(file_name(n)), text).unwrap();
        }
        fs::hard_link(dir.path().join(file_name(10)), dir.path().join(CURRENT)).unwrap();
        compress(&dir.path().join(file_name(1))).unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!(
            found.iter().map(|s| (s.number, s.compressed)).collect::<Vec<_>>(),
            [(1, true), (2, false), (10, false)]
        );
        assert_eq!(read_all(&found[0], 0), "first\n");
        assert_eq!(read_all(&found[0], 2), "rst\n");
        assert_eq!(read_all(&found[1], 2), "cond\n");
        assert_eq!(read_all(&found[0], 99), "");
    }

    #[test]
    fn a_killed_compressor_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name(1));
        fs::write(&path, "text\n").unwrap();
        fs::write(dir.path().join("0000000001.log.gz"), "torn").unwrap();
        fs::write(dir.path().join("0000000001.log.gz.tmp"), "torn too").unwrap();
        assert_eq!(read_all(&list(dir.path()).unwrap()[0], 0), "text\n");
        compress(&path).unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!((found.len(), found[0].compressed), (1, true));
        assert_eq!(read_all(&found[0], 0), "text\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_files_are_not_segments() {
        for name in ["current.log", "1.log", "0000000001.txt", "0000000001.log.gz.tmp", "00000000x1.log"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(parse_name("12345678901.log"), Some((12_345_678_901, false)));
    }
}
