//! `logs verify`

use helm_client::{Client, Home, Logs};
use helm_proto::v1::VerifyOutcome;
use serde::Serialize;
use tokio_stream::StreamExt;

use crate::failure::Failure;
use crate::render::screen::Block;
use crate::render::{BAD, GOOD, Printer, safe, styled};

/// `logs verify --json`
#[derive(Serialize)]
struct Verified {
    ok: bool,
    entries: u64,
    findings: Vec<String>,
    anchors: Vec<String>,
    removed: Vec<String>,
}

pub(super) async fn run(home: &Home, anchors: Vec<String>, printer: &mut Printer) -> Result<(), Failure> {
    let logs = Logs::of(&Client::of(home).await?).await?;
    let mut told = logs.verify(anchors).await?;
    let live = printer.can_redraw() && !printer.wants_json();
    let mut block = Block::default();
    while let Some(message) = told.next().await {
        let message = message?;
        if live {
            let words = format!("{} of {} entries looked at", message.entries, message.of);
            printer.frame(&mut block, &[words])?;
        }
        if let Some(outcome) = message.outcome {
            return show(outcome, message.entries, printer);
        }
    }
    Err(Failure::Failed("helmd ended before everything was looked at: nothing is proved".into()))
}

fn show(outcome: VerifyOutcome, entries: u64, printer: &mut Printer) -> Result<(), Failure> {
    let VerifyOutcome { ok, findings, anchors, removed } = outcome;
    let verdict = if ok {
        Ok(())
    } else {
        Err(Failure::Failed("the log is not as Helm wrote it: see the findings".into()))
    };
    if printer.wants_json() {
        printer.value(&Verified { ok, entries, findings, anchors, removed }, true)?;
        return verdict;
    }
    findings.iter().try_for_each(|finding| printer.line(&styled(BAD, &safe(finding))))?;
    removed.iter().try_for_each(|removed| printer.line(&format!("removed by retention: {removed}")))?;
    if ok {
        let words = format!("{entries} entries: none altered, inserted or removed");
        printer.line(&styled(GOOD, &words))?;
    }
    if !anchors.is_empty() {
        printer.line("Keep these elsewhere; `helmctl logs verify --anchor` proves later that nothing was cut off since:")?;
    }
    anchors.iter().try_for_each(|anchor| printer.line(anchor))?;
    verdict
}
