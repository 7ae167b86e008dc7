//! What was there when it happened. Blocking; what cannot be read is not in it.

use std::io;

use helm_core::event::Change;
use helm_core::exit::Exit;
use helm_core::incident::{self, Evidence, LINES, Mishap, Oom, OutputLine, SHORTLY, Told, What};
use helm_core::spec::{self, Changes};
use helm_core::time::Wall;
use helm_core::wish::Mode;
use helm_shim::record::RunRecord;
use helm_shim::rundir::ServiceDir;
use helm_shim::segments;
use helm_shim::wire::{Ended, RunState};

use super::{Recorder, Report, kernel, needs};
use crate::follow::{self, Place};
use crate::versions::{Version, Versions};

/// Bytes from the end of a log file in which the last lines are looked for.
const ENOUGH: u64 = 256 << 10;
/// Events that are looked through for what had changed.
const EVENTS: usize = 500;
/// Configurations that are told of.
const CONFIGURATIONS: usize = 2;
/// Differences of one of them.
const DIFFERENCES: usize = 4;

/// All of it.
pub(super) fn evidence(recorder: &Recorder, report: &Report) -> Evidence {
    let Report { mishap, answers, .. } = report;
    let place = ServiceDir::new(recorder.home.path(), &mishap.service);
    let ran = matches!(mishap.what, What::Ended { .. } | What::Unwell { .. });
    let record = RunRecord::read(&place.run(mishap.run).record()).ok().flatten().filter(|_| ran);
    let state = record.map(|record| record.state);
    let ended = state.as_ref().and_then(|state| state.ended.as_ref());
    let limit = recorder.specs.iter().find(|spec| spec.name == mishap.service).and_then(|s| s.limits.memory);
    let lines = state.as_ref().map(|state| lines(&place, state.started_wall, report.seen));
    Evidence {
        oom: state.as_ref().map_or(Oom::Unknown, |state| oom(state, mishap)),
        memory_limit: limit.filter(|_| recorder.cgroup),
        cgroup: recorder.cgroup,
        peak: ended.map(|ended| ended.max_rss).filter(|bytes| *bytes > 0),
        cpu: ended.map(|ended: &Ended| ended.user + ended.system).filter(|cpu| !cpu.is_zero()),
        samples: recorder.sampler.trail(&mishap.service, mishap.run),
        lines: lines.transpose().ok().flatten().unwrap_or_default(),
        answers: answers.clone(),
        before: before(recorder, mishap),
    }
}

/// Its cgroup counts; where there is none, a SIGKILL that nobody sent is looked for in the kernel's log.
fn oom(state: &RunState, mishap: &Mishap) -> Oom {
    let ended = state.ended.as_ref();
    match (ended.and_then(|ended| ended.oom_kills), ended) {
        (Some(kills), _) => Oom::Counted(kills),
        (None, Some(ended)) if ended.exit == Exit::Signal(9) && matches!(mishap.what, What::Ended { .. }) => {
            kernel::killed(state.pid, ended.at)
        }
        (None, _) => Oom::Unknown,
    }
}

/// What the run printed last.
fn lines(place: &ServiceDir, started: Wall, until: Wall) -> io::Result<Vec<OutputLine>> {
    let dir = place.logs();
    let newest = segments::list(&dir)?.pop();
    let last = match newest.filter(|newest| !newest.compressed && newest.bytes > ENOUGH) {
        // The first line of it may be torn: then it is none.
        Some(newest) => {
            let from = Place { segment: newest.number, offset: newest.bytes - ENOUGH };
            follow::from(dir, from, until)?.into_iter().filter(|line| line.at >= started).collect()
        }
        None => follow::tail(dir, |line| started <= line.at && line.at <= until, LINES)?.1,
    };
    let few = last.len().saturating_sub(LINES);
    let line = |line: follow::Line| OutputLine {
        at: line.at,
        stderr: line.stderr,
        text: String::from_utf8_lossy(&line.text).into_owned(),
    };
    Ok(last.into_iter().skip(few).map(line).collect())
}

fn before(recorder: &Recorder, mishap: &Mishap) -> Vec<Told> {
    let needed = needs(&recorder.specs, &mishap.service);
    let wanted = |change: &Change| change.service == mishap.service || needed.contains(&change.service);
    let events = recorder.journal.last(EVENTS, u64::MAX, wanted);
    let changes = events.iter().map(|entry| &entry.change);
    let mut told = incident::before(&mishap.service, &needed, changes, mishap.at);
    told.extend(configurations(recorder, mishap));
    told.sort_by_key(|told| told.at);
    told
}

/// Configurations that were applied or taken back shortly before, newest first.
fn configurations(recorder: &Recorder, mishap: &Mishap) -> Vec<Told> {
    let versions = Versions::of(&recorder.home);
    let from = mishap.at.0.saturating_sub(i64::try_from(SHORTLY.as_nanos()).unwrap_or(i64::MAX));
    let shortly = |at: i64| from <= at && at <= mishap.at.0;
    let all = versions.list();
    let all = all.iter().rev().filter(|version| shortly(version.at)).take(CONFIGURATIONS);
    all.flat_map(|version| {
        let taken_back = version.taken_back.as_ref().filter(|back| shortly(back.at));
        let text = || format!("configuration {} was taken back", version.number);
        let taken_back = taken_back.map(|back| Told { at: Wall(back.at), service: None, text: text() });
        taken_back.into_iter().chain(applied(&versions, version, mishap))
    })
    .collect()
}

/// What it changed of what was in force until then.
fn applied(versions: &Versions, version: &Version, mishap: &Mishap) -> Option<Told> {
    let (old, new) = (versions.read(version.replaced?)?, versions.read(version.number)?);
    // How it is run is the same in both: the mode is no part of a configuration.
    let changes = spec::changes(old.sound()?, new.sound()?, |_| Mode::default());
    let text = format!(
        "configuration {} applied by {}: {}",
        version.number,
        version.author.by,
        differences(&changes, mishap)
    );
    Some(Told { at: Wall(version.at), service: None, text })
}

/// `limits.memory 512M -> 256M`; of other services only that there are some.
fn differences(changes: &Changes, mishap: &Mishap) -> String {
    let Some(own) = changes.services.iter().find(|change| change.name == mishap.service) else {
        return format!("nothing of {} is different", mishap.service);
    };
    let value = |text: &Option<String>| text.clone().unwrap_or_else(|| "not given".into());
    let field = |f: &spec::FieldChange| format!("{} {} -> {}", f.field, value(&f.old), value(&f.new));
    let mut words: Vec<String> = own.fields.iter().take(DIFFERENCES).map(field).collect();
    if let Some(more) = own.fields.len().checked_sub(DIFFERENCES).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    if words.is_empty() { own.kind.as_str().to_owned() } else { words.join(", ") }
}
