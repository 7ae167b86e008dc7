//! From the pipes into the log files, each line exactly once under any kill of the keeper.
//!
//! Bytes go pipe -> (splice) -> spool -> (render) -> segment. Before a batch is written its intent is recorded; a
//! successor repeats the last intent byte for byte and goes on. Crash table: docs/keeper.md.

mod files;
mod mark;
mod spool;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use helm_core::spec::LogRules;
use helm_core::status::RunId;
use helm_core::time::Mono;
use helm_shim::cri::{self, Prefix};
use helm_shim::record::Slots;
use helm_shim::rundir::{Epoch, ServiceDir};

use crate::clock;
use files::Files;
use mark::{Dropped, MARK_SLOT, Mark, reason};
pub(crate) use spool::PIPE_BYTES;
use spool::{Spool, Taken};

/// Most bytes that are read of one stream for one batch.
const READ_BYTES: u64 = 256 << 10;
/// A batch is closed at the first piece beyond this.
const BATCH_BYTES: usize = 512 << 10;
/// Rounds of one wake-up: signals and orders do not wait for a service that never stops talking.
const ROUNDS: usize = 8;
/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// Buffers are kept for the next burst this long.
const KEEP_BUFFERS: Duration = Duration::from_secs(1);

const LOST: &str = "[helm] output may have been lost here: keeper and service ended together";

/// The output of one service.
#[derive(Debug)]
pub(crate) struct Capture {
    slots: Slots,
    /// The newest intent.
    mark: Mark,
    /// Its batch stands in `batch` and not yet (wholly) in the segment.
    unwritten: bool,
    /// A predecessor may have left more behind the place of the batch.
    cut: bool,
    /// End of the segment once the batch is written.
    end: u64,
    batch: Vec<u8>,
    input: Vec<u8>,
    spools: [Spool; 2],
    files: Files,
    rules: LogRules,
    /// A line of our own that waits for the next batch.
    notice: Option<String>,
    /// Why the log files cannot be written.
    trouble: Option<i32>,
    retry: Option<Mono>,
    idle: Option<Mono>,
    rotated: bool,
}

impl Capture {
    /// Opens the capture of a service, and finishes what a predecessor had begun.
    pub(crate) fn open(place: &ServiceDir, rules: LogRules) -> io::Result<Self> {
        let spools = [Spool::open(&place.spool(0))?, Spool::open(&place.spool(1))?];
        let (slots, found) = match Slots::open::<Mark>(&place.capture(), MARK_SLOT) {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (Slots::create(&place.capture(), MARK_SLOT)?, None)
            }
            Err(e) => return Err(e),
        };
        let files = Files::new(place.logs())?;
        let mut capture = Self {
            slots,
            mark: Mark::default(),
            unwritten: false,
            cut: true,
            end: 0,
            batch: Vec::new(),
            input: Vec::new(),
            spools,
            files,
            rules,
            notice: None,
            trouble: None,
            retry: None,
            idle: None,
            rotated: true,
        };
        match found {
            Some(mark) if mark.boot_id == Epoch::current().boot_id && capture.holds(&mark) => {
                capture.repeat(mark)?
            }
            other => capture.begin_anew(other)?,
        }
        Ok(capture)
    }

    /// The spools have what the intent speaks of.
    fn holds(&self, mark: &Mark) -> bool {
        mark.spans.iter().zip(&self.spools).all(|(span, spool)| span.resetting || span.to <= spool.head)
    }

    /// First use, another boot, or a record that cannot be read: a new segment, empty spools.
    fn begin_anew(&mut self, old: Option<Mark>) -> io::Result<()> {
        let leftover = self.spools.iter().any(|s| s.head > 0);
        for spool in &mut self.spools {
            spool.reset()?;
        }
        let old_segment = old.as_ref().map_or(0, |m| m.segment);
        if old.is_some_and(|m| m.open_run.is_some()) || leftover {
            self.notice =
                Some("[helm] output may have been lost here: the host or the record of it went away".into());
        }
        let segment = self.files.newest()?.max(old_segment) + 1;
        self.put(Mark { boot_id: Epoch::current().boot_id, segment, ..Mark::default() })?;
        self.render();
        Ok(())
    }

    /// Renders the intent of a predecessor again, over whatever it got to write.
    fn repeat(&mut self, mut mark: Mark) -> io::Result<()> {
        if !self.files.reaches(mark.segment, mark.offset) {
            // Somebody deleted or shortened the segment: nothing is written behind a hole.
            (mark.segment, mark.offset) = (self.files.newest()?.max(mark.segment) + 1, 0);
            self.put(mark.clone())?;
        }
        self.mark = mark;
        if self.is_resetting() {
            self.finish_reset()?;
        }
        self.batch.clear();
        for i in 0..2 {
            let (from, to) = (self.mark.spans[i].from, self.mark.spans[i].to);
            self.headlines(i);
            self.load(i, from, to)?;
            cri::render(&mut self.batch, &Prefix::new(self.mark.at, i), &self.input, usize::MAX);
        }
        self.unwritten = true;
        self.render();
        // What a predecessor dropped and did not announce is announced as soon as there is space.
        for (span, spool) in self.mark.spans.iter().zip(&mut self.spools) {
            if span.dropped.bytes > 0 {
                spool.dropping.get_or_insert(span.dropped.errno);
                self.retry = Some(clock::mono());
            }
        }
        Ok(())
    }

    /// Connects the pipes of a run.
    pub(crate) fn begin_run(&mut self, run: RunId, pipes: [OwnedFd; 2]) -> io::Result<()> {
        if self.mark.open_run.is_some_and(|open| open != run) {
            self.lost();
        }
        for (spool, pipe) in self.spools.iter_mut().zip(pipes) {
            spool.connect(pipe);
        }
        let mut next = self.base();
        next.open_run = Some(run);
        self.put(next)
    }

    /// The run that was open ended where nobody could see it: its last line is closed, and a line says so.
    pub(crate) fn lost(&mut self) {
        self.seal();
        self.notice = Some(LOST.into());
        self.render();
    }

    /// Everything of the run is in: ends its last lines and says so in the record.
    pub(crate) fn end_run(&mut self) {
        self.pump();
        for spool in &mut self.spools {
            spool.pipe = None;
        }
        self.seal();
        let mut next = self.base();
        next.open_run = None;
        let result = self.put(next);
        self.note(result);
    }

    /// Both pipes are at their end.
    pub(crate) fn drained(&self) -> bool {
        self.spools.iter().all(|s| s.pipe.is_none())
    }

    /// Pipes to wait for.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.spools.iter().filter_map(|s| s.pipe.as_ref().map(AsFd::as_fd))
    }

    pub(crate) fn set_rules(&mut self, rules: LogRules) {
        self.rules = rules;
        self.rotated = true;
    }

    /// Moves what is in the pipes into the log files.
    pub(crate) fn pump(&mut self) {
        for _ in 0..ROUNDS {
            let mut moved = false;
            for i in 0..2 {
                moved |= self.take(i) == Taken::Some;
            }
            self.render();
            if !moved {
                break;
            }
        }
        if self.batch.capacity() + self.input.capacity() > 0 {
            self.idle = Some(clock::mono() + KEEP_BUFFERS);
        }
    }

    fn is_resetting(&self) -> bool {
        self.mark.spans.iter().any(|s| s.resetting)
    }

    fn take(&mut self, i: usize) -> Taken {
        if self.is_resetting() {
            return Taken::None;
        }
        let mut lost = self.mark.spans[i].dropped;
        let result = self.spools[i].take(self.mark.spans[i].to, &mut lost, self.trouble);
        if lost != self.mark.spans[i].dropped {
            let mut next = self.base();
            next.spans[i].dropped = lost;
            let written = self.put(next);
            self.note(written);
            self.retry.get_or_insert_with(|| clock::mono() + RETRY);
        }
        match result {
            Ok(taken) => taken,
            Err(e) => {
                self.note::<()>(Err(e));
                Taken::None
            }
        }
    }

    /// When it wants to be woken although nothing happens.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.retry.into_iter().chain(self.idle).min()
    }

    /// Does what is due at `now`.
    pub(crate) fn tick(&mut self, now: Mono) {
        if self.idle.is_some_and(|at| at <= now) {
            self.idle = None;
            self.input = Vec::new();
            if !self.unwritten {
                self.batch = Vec::new();
            }
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            if !self.unwritten {
                self.trouble = None;
            }
            self.render();
            for i in 0..2 {
                self.resume(i);
            }
            if self.trouble.is_some() || self.spools.iter().any(|s| s.dropping.is_some()) {
                self.retry = Some(now + RETRY);
            }
        }
    }

    /// What is wrong with the output at present; empty if nothing.
    pub(crate) fn trouble(&self) -> String {
        let dropping = self.spools.iter().find_map(|s| s.dropping);
        match (dropping, self.trouble) {
            (Some(errno), _) => {
                format!("output is dropped: {}; free space on the disk of this home", reason(errno))
            }
            (None, Some(errno)) => {
                format!("log files cannot be written: {}; free space on the disk of this home", reason(errno))
            }
            (None, None) => String::new(),
        }
    }

    /// After a rotation (and at first): applies the total bound, and names a segment to compress.
    pub(crate) fn after_rotation(&mut self) -> Option<PathBuf> {
        if !std::mem::take(&mut self.rotated) {
            return None;
        }
        let _ = self.files.bound(&self.rules, self.mark.segment);
        if self.rules.compress { self.files.to_compress(self.mark.segment) } else { None }
    }

    /// A compressor has ended: look for the next segment.
    pub(crate) fn compressed(&mut self) {
        self.rotated = true;
    }

    /// Tries to go on after output was dropped: first all that was kept, then the announcement, then new output.
    fn resume(&mut self, i: usize) {
        if self.spools[i].dropping.is_none() || self.unwritten || !self.seal_stream(i) {
            return;
        }
        let dropped = self.mark.spans[i].dropped;
        if dropped.bytes > 0 && !self.announce(i, dropped) {
            return;
        }
        self.spools[i].resume();
    }

    fn announce(&mut self, i: usize, dropped: Dropped) -> bool {
        let mut next = self.settled();
        next.at = clock::wall();
        next.spans[i].announced = dropped;
        next.spans[i].dropped = Dropped { errno: dropped.errno, ..Dropped::default() };
        if let Err(e) = self.put(next) {
            self.note::<()>(Err(e));
            return false;
        }
        self.batch.clear();
        self.headlines(i);
        self.unwritten = true;
        self.flush()
    }

    fn seal(&mut self) {
        self.render();
        for i in 0..2 {
            // What cannot be sealed now is sealed before output goes on.
            if !self.seal_stream(i) {
                self.spools[i].dropping.get_or_insert(self.trouble.unwrap_or(libc::ENOSPC));
                self.retry.get_or_insert_with(|| clock::mono() + RETRY);
            }
        }
    }

    /// Ends an open line of a stream; `true` when all of the stream is rendered.
    fn seal_stream(&mut self, i: usize) -> bool {
        if self.unwritten {
            return false;
        }
        let span = &self.mark.spans[i];
        if self.spools[i].head > span.to || span.mid_line {
            let sealed = self.spools[i].seal();
            if !self.note(sealed) {
                return false;
            }
            self.render();
        }
        !self.unwritten && self.spools[i].head == self.mark.spans[i].to
    }

    /// Renders all whole lines that are spooled.
    fn render(&mut self) {
        if self.is_resetting() {
            let finished = self.finish_reset();
            if !self.note(finished) {
                return;
            }
        }
        while (!self.unwritten || self.flush()) && self.next_batch() {}
        if !self.unwritten {
            self.reclaim();
        }
    }

    /// Takes the next batch, if there is a whole line, and records the intent.
    fn next_batch(&mut self) -> bool {
        if self.notice.is_none() && (0..2).all(|i| self.spools[i].head == self.mark.spans[i].to) {
            return false;
        }
        let mut next = self.settled();
        if self.is_full() || self.files.is_deleted() {
            (next.segment, next.offset) = (next.segment + 1, 0);
        }
        let room =
            usize::try_from(self.rules.segment_bytes.saturating_sub(next.offset)).unwrap_or(usize::MAX);
        let limit = room.clamp(1, BATCH_BYTES);
        next.at = clock::wall();
        next.notice = self.notice.clone();
        match self.compose(&mut next, limit) {
            Ok(()) if self.batch.is_empty() => return false,
            Ok(()) => {}
            Err(e) => return self.note::<()>(Err(e)),
        }
        let new_segment = next.segment != self.mark.segment;
        let recorded = self.put(next);
        if !self.note(recorded) {
            return false;
        }
        self.rotated |= new_segment;
        self.unwritten = true;
        self.notice = None;
        self.flush()
    }

    /// Puts the text of a batch together and its ends into the intent.
    fn compose(&mut self, next: &mut Mark, limit: usize) -> io::Result<()> {
        self.batch.clear();
        for i in 0..2 {
            if i == 0
                && let Some(text) = &next.notice
            {
                Prefix::new(next.at, 1).line(&mut self.batch, text.as_bytes());
            }
            let from = next.spans[i].from;
            let head = self.spools[i].head;
            if from == head || (i == 1 && self.batch.len() >= limit) {
                continue;
            }
            self.load(i, from, head.min(from + READ_BYTES))?;
            let done = cri::render(&mut self.batch, &Prefix::new(next.at, i), &self.input, limit);
            next.spans[i].to = from + done.taken as u64;
            next.spans[i].mid_line = done.mid_line.unwrap_or(next.spans[i].mid_line);
        }
        Ok(())
    }

    /// The lines of our own that stand in front of a stream's part of the recorded batch.
    fn headlines(&mut self, i: usize) {
        if i == 0
            && let Some(text) = &self.mark.notice
        {
            Prefix::new(self.mark.at, 1).line(&mut self.batch, text.as_bytes());
        }
        let announced = self.mark.spans[i].announced;
        if announced.bytes > 0 {
            Prefix::new(self.mark.at, i).line(&mut self.batch, announced.to_string().as_bytes());
        }
    }

    fn load(&mut self, i: usize, from: u64, to: u64) -> io::Result<()> {
        let length = usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX);
        self.input.resize(length, 0);
        self.spools[i].read(&mut self.input, from)
    }

    /// Writes the recorded batch at its place; `false` if it has to be tried again.
    fn flush(&mut self) -> bool {
        let (segment, offset) = (self.mark.segment, self.mark.offset);
        if !self.batch.is_empty() {
            let written = self.files.write(segment, offset, &self.batch, self.cut);
            if !self.note(written) {
                return false;
            }
        }
        (self.cut, self.unwritten, self.trouble) = (false, false, None);
        self.end = offset + self.batch.len() as u64;
        true
    }

    /// The segment is at its bound and at the end of a line (or so far beyond the bound that a line is cut).
    fn is_full(&self) -> bool {
        let mid_line = self.mark.spans.iter().any(|s| s.mid_line);
        self.end >= self.rules.segment_bytes && (!mid_line || self.end / 2 >= self.rules.segment_bytes)
    }

    /// The mark with nothing left to do: the next intent begins here.
    fn settled(&self) -> Mark {
        let mut next = self.mark.clone();
        next.offset = self.end;
        next.notice = None;
        for span in &mut next.spans {
            span.from = span.to;
            span.announced = Dropped::default();
        }
        next
    }

    /// The mark to change something in that is not the batch.
    fn base(&self) -> Mark {
        if self.unwritten { self.mark.clone() } else { self.settled() }
    }

    fn put(&mut self, next: Mark) -> io::Result<()> {
        self.slots.write(&next)?;
        self.mark = next;
        Ok(())
    }

    /// Gives spool space back: by emptying a spool that is at rest, else by holes behind what is rendered.
    fn reclaim(&mut self) {
        let wanted: Vec<usize> =
            (0..2).filter(|i| self.spools[*i].wants_reset(self.mark.spans[*i].to)).collect();
        if wanted.is_empty() {
            for i in 0..2 {
                self.spools[i].punch(self.mark.spans[i].from);
            }
            return;
        }
        let mut next = self.settled();
        for i in wanted {
            next.spans[i] = mark::Span { resetting: true, from: 0, to: 0, ..next.spans[i].clone() };
        }
        let result = self.put(next).and_then(|()| self.finish_reset());
        self.note(result);
    }

    /// The second half of a reset: nothing is spooled before the record says that the spool is empty.
    fn finish_reset(&mut self) -> io::Result<()> {
        let mut next = self.mark.clone();
        for (span, spool) in next.spans.iter_mut().zip(&mut self.spools) {
            if std::mem::take(&mut span.resetting) {
                spool.reset()?;
            }
        }
        self.put(next)
    }

    /// Remembers what went wrong with the files: it is tried again.
    fn note<T>(&mut self, result: io::Result<T>) -> bool {
        match result {
            Ok(_) => true,
            Err(e) => {
                self.trouble = Some(e.raw_os_error().unwrap_or(libc::EIO));
                self.retry.get_or_insert_with(|| clock::mono() + RETRY);
                false
            }
        }
    }
}
