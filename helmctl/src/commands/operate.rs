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
    let request = UpRequest { names: names.clone(), mode: mode(mode_arg), as_wanted, wait: wait(args) };
    follow(client.up(request).await?, &names, printer).await
}

pub(super) async fn start(
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = StartRequest { names: names.clone(), mode: mode(mode_arg), wait: wait(args) };
    follow(client.start(request).await?, &names, printer).await
}

pub(super) async fn stop(
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = StopRequest { names: names.clone(), wait: wait(args) };
    follow(client.stop(request).await?, &names, printer).await
}

pub(super) async fn restart(
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = RestartRequest { names: names.clone(), mode: mode(mode_arg), wait: wait(args) };
    follow(client.restart(request).await?, &names, printer).await
}

pub(super) async fn down(
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = DownRequest { names: names.clone(), wait: wait(args) };
    follow(client.down(request).await?, &names, printer).await
}

/// Shows progress until the outcome.
async fn follow(
    stream: impl Stream<Item = Result<Progress, ClientError>>,
    asked: &[String],
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
                board.take(&progress, asked);
                // What comes with the outcome is told with it.
                if board.is_live() || progress.outcome.is_none() {
                    board.tell(printer)?;
                }
                outcome = progress.outcome.or(outcome);
            }
            Some(Err(_)) if board.is_live() => board.redraw(),
            Some(Err(_)) => {}
            None => break,
        }
    }
    conclude(outcome.ok_or(Failure::Lost { taken })?, &mut board, printer)
}

fn conclude(outcome: Outcome, board: &mut Board, printer: &mut Printer) -> Result<(), Failure> {
    let Outcome { result, message } = outcome;
    if printer.wants_json() {
        let value =
            json::Outcome { result: result.clone(), message: message.clone(), services: board.steps() };
        printer.value(&value, true)?;
    } else if !(board.is_live() && printer.is_terminal()) {
        // On a terminal the board shows it already.
        // What the one service failed with is the failure of the command, and is told as that.
        let alone = board.steps().len() == 1;
        let told_below = |step: &json::Step| {
            alone && result == "failed" && message == format!("{}: {}", step.name, step.message)
        };
        board.conclude(told_below, printer)?;
    }
    match result.as_str() {
        "done" => Ok(()),
        "accepted" if printer.wants_json() => Ok(()),
        "accepted" => printer.line(&message),
        "timeout" => Err(Failure::Timeout(message)),
        _ => Err(Failure::Failed(message)),
    }
}
