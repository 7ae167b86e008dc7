//! A flood through one service's stdout, until its last line is in the supervisor's file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flate2::read::MultiGzDecoder;

use crate::peers::Peer;
use crate::place::{Place, Service};
use crate::procs;
use crate::rows::seconds;
use crate::{Error, Result};

/// Longest flood.
const BOUND: Duration = Duration::from_secs(120);
/// The numbers stand after this, in ten digits.
const TAG: &[u8] = b"n=";
const DIGITS: usize = 10;

/// What became of one flood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flood {
    /// From the service's `main` to the last line in the file.
    pub(crate) seconds: f64,
    /// Lines that stand nowhere.
    pub(crate) lost: u64,
    /// Lines that stand more than once.
    pub(crate) doubled: u64,
}

/// One service writes `n` lines of 100 bytes as fast as they are taken.
pub(crate) fn flood(peer: &dyn Peer, child: &Path, n: u64) -> Result<Flood> {
    let service = Service { name: "flood".to_owned(), lines: n };
    let mut place = Place::new(child)?;
    peer.lay_out(&place, std::slice::from_ref(&service))?;
    place.start(peer.command(&place))?;
    let what = format!("{} to start the flood", peer.name());
    let begin = place.wait(&what, BOUND, |marks| !marks.is_empty())?[&service.name].at;
    let (dir, prefix) = peer.logs(&place, &service.name);
    let last = format!("n={:010} ", n - 1);
    let end = arrival(peer, &dir, &prefix, last.as_bytes())?;
    let (lost, doubled) = count(&dir, &prefix, n)?;
    Ok(Flood { seconds: seconds(begin, end), lost, doubled })
}

/// When the line first stood at the end of a file. Only files that changed are looked at.
fn arrival(peer: &dyn Peer, dir: &Path, prefix: &str, last: &[u8]) -> Result<u64> {
    let begin = Instant::now();
    let mut sizes = BTreeMap::new();
    loop {
        for path in files(dir, prefix) {
            let Ok(file) = File::open(&path) else { continue };
            let size = file.metadata().map_or(0, |meta| meta.len());
            if sizes.insert(path, size) != Some(size)
                && tail(&file, size).is_some_and(|tail| find(&tail, last).is_some())
            {
                return Ok(procs::now());
            }
        }
        if begin.elapsed() > BOUND {
            let what = format!("the last line of {} in {}", peer.name(), dir.display());
            return Err(Error::Late { what, bound: BOUND, said: String::new() });
        }
        procs::pause(Duration::from_millis(2));
    }
}

fn tail(file: &File, size: u64) -> Option<Vec<u8>> {
    let length = size.min(512);
    let mut tail = vec![0; usize::try_from(length).ok()?];
    file.read_exact_at(&mut tail, size - length).ok()?;
    Some(tail)
}

fn files(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let files = entries.filter(|entry| {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        let whole = entry.path().extension().is_none_or(|extension| extension != "tmp");
        named && whole && entry.file_type().is_ok_and(|kind| kind.is_file())
    });
    files.map(|entry| entry.path()).collect()
}

/// Lines lost and doubled, from the numbers in all files. A file that is compressed meanwhile has both forms for a
/// moment, so the count is repeated until two agree.
fn count(dir: &Path, prefix: &str, n: u64) -> Result<(u64, u64)> {
    let mut before = None;
    loop {
        procs::pause(Duration::from_millis(500));
        let found = count_once(dir, prefix, n)?;
        if before == Some(found) {
            return Ok(found);
        }
        before = Some(found);
    }
}

fn count_once(dir: &Path, prefix: &str, n: u64) -> Result<(u64, u64)> {
    let mut seen = vec![0u8; usize::try_from(n).map_err(|_| Error::Nothing)?];
    for path in files(dir, prefix) {
        let mut text = match fs::read(&path) {
            Ok(text) => text,
            // Compressed, and gone, since it was listed; the next count sees what came of it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::at(&path)(error)),
        };
        if path.extension().is_some_and(|extension| extension == "gz") {
            let mut plain = Vec::new();
            MultiGzDecoder::new(&text[..]).read_to_end(&mut plain).map_err(Error::at(&path))?;
            text = plain;
        }
        for number in text.split(|&byte| byte == b'\n').filter_map(number) {
            if let Some(times) = seen.get_mut(number) {
                *times = times.saturating_add(1);
            }
        }
    }
    let lost = seen.iter().filter(|&&times| times == 0).count() as u64;
    let doubled = seen.iter().filter(|&&times| times > 1).count() as u64;
    Ok((lost, doubled))
}

fn number(line: &[u8]) -> Option<usize> {
    let at = find(line, TAG)? + TAG.len();
    std::str::from_utf8(line.get(at..at + DIGITS)?).ok()?.parse().ok()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}
