//! How far the store is behind the services' log files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use helm_shim::segments::{self, Segment};

use crate::follow::Place;

/// Up to where the output of each service is stored, as its capture last heard. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stored(Arc<Mutex<BTreeMap<String, Place>>>);

impl Stored {
    /// Everything before `place` is in the store.
    pub fn tell(&self, service: &str, place: Place) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned(), place);
    }

    /// As it is known now; a service whose place is not known yet is missing.
    pub fn all(&self) -> BTreeMap<String, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Plain bytes of the segments in `dir` behind `place`. Blocking.
pub fn behind(dir: &Path, place: Place) -> io::Result<u64> {
    let mut bytes = 0;
    for segment in segments::list(dir)?.iter().filter(|segment| segment.number >= place.segment) {
        let from = if segment.number == place.segment { place.offset } else { 0 };
        bytes += plain(segment)?.saturating_sub(from);
    }
    Ok(bytes)
}

/// Bytes before compression: a gzip file ends with their number (modulo 4 GiB, more than a segment ever has).
fn plain(segment: &Segment) -> io::Result<u64> {
    if !segment.compressed {
        return Ok(segment.bytes);
    }
    let read = || {
        let mut file = File::open(&segment.path)?;
        file.seek(SeekFrom::End(-4))?;
        let mut length = [0; 4];
        file.read_exact(&mut length)?;
        Ok(u64::from(u32::from_le_bytes(length)))
    };
    match read() {
        // Deleted since it was listed: nothing of it can be behind.
        Err(e) if io::Error::kind(&e) == io::ErrorKind::NotFound => Ok(0),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_behind_the_place_is_counted_compressed_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for number in 1..=3 {
            fs::write(dir.path().join(segments::file_name(number)), vec![b'x'; 1000]).unwrap();
        }
        let at = |segment, offset| behind(dir.path(), Place { segment, offset }).unwrap();
        let plain = [at(0, 0), at(2, 400), at(3, 1000), at(4, 0)];
        assert_eq!(plain, [3000, 1600, 0, 0]);
        for number in 1..=2 {
            segments::compress(&dir.path().join(segments::file_name(number))).unwrap();
        }
        assert_eq!([at(0, 0), at(2, 400), at(3, 1000), at(4, 0)], plain);
    }
}
