//! One stream on its way: pipe -> spool. Bytes are moved by splice(2): a killed keeper has either moved them or not.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::pipe::{SpliceFlags, splice};

use super::mark::Dropped;

/// Most bytes of one splice: the capacity that is asked for the pipes.
pub(crate) const PIPE_BYTES: usize = 256 << 10;
/// A spool that has nothing left to render is emptied once it has grown to this.
const RESET_BYTES: u64 = 1 << 20;
/// What is rendered is given back in pieces of this size while the spool does not come to rest.
const PUNCH_BYTES: u64 = 4 << 20;
/// How much may wait for the log files (a full disk) before output is dropped.
const BACKLOG_BYTES: u64 = 4 << 20;

/// Outcome of looking into the pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something was there.
    Some,
    /// Nothing at present (or nothing ever again).
    None,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    /// Read end; `None` when nobody has the pipe open for writing, or there is no run.
    pub(crate) pipe: Option<OwnedFd>,
    /// End of what was spooled: the size of the file.
    pub(crate) head: u64,
    /// Given back to the file system up to here.
    punched: u64,
    /// Output is thrown away, for this errno, until the disk has space again.
    pub(crate) dropping: Option<i32>,
    /// The rest of a line whose begin was dropped is to come.
    skip_line: bool,
}

impl Spool {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let head = file.metadata()?.len();
        Ok(Self { file, pipe: None, head, punched: 0, dropping: None, skip_line: false })
    }

    /// Another pipe: a new run, or the old one found again.
    pub(crate) fn connect(&mut self, pipe: OwnedFd) {
        self.pipe = Some(pipe);
        self.skip_line = false;
    }

    /// Reads spooled bytes.
    pub(crate) fn read(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    /// Moves what is in the pipe. `rendered`: how far the spool is rendered; `lost` counts what is thrown away.
    pub(crate) fn take(
        &mut self,
        rendered: u64,
        lost: &mut Dropped,
        trouble: Option<i32>,
    ) -> io::Result<Taken> {
        if let (None, Some(errno)) = (self.dropping, trouble)
            && self.head - rendered >= BACKLOG_BYTES
        {
            self.drop_from_here(errno, lost);
        }
        if self.dropping.is_some() || self.skip_line {
            return self.take_lossy(lost);
        }
        let Some(pipe) = &self.pipe else { return Ok(Taken::None) };
        let mut at = self.head;
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        match splice(pipe, None, &self.file, Some(&mut at), PIPE_BYTES, flags) {
            Ok(0) => {
                self.pipe = None;
                Ok(Taken::None)
            }
            Ok(n) => {
                self.head += n as u64;
                Ok(Taken::Some)
            }
            Err(rustix::io::Errno::AGAIN) => Ok(Taken::None),
            Err(rustix::io::Errno::INTR) => Ok(Taken::Some),
            Err(e) => {
                self.drop_from_here(e.raw_os_error(), lost);
                Ok(Taken::Some)
            }
        }
    }

    fn drop_from_here(&mut self, errno: i32, lost: &mut Dropped) {
        self.dropping = Some(errno);
        lost.errno = errno;
    }

    /// By read, while nothing can be kept, or until the end of a line whose begin was thrown away.
    fn take_lossy(&mut self, lost: &mut Dropped) -> io::Result<Taken> {
        let Some(pipe) = &self.pipe else { return Ok(Taken::None) };
        let mut bytes = vec![0; 64 << 10];
        let length = match rustix::io::read(pipe, &mut bytes[..]) {
            Ok(0) => {
                self.pipe = None;
                return Ok(Taken::None);
            }
            Ok(n) => n,
            Err(rustix::io::Errno::AGAIN) => return Ok(Taken::None),
            Err(rustix::io::Errno::INTR) => return Ok(Taken::Some),
            Err(e) => return Err(e.into()),
        };
        let bytes = &bytes[..length];
        if self.dropping.is_some() {
            self.count(bytes, lost);
            return Ok(Taken::Some);
        }
        // The announcement stands already: the rest of that line is part of what it announced.
        let Some(end) = memchr::memchr(b'\n', bytes) else { return Ok(Taken::Some) };
        self.skip_line = false;
        self.append(&bytes[end + 1..], lost);
        Ok(Taken::Some)
    }

    /// Appends bytes that are in our memory; what does not fit is dropped and counted.
    fn append(&mut self, mut bytes: &[u8], lost: &mut Dropped) {
        while !bytes.is_empty() {
            match self.file.write_at(bytes, self.head) {
                Ok(n) => {
                    self.head += n as u64;
                    bytes = &bytes[n..];
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.drop_from_here(e.raw_os_error().unwrap_or(libc::EIO), lost);
                    self.count(bytes, lost);
                    return;
                }
            }
        }
    }

    fn count(&mut self, bytes: &[u8], lost: &mut Dropped) {
        lost.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        lost.bytes += bytes.len() as u64;
        self.skip_line = bytes.last().is_some_and(|last| *last != b'\n');
    }

    /// Ends a line that will get no end from the service, so that it can be rendered.
    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.file.write_all_at(b"\n", self.head)?;
        self.head += 1;
        Ok(())
    }

    /// The spool can be used again. The rest of a line that was dropped in its middle is skipped.
    pub(crate) fn resume(&mut self) {
        self.dropping = None;
    }

    /// All is rendered and it has grown enough to be emptied.
    pub(crate) fn wants_reset(&self, rendered: u64) -> bool {
        self.head == rendered && self.head >= RESET_BYTES
    }

    /// Empties it. Only between the two records that say so.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.head, self.punched) = (0, 0);
        Ok(())
    }

    /// Gives the space before `needed` back. A file system that cannot do it keeps it until the next reset.
    pub(crate) fn punch(&mut self, needed: u64) {
        let end = needed & !4095;
        if end < self.punched + PUNCH_BYTES {
            return;
        }
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(&self.file, how, self.punched, end - self.punched);
        self.punched = end;
    }
}
