//! The segments as their writer sees them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use helm_core::spec::LogRules;
use helm_shim::segments::{CURRENT, file_name, list};

/// The segment that is written, and the directory of all of them.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    open: Option<(u64, File)>,
}

impl Files {
    pub(crate) fn new(dir: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, open: None })
    }

    /// Number of the newest segment, 0 if there is none.
    pub(crate) fn newest(&self) -> io::Result<u64> {
        Ok(list(&self.dir)?.last().map_or(0, |s| s.number))
    }

    /// Writes a batch at its place. `cut`: what stands behind it was torn by a kill and goes.
    pub(crate) fn write(&mut self, segment: u64, offset: u64, bytes: &[u8], cut: bool) -> io::Result<()> {
        let file = self.segment(segment)?;
        file.write_all_at(bytes, offset)?;
        if cut {
            file.set_len(offset + bytes.len() as u64)?;
        }
        Ok(())
    }

    /// The segment is there up to `offset`.
    pub(crate) fn reaches(&self, segment: u64, offset: u64) -> bool {
        offset == 0 || fs::metadata(self.dir.join(file_name(segment))).is_ok_and(|m| m.len() >= offset)
    }

    /// Somebody deleted the open segment, with its second name: what is written to it is lost.
    pub(crate) fn is_deleted(&self) -> bool {
        self.open.as_ref().is_some_and(|(_, file)| file.metadata().is_ok_and(|m| m.nlink() == 0))
    }

    fn segment(&mut self, number: u64) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(n, _)| *n != number) {
            self.open = None;
            let path = self.dir.join(file_name(number));
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(&path)?;
            // A rename between two names of one file does nothing, so the temporary name is removed in any case.
            let temporary = self.dir.join("current.log.tmp");
            let _ = fs::remove_file(&temporary);
            fs::hard_link(&path, &temporary)?;
            fs::rename(&temporary, self.dir.join(CURRENT))?;
            let _ = fs::remove_file(&temporary);
            self.open = Some((number, file));
        }
        match &self.open {
            Some((_, file)) => Ok(file),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The oldest closed segment that is not compressed.
    pub(crate) fn to_compress(&self, newest: u64) -> Option<PathBuf> {
        list(&self.dir).ok()?.into_iter().find(|s| !s.compressed && s.number < newest).map(|s| s.path)
    }

    /// Removes the oldest segments until the rest is within the bound; never the newest.
    pub(crate) fn bound(&self, rules: &LogRules, newest: u64) -> io::Result<()> {
        let all = list(&self.dir)?;
        let mut total: u64 = all.iter().map(|s| s.bytes).sum();
        for old in all.iter().filter(|s| s.number < newest) {
            if total <= rules.total_bytes {
                break;
            }
            match fs::remove_file(&old.path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
            total -= old.bytes;
        }
        Ok(())
    }
}
