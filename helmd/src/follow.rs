//! Reads the captured lines of one service from its segments, forwards, and waits for more. Blocking reads, done in
//! bounded pieces on the pool's threads; waiting is `changes`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use helm_core::time::Wall;
use helm_shim::cri;
use helm_shim::segments::{self, Segment};
use memchr::memchr_iter;

/// Bytes read at once.
const PIECE: usize = 256 << 10;

/// Most bytes from the past: what somebody asks for beyond that is in the files.
const PAST_BYTES: usize = 32 << 20;

/// A place between two lines: number of the segment, and offset in its plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Segment.
    pub segment: u64,
    /// Offset.
    pub offset: u64,
}

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
    /// Where the next line begins.
    pub end: Place,
}

impl Line {
    fn of(piece: cri::Piece<'_>, end: Place) -> Self {
        let (stderr, partial) = (piece.stream == 1, !piece.full);
        Self { at: piece.at, stderr, partial, text: piece.text.to_owned(), end }
    }
}

/// A place in the captured output of one service.
pub struct Follower {
    dir: PathBuf,
    /// The open segment.
    at: Option<Open>,
    /// The next segment to open, and where in it; a later one, if it is gone, is read from its begin.
    next: Place,
    /// The begin of a line whose end is not read yet.
    carry: Vec<u8>,
    /// Whether the last reading came to the end of what was there.
    ended: bool,
}

struct Open {
    reader: Box<dyn Read + Send>,
    /// Behind the lines that were handed out.
    place: Place,
}

impl Follower {
    /// From the begin of segment `first`, or of the oldest one that is still there after it.
    pub fn from_segment(dir: PathBuf, first: u64) -> Self {
        Self::from_place(dir, Place { segment: first, offset: 0 })
    }

    /// From a place that an earlier reader came to, or from the oldest line that is still there after it.
    pub fn from_place(dir: PathBuf, next: Place) -> Self {
        Self { dir, at: None, next, carry: Vec::new(), ended: false }
    }

    /// Behind the last line that was read.
    pub fn place(&self) -> Place {
        self.at.as_ref().map_or(self.next, |open| open.place)
    }

    /// Whether the last reading came to the end of what was there when it began: the next one need not follow at once.
    pub fn at_end(&self) -> bool {
        self.ended
    }

    /// The next piece of complete lines; empty at the end of what is there. Blocking.
    pub fn read(&mut self) -> io::Result<Vec<Line>> {
        loop {
            if self.at.is_none() && !self.open_next()? {
                self.ended = true;
                return Ok(Vec::new());
            }
            // Whether there is a newer segment must be known before this one is read to its end.
            let newer = self.newer()?;
            let (lines, short) = self.piece()?;
            self.ended = short && !newer;
            if !lines.is_empty() || self.ended {
                return Ok(lines);
            }
            self.at = None;
            self.carry.clear();
        }
    }

    /// Opens the next segment that is still there; false if there is none. A segment may be compressed or removed
    /// between the listing and the opening: then the directory is listed again.
    fn open_next(&mut self) -> io::Result<bool> {
        loop {
            let Some(segment) =
                segments::list(&self.dir)?.into_iter().find(|s| s.number >= self.next.segment)
            else {
                return Ok(false);
            };
            let offset = if segment.number == self.next.segment { self.next.offset } else { 0 };
            match segment.open_at(offset) {
                Ok(reader) => {
                    self.at = Some(Open { reader, place: Place { segment: segment.number, offset } });
                    self.next = Place { segment: segment.number + 1, offset: 0 };
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn newer(&self) -> io::Result<bool> {
        let current = self.at.as_ref().map_or(0, |open| open.place.segment);
        Ok(segments::list(&self.dir)?.iter().any(|s| s.number > current))
    }

    /// Complete lines of the open segment, reading on until there is one or its end is reached; and whether it was.
    fn piece(&mut self) -> io::Result<(Vec<Line>, bool)> {
        let Some(open) = &mut self.at else { return Ok((Vec::new(), true)) };
        loop {
            let had = self.carry.len();
            let read = open.reader.by_ref().take(PIECE as u64).read_to_end(&mut self.carry)?;
            if read == 0 {
                return Ok((Vec::new(), true));
            }
            let mut lines = Vec::new();
            let mut start = 0;
            for end in memchr_iter(b'\n', &self.carry[had..]).map(|i| i + had) {
                open.place.offset += (end + 1 - start) as u64;
                lines.extend(cri::parse(&self.carry[start..end]).map(|piece| Line::of(piece, open.place)));
                start = end + 1;
            }
            self.carry.drain(..start);
            if !lines.is_empty() {
                return Ok((lines, read < PIECE));
            }
        }
    }
}

/// What a line takes in memory: an empty one is not free.
pub fn held(line: &Line) -> usize {
    size_of::<Line>() + line.text.len()
}

/// The last lines of those that are wanted, and a follower that stands behind them. Blocking.
pub fn tail(
    dir: PathBuf,
    wanted: impl Fn(&Line) -> bool,
    lines: usize,
) -> io::Result<(Follower, VecDeque<Line>)> {
    let first = segment_of_last(&dir, &wanted, lines)?;
    let mut follower = Follower::from_segment(dir, first);
    let (mut last, mut complete, mut bytes) = (VecDeque::<Line>::new(), 0_usize, 0_usize);
    loop {
        let read = follower.read()?;
        if read.is_empty() {
            return Ok((follower, last));
        }
        for line in read.into_iter().filter(&wanted) {
            complete += usize::from(!line.partial);
            bytes += held(&line);
            last.push_back(line);
            // Pieces of a long line count as one with their end.
            while (complete > lines || bytes > PAST_BYTES)
                && let Some(old) = last.pop_front()
            {
                complete -= usize::from(!old.partial);
                bytes -= held(&old);
            }
        }
    }
}

/// The lines behind a place that is not far from the end, as far as they were captured until then. Blocking.
pub fn from(dir: PathBuf, place: Place, until: Wall) -> io::Result<VecDeque<Line>> {
    let (mut follower, mut lines) = (Follower::from_place(dir, place), VecDeque::new());
    loop {
        let read = follower.read()?;
        let later = read.iter().any(|line| line.at > until);
        let end = read.is_empty() || later;
        lines.extend(read.into_iter().filter(|line| line.at <= until));
        if end {
            return Ok(lines);
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
        at: Some(Open { reader: segment.open_at(0)?, place: Place { segment: segment.number, offset: 0 } }),
        next: Place::default(),
        carry: Vec::new(),
        ended: false,
    };
    let mut found = 0;
    loop {
        let (lines, _) = follower.piece()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 4] = ["one", "two", "three", "four"];

    /// Two lines a segment, the first one compressed.
    fn captured() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text = |words: &[&str]| -> String {
            words.iter().map(|w| format!("2026-01-01T00:00:00.000000000Z stdout F {w}\n")).collect()
        };
        for (number, words) in [(1, &LINES[..2]), (2, &LINES[2..])] {
            std::fs::write(dir.path().join(segments::file_name(number)), text(words)).unwrap();
        }
        segments::compress(&dir.path().join(segments::file_name(1))).unwrap();
        dir
    }

    fn rest(mut follower: Follower) -> Vec<Line> {
        let mut all = Vec::new();
        loop {
            let read = follower.read().unwrap();
            if read.is_empty() {
                assert!(all.last().is_none_or(|last: &Line| last.end == follower.place()));
                return all;
            }
            all.extend(read);
        }
    }

    fn words(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|l| std::str::from_utf8(&l.text).unwrap()).collect()
    }

    #[test]
    fn behind_each_line_the_others_are_read_once() {
        let dir = captured();
        let all = rest(Follower::from_segment(dir.path().to_owned(), 1));
        assert_eq!(words(&all), LINES);
        for (n, line) in all.iter().enumerate() {
            let after = rest(Follower::from_place(dir.path().to_owned(), line.end));
            assert_eq!(words(&after), LINES[n + 1..], "behind {:?}", line.end);
        }
    }

    #[test]
    fn a_place_that_is_gone_goes_on_with_the_oldest_line_there() {
        let dir = captured();
        std::fs::remove_file(dir.path().join("0000000001.log.gz")).unwrap();
        let after = rest(Follower::from_place(dir.path().to_owned(), Place { segment: 1, offset: 40 }));
        assert_eq!(words(&after), LINES[2..]);
    }
}
