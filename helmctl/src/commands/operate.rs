//! up, start, stop, restart, down: ask, then show how it goes.

use std::time::Duration;

use helm_client::{Client, ClientError};
use helm_proto::v1::{
    DownRequest, Outcome, Progress, RestartRequest, StartRequest, StopRequest, UpRequest, Wait,
};
use tokio_stream::{Stream, StreamExt};

use crate::cli::{ModeArg, WaitArgs};
use crate::failure::Failure;
use crate::render::progress::Board;
use crate::render::{Printer, json};

use super::follow::Interrupt;

/// How often waiting times are redrawn.
const REDRAW: Duration = Duration::from_secs(1);

fn wait(args: &WaitArgs) -> Option<Wait> {
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    Some(Wait { no_wait: args.no_wait, timeout_ms })
}

fn mode(arg: ModeArg) -> String {
    arg.mode.unwrap_or_default()
}

pub(super) async fn up(
    client: &Client,
    names: Vec<String>,
    as_wanted: bool,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = UpRequest { names, mode: mode(mode_arg), as_wanted, wait: wait(args) };
    follow(client.up(request).await?, printer).await
}

pub(super) async fn start(
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = StartRequest { names, mode: mode(mode_arg), wait: wait(args) };
    follow(client.start(request).await?, printer).await
}

pub(super) async fn stop(
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    follow(client.stop(StopRequest { names, wait: wait(args) }).await?, printer).await
}

pub(super) async fn restart(
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = RestartRequest { names, mode: mode(mode_arg), wait: wait(args) };
    follow(client.restart(request).await?, printer).await
}

pub(super) async fn down(
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    follow(client.down(DownRequest { names, wait: wait(args) }).await?, printer).await
}

/// Shows progress until the outcome.
async fn follow(
    stream: impl Stream<Item = Result<Progress, ClientError>>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut board = Board::new(printer.wants_json());
    let stream = stream.timeout_repeating(tokio::time::interval(REDRAW));
    tokio::pin!(stream);
    let mut interrupt = Interrupt::watch()?;
    let (mut outcome, mut taken) = (None, false);
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = interrupt.pressed() => {
                return Err(Failure::Failed("not waiting any longer; the operation goes on (helmctl status)".into()));
            }
        };
        match next {
            Some(Ok(Err(e))) if e.is_away() => return Err(Failure::Lost { taken }),
            Some(Ok(progress)) => {
                let progress = progress?;
                taken = true;
                board.take(&progress);
                outcome = progress.outcome.or(outcome);
            }
            Some(Err(_)) if board.is_live() => board.redraw(),
            Some(Err(_)) => {}
            None => break,
        }
    }
    conclude(outcome.ok_or(Failure::Lost { taken })?, &board, printer)
}

fn conclude(outcome: Outcome, board: &Board, printer: &mut Printer) -> Result<(), Failure> {
    let Outcome { result, message } = outcome;
    if printer.wants_json() {
        let value =
            json::Outcome { result: result.clone(), message: message.clone(), services: board.steps() };
        printer.value(&value, true)?;
    } else if !(board.is_live() && printer.is_terminal()) {
        // On a terminal the board shows it already.
        let steps = board.steps();
        // What the one service failed with is the failure of the command, and is told as that.
        let told_below = |step: &json::Step| {
            steps.len() == 1 && result == "failed" && message == format!("{}: {}", step.name, step.message)
        };
        for step in steps.iter().filter(|step| !told_below(step)) {
            printer.line(&format!("{}: {}", step.name, step.message))?;
        }
    }
    match result.as_str() {
        "done" => Ok(()),
        "accepted" if printer.wants_json() => Ok(()),
        "accepted" => printer.line(&message),
        "timeout" => Err(Failure::Timeout(message)),
        _ => Err(Failure::Failed(message)),
    }
}
