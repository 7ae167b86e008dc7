//! The capture protocol against kills at every point: a keeper that stops after any step is a `Capture` that is dropped
//! there, with the files put back to what they were.

use std::fs;
use std::io::Write;
use std::path::Path;

use helm_core::name::ServiceName;
use proptest::prelude::*;
use rustix::pipe::{PipeFlags, pipe_with};

use super::*;
use helm_shim::{cri, segments};

struct Bench {
    dir: tempfile::TempDir,
    place: ServiceDir,
    rules: LogRules,
    pens: [fs::File; 2],
    pipes: [OwnedFd; 2],
}

impl Bench {
    fn new(segment_bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = ServiceDir::new(dir.path(), &ServiceName::new("web").unwrap());
        fs::create_dir_all(place.path()).unwrap();
        let rules = LogRules { segment_bytes, total_bytes: 1 << 40, compress: false, ..LogRules::default() };
        let pair = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap();
        let ((out, out_pen), (err, err_pen)) = (pair(), pair());
        Self { dir, place, rules, pens: [out_pen.into(), err_pen.into()], pipes: [out, err] }
    }

    fn open(&self) -> Capture {
        let mut capture = Capture::open(&self.place, self.rules.clone()).unwrap();
        let pipes = self.pipes.each_ref().map(|p| p.try_clone().unwrap());
        capture.begin_run(RunId(1), pipes).unwrap();
        capture
    }

    fn text(&self, stream: usize) -> Vec<u8> {
        let mut text = Vec::new();
        for segment in segments::list(&self.place.logs()).unwrap() {
            for line in fs::read(&segment.path).unwrap().split_inclusive(|c| *c == b'\n') {
                let piece = cri::parse(line).unwrap();
                if piece.stream == stream {
                    text.extend_from_slice(piece.text);
                    if piece.full {
                        text.push(b'\n');
                    }
                }
            }
        }
        text
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Puts the log files back to an earlier state, cut somewhere in what was written since: the intent stands, the batch is
/// torn.
fn tear(logs: &Path, before: &Path, keep: usize) {
    for segment in segments::list(logs).unwrap() {
        let old = before.join(segment.path.file_name().unwrap());
        let length = fs::metadata(&old).map_or(0, |m| m.len());
        let now = fs::read(&segment.path).unwrap();
        if now.len() as u64 > length {
            let cut = (length as usize + keep).min(now.len());
            if cut == 0 {
                fs::remove_file(&segment.path).unwrap();
            } else {
                fs::write(&segment.path, &now[..cut]).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Writes and kills in any order: between two writes the keeper is gone, its last batch torn at any byte.
    #[test]
    fn torn_batches_are_repeated_exactly(
        steps in prop::collection::vec((0usize..2, 0usize..3000, any::<bool>(), prop::option::of(0usize..4000)), 1..20)
    ) {
        let mut bench = Bench::new(20_000);
        let mut capture = bench.open();
        let mut sent = [Vec::new(), Vec::new()];
        for (n, (stream, length, whole, kill)) in steps.into_iter().enumerate() {
            let mut text = format!("{n} ").into_bytes();
            text.extend(std::iter::repeat_n(b'a' + (n % 26) as u8, length));
            if whole { text.push(b'\n'); }
            bench.pens[stream].write_all(&text).unwrap();
            sent[stream].extend_from_slice(&text);
            let before = bench.dir.path().join(format!("before{n}"));
            copy(&bench.place.logs(), &before);
            capture.pump();
            if let Some(keep) = kill {
                let one_batch = segments::list(&bench.place.logs()).unwrap().last().map(|s| s.number)
                    == segments::list(&before).unwrap().last().map(|s| s.number);
                drop(capture);
                // Only the last intent can be torn; a pump that rotated wrote more than one.
                if one_batch { tear(&bench.place.logs(), &before, keep); }
                capture = bench.open();
            }
        }
        capture.end_run();
        for (stream, mut wanted) in sent.into_iter().enumerate() {
            if !wanted.is_empty() && !wanted.ends_with(b"\n") { wanted.push(b'\n'); }
            prop_assert_eq!(bench.text(stream), wanted);
        }
    }
}

#[test]
fn a_reset_that_was_cut_is_finished() {
    let mut bench = Bench::new(1 << 30);
    let mut capture = bench.open();
    bench.pens[0].write_all(b"one\n").unwrap();
    capture.pump();
    // Killed between the first record and the truncation.
    let mut next = capture.settled();
    next.spans[0] = mark::Span { resetting: true, from: 0, to: 0, ..next.spans[0].clone() };
    capture.put(next).unwrap();
    drop(capture);
    assert_eq!(fs::metadata(bench.place.spool(0)).unwrap().len(), 4);
    let mut capture = bench.open();
    assert_eq!(fs::metadata(bench.place.spool(0)).unwrap().len(), 0);
    bench.pens[0].write_all(b"two\n").unwrap();
    capture.pump();
    assert_eq!(bench.text(0), b"one\ntwo\n");
}

#[test]
fn a_spool_is_emptied_and_nothing_is_repeated() {
    let mut bench = Bench::new(1 << 30);
    let mut capture = bench.open();
    let line = [b"x".repeat(4095), b"\n".to_vec()].concat();
    for _ in 0..600 {
        bench.pens[0].write_all(&line).unwrap();
        capture.pump();
    }
    assert!(fs::metadata(bench.place.spool(0)).unwrap().len() < (1 << 20));
    drop(capture);
    drop(bench.open());
    assert_eq!(bench.text(0).len(), 600 * 4096);
}

#[test]
fn another_boot_is_another_segment() {
    let mut bench = Bench::new(1 << 30);
    let mut capture = bench.open();
    bench.pens[0].write_all(b"before\n").unwrap();
    capture.pump();
    let mut other = capture.settled();
    other.boot_id = "another".into();
    capture.put(other).unwrap();
    drop(capture);
    let mut capture = bench.open();
    bench.pens[0].write_all(b"after\n").unwrap();
    capture.pump();
    let found = segments::list(&bench.place.logs()).unwrap();
    assert_eq!(found.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(fs::read(&found[0].path).unwrap().split(|c| *c == b'\n').count(), 2, "nothing was added");
    assert!(
        String::from_utf8(bench.text(1)).unwrap().contains("may have been lost"),
        "the run was not drained"
    );
}
