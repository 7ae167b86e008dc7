//! Reads the captured lines of one service from its segments, forwards, and waits for more. Blocking reads, done in
//! bounded pieces on the pool's threads; waiting is `changes`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use helm_core::time::Wall;
use helm_shim::cri;
use helm_shim::segments::{self, Segment};
use memchr::memchr_iter;

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// One captured line, or a piece of a very long one.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// When it was captured.
    pub at: Wall,
    /// From stderr.
    pub stderr: bool,
    /// The line goes on.
    pub partial: bool,
    /// Without the line end, exactly as written.
    pub text: Vec<u8>,
}

impl Line {
    fn of(piece: cri::Piece<'_>) -> Self {
        Self { at: piece.at, stderr: piece.stream == 1, partial: !piece.full, text: piece.text.to_owned() }
    }
}

/// A place in the captured output of one service.
pub struct Follower {
    dir: PathBuf,
    /// The open segment.
    at: Option<Open>,
    /// Number of the next segment to open.
    next: u64,
    /// The begin of a line whose end is not read yet.
    carry: Vec<u8>,
}

struct Open {
    number: u64,
    reader: Box<dyn Read + Send>,
}

impl Follower {
    /// From the begin of segment `first`, or of the oldest one that is still there after it.
    pub fn from_segment(dir: PathBuf, first: u64) -> Self {
        Self { dir, at: None, next: first, carry: Vec::new() }
    }

    /// The next piece of complete lines; empty at the end of what is there. Blocking.
    pub fn read(&mut self) -> io::Result<Vec<Line>> {
        loop {
            if self.at.is_none() && !self.open_next()? {
                return Ok(Vec::new());
            }
            // Whether there is a newer segment must be known before this one is read to its end.
            let newer = self.newer()?;
            let lines = self.piece()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            if !newer {
                return Ok(Vec::new());
            }
            self.at = None;
            self.carry.clear();
        }
    }

    /// Opens the next segment that is still there; false if there is none. A segment may be compressed or removed
    /// between the listing and the opening: then the directory is listed again.
    fn open_next(&mut self) -> io::Result<bool> {
        loop {
            let Some(segment) = segments::list(&self.dir)?.into_iter().find(|s| s.number >= self.next) else {
                return Ok(false);
            };
            match segment.open_at(0) {
                Ok(reader) => {
                    self.at = Some(Open { number: segment.number, reader });
                    self.next = segment.number + 1;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn newer(&self) -> io::Result<bool> {
        let current = self.at.as_ref().map_or(0, |open| open.number);
        Ok(segments::list(&self.dir)?.iter().any(|s| s.number > current))
    }

    /// Complete lines of the open segment, reading on until there is one or its end is reached.
    fn piece(&mut self) -> io::Result<Vec<Line>> {
        let Some(open) = &mut self.at else { return Ok(Vec::new()) };
        loop {
            let had = self.carry.len();
            let read = open.reader.by_ref().take(PIECE as u64).read_to_end(&mut self.carry)?;
            if read == 0 {
                return Ok(Vec::new());
            }
            let mut lines = Vec::new();
            let mut start = 0;
            for end in memchr_iter(b'\n', &self.carry[had..]).map(|i| i + had) {
                lines.extend(cri::parse(&self.carry[start..end]).map(Line::of));
                start = end + 1;
            }
            self.carry.drain(..start);
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }
}

/// The segment in which the last `lines` lines begin, looking back from the newest. Blocking.
pub fn segment_of_last(dir: &Path, wanted: impl Fn(&Line) -> bool, lines: usize) -> io::Result<u64> {
    let all = segments::list(dir)?;
    let mut left = lines;
    let mut first = all.last().map_or(1, |s| s.number);
    for segment in all.iter().rev() {
        first = segment.number;
        let found = count(segment, &wanted)?;
        if found >= left {
            break;
        }
        left -= found;
    }
    Ok(first)
}

fn count(segment: &Segment, wanted: &impl Fn(&Line) -> bool) -> io::Result<usize> {
    let mut follower = Follower {
        dir: PathBuf::new(),
        at: Some(Open { number: segment.number, reader: segment.open_at(0)? }),
        next: 0,
        carry: Vec::new(),
    };
    let mut found = 0;
    loop {
        let lines = follower.piece()?;
        if lines.is_empty() {
            return Ok(found);
        }
        found += lines.iter().filter(|l| wanted(l) && !l.partial).count();
    }
}

/// The newest segment that begins at or before `since`, else the oldest one. Blocking.
pub fn segment_since(dir: &Path, since: Wall) -> io::Result<u64> {
    let all = segments::list(dir)?;
    for segment in all.iter().rev() {
        let mut follower = Follower::from_segment(dir.to_owned(), segment.number);
        if follower.read()?.first().is_some_and(|line| line.at <= since) {
            return Ok(segment.number);
        }
    }
    Ok(all.first().map_or(1, |s| s.number))
}

/// Makes sure that the directory of a service's segments is there to be watched.
pub fn ensure(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir).and_then(|()| File::open(dir).map(drop))
}
