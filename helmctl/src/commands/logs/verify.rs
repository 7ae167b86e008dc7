//! `logs verify`

use helm_shapes::time::utc_nanos;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{VerifyFault, VerifyOutcome};
use serde::Serialize;
use tokio_stream::StreamExt;

use crate::cli::VerifyArgs;
use crate::failure::Failure;
use crate::render::screen::Block;
use crate::render::{BAD, GOOD, Printer, note, safe, styled, time};

/// `logs verify --json`
#[derive(Serialize)]
struct Verified {
    ok: bool,
    entries: u64,
    findings: Vec<String>,
    faults: Vec<Fault>,
    anchors: Vec<String>,
    removed: Vec<String>,
}

#[derive(Serialize)]
struct Fault {
    kind: String,
    instance: u32,
    class: String,
    partition: Option<String>,
    entry: Option<i64>,
    service: Option<String>,
    at: Option<String>,
}

impl From<VerifyFault> for Fault {
    fn from(fault: VerifyFault) -> Self {
        let VerifyFault { instance, class, partition, kind, entry, service, at } = fault;
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        let at = at.map(utc_nanos);
        Self { kind, instance, class, partition: said(partition), entry, service: said(service), at }
    }
}

pub(super) async fn run(home: &Home, args: VerifyArgs, printer: &mut Printer) -> Result<(), Failure> {
    let kept = args.against.as_deref().map(kept).transpose()?.unwrap_or_default();
    let logs = Logs::of(&Client::of(home).await?).await?;
    let mut told = logs.verify(kept.clone()).await?;
    let live = printer.can_redraw() && !printer.wants_json();
    let mut block = Block::default();
    while let Some(message) = told.next().await {
        let message = message?;
        if live {
            let words = format!("{} of {} entries looked at", message.entries, message.of);
            printer.frame(&mut block, &[words])?;
        }
        if let Some(outcome) = message.outcome {
            if live {
                printer.frame(&mut block, &[])?;
            }
            let shown = Shown { entries: message.entries, kept: kept.len(), ends: args.anchor };
            return shown.show(outcome, printer);
        }
    }
    Err(Failure::Failed("helmd ended before everything was looked at: nothing is proved".into()))
}

/// The anchors of a file; lines that begin with `#` are remarks.
fn kept(path: &Path) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().read_to_string(&mut text).map(drop),
        false => fs::read_to_string(path).map(|read| text = read),
    };
    let name = path.display();
    read.map_err(|e| Failure::Failed(format!("{name} cannot be read: {e}")))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let anchors: Vec<String> = lines.map(str::to_owned).collect();
    if anchors.is_empty() {
        return Err(Failure::Failed(format!(
            "{name} holds no anchor: `helmctl logs verify --anchor > FILE` writes them"
        )));
    }
    Ok(anchors)
}

struct Shown {
    entries: u64,
    /// Anchors that it was held against.
    kept: usize,
    /// The ends are wanted.
    ends: bool,
}

impl Shown {
    fn show(&self, outcome: VerifyOutcome, printer: &mut Printer) -> Result<(), Failure> {
        let VerifyOutcome { ok, findings, anchors, removed, faults } = outcome;
        let verdict = if ok {
            Ok(())
        } else {
            Err(Failure::Failed("the log is not as Helm wrote it: see the findings".into()))
        };
        if printer.wants_json() {
            let faults = faults.into_iter().map(Fault::from).collect();
            let entries = self.entries;
            printer.value(&Verified { ok, entries, findings, faults, anchors, removed }, true)?;
            return verdict;
        }
        for (at, finding) in findings.iter().enumerate() {
            let when = faults.get(at).and_then(|fault| fault.at);
            let when = when.map(|at| format!(" (its time: {})", time::local_date(at))).unwrap_or_default();
            printer.line(&styled(BAD, &safe(&format!("{finding}{when}"))))?;
        }
        if ok && self.ends {
            // Nothing else on standard output: it is kept in a file.
            note(&self.whole());
            printer.line(&format!("# ends of Helm's log, {}", time::local_date(time::now())))?;
            return anchors.iter().try_for_each(|anchor| printer.line(anchor));
        }
        removed.iter().try_for_each(|removed| printer.line(&format!("removed by retention: {removed}")))?;
        if ok {
            printer.line(&styled(GOOD, &self.whole()))?;
        } else if self.ends {
            note("No ends are printed: what does not fit must not be what is proved from now on.");
        }
        if ok && self.kept == 0 {
            note(
                "What was cut off at the end shows only against ends that were kept elsewhere: `helmctl logs verify --anchor > FILE`, later `--against FILE`.",
            );
        }
        verdict
    }

    fn whole(&self) -> String {
        let against = match self.kept {
            0 => String::new(),
            1 => ", and nothing was cut off since the end that was kept".to_owned(),
            kept => format!(", and nothing was cut off since the {kept} ends that were kept"),
        };
        format!("{} entries: none altered, inserted or removed{against}", self.entries)
    }
}
