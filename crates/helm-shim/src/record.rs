//! Records that survive every process: preallocated slots with a checksum, overwritten in place, two alternating.
//!
//! A slot is `magic(8) sequence(8) length(4) crc32(4) payload`. A write goes to the slot that does not hold the newest
//! state, so a write that was torn leaves the former state readable. No fsync: records have to survive processes, not
//! the host. No allocation: the file has its size before it is needed, so a full disk does not stop a record.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::rundir::Epoch;
use crate::wire::RunState;

const MAGIC: [u8; 8] = *b"HELMSLT1";
const HEAD: usize = 24;

/// Bytes of one slot of a run's record.
pub const RUN_SLOT: usize = 8 << 10;

/// A file of two slots.
#[derive(Debug)]
pub struct Slots {
    file: File,
    slot: usize,
    sequence: u64,
}

impl Slots {
    /// Creates the file, with all its space.
    pub fn create(path: &Path, slot: usize) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)?;
        // Written zeros, not only reserved blocks: an overwrite then needs no block and no conversion of an extent.
        file.write_all_at(&vec![0; slot * 2], 0)?;
        Ok(Self { file, slot, sequence: 0 })
    }

    /// Opens the file and reads the newest state that is whole (`None`: never written, or not readable as `T`).
    pub fn open<T: DeserializeOwned>(path: &Path, slot: usize) -> io::Result<(Self, Option<T>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let (sequence, value) = newest(&file, slot)?;
        Ok((Self { file, slot, sequence }, value))
    }

    /// Replaces the state.
    pub fn write<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut bytes = vec![0; HEAD];
        serde_json::to_writer(&mut bytes, value)?;
        if bytes.len() > self.slot {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a state of {} bytes does not fit into a slot of {}", bytes.len(), self.slot),
            ));
        }
        let sequence = self.sequence + 1;
        let length = u32::try_from(bytes.len() - HEAD).unwrap_or(u32::MAX);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        bytes[16..20].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(&bytes[8..20], &bytes[HEAD..]);
        bytes[20..24].copy_from_slice(&sum.to_le_bytes());
        self.file.write_all_at(&bytes, offset(sequence, self.slot))?;
        self.sequence = sequence;
        Ok(())
    }
}

/// Reads the newest whole state without the right to write.
pub fn read<T: DeserializeOwned>(path: &Path, slot: usize) -> io::Result<Option<T>> {
    Ok(newest(&File::open(path)?, slot)?.1)
}

fn newest<T: DeserializeOwned>(file: &File, slot: usize) -> io::Result<(u64, Option<T>)> {
    let mut best: (u64, Option<Vec<u8>>) = (0, None);
    for place in [0, slot as u64] {
        if let Some((sequence, payload)) = read_slot(file, place, slot)?
            && sequence > best.0
        {
            best = (sequence, Some(payload));
        }
    }
    Ok((best.0, best.1.and_then(|payload| serde_json::from_slice(&payload).ok())))
}

fn read_slot(file: &File, place: u64, slot: usize) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut bytes = vec![0; slot];
    let mut filled = 0;
    while filled < slot {
        match file.read_at(&mut bytes[filled..], place + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(parse_slot(&bytes[..filled]))
}

fn parse_slot(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let head = bytes.first_chunk::<HEAD>()?;
    let sequence = u64::from_le_bytes(*head[8..].first_chunk()?);
    let length = u32::from_le_bytes(*head[16..].first_chunk()?);
    let sum = u32::from_le_bytes(*head[20..].first_chunk()?);
    let payload = bytes.get(HEAD..HEAD + length as usize)?;
    (head[..8] == MAGIC && checksum(&head[8..20], payload) == sum).then(|| (sequence, payload.to_vec()))
}

fn offset(sequence: u64, slot: usize) -> u64 {
    (sequence % 2) * slot as u64
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(head);
    crc.update(payload);
    crc.sum()
}

/// What stands in the record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// In which boot and pid namespace its pids mean something.
    pub epoch: Epoch,
    /// The run. `pid` is 0 until the process has been forked: such a run never got to its exec.
    pub state: RunState,
    /// Capacity of the pipes as the keeper set them: a pipe of another size is a new one, and what was in the old one
    /// is gone.
    #[serde(default)]
    pub pipe_sizes: [usize; 2],
}

impl RunRecord {
    /// Reads the record at `path`; `None` where it holds no whole state, or one of another boot or pid namespace.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        Ok(read::<Self>(path, RUN_SLOT)?.filter(|r| r.epoch == Epoch::current()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn states_alternate_and_the_newest_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut slots = Slots::create(&path, 256).unwrap();
        assert_eq!(read::<u32>(&path, 256).unwrap(), None);
        for n in 0..5u32 {
            slots.write(&n).unwrap();
            assert_eq!(read::<u32>(&path, 256).unwrap(), Some(n));
        }
        let (mut again, value) = Slots::open::<u32>(&path, 256).unwrap();
        assert_eq!(value, Some(4));
        again.write(&5u32).unwrap();
        assert_eq!(read::<u32>(&path, 256).unwrap(), Some(5));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 512, "a record never grows");
    }

    #[test]
    fn too_long_a_state_is_refused_and_the_former_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record");
        let mut slots = Slots::create(&path, 64).unwrap();
        slots.write(&"short").unwrap();
        assert!(slots.write(&"x".repeat(100)).is_err());
        assert_eq!(read::<String>(&path, 64).unwrap().as_deref(), Some("short"));
    }

    proptest! {
        /// Any prefix of a write, over whatever was in the slot, leaves the former or the new state readable.
        #[test]
        fn a_torn_write_leaves_a_whole_state(
            states in prop::collection::vec("[a-z]{0,60}", 2..6), cut in 0usize..256
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("record");
            let mut slots = Slots::create(&path, 256).unwrap();
            let (last, earlier) = states.split_last().unwrap();
            for s in earlier { slots.write(s).unwrap(); }
            let before = std::fs::read(&path).unwrap();
            slots.write(last).unwrap();
            let after = std::fs::read(&path).unwrap();
            let start = offset(slots.sequence, 256) as usize;
            let mut torn = before.clone();
            torn[start..start + cut].copy_from_slice(&after[start..start + cut]);
            std::fs::write(&path, &torn).unwrap();
            let got = read::<String>(&path, 256).unwrap().unwrap();
            prop_assert!(got == *last || got == *earlier.last().unwrap(), "{got}");
            // And a writer that goes on from the torn state is read back.
            let (mut again, _) = Slots::open::<String>(&path, 256).unwrap();
            again.write(&"next").unwrap();
            prop_assert_eq!(read::<String>(&path, 256).unwrap().unwrap(), "next");
        }
    }
}
