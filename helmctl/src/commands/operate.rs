//! up, start, stop, restart, down: ask, then show how it goes.

use std::time::Duration;

use helm_client::stream::Stream;
use helm_client::{Client, Home, resume};
use helm_proto::v1::{
    DownRequest, Outcome, Progress, RestartRequest, ResumeRequest, StartRequest, StopRequest, UpRequest, Wait,
};
use helm_shapes::fleet::{self, Step};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use crate::cli::{ModeArg, WaitArgs};
use crate::failure::Failure;
use crate::render::Printer;
use crate::render::progress::Board;

use super::follow::Interrupt;

/// How often waiting times are redrawn.
const REDRAW: Duration = Duration::from_secs(1);
/// How long the next helmd may take to come, where one leaves within an operation.
const NEXT_WITHIN: Duration = Duration::from_secs(10);

type Progresses = Stream<Progress>;

fn wait(args: &WaitArgs) -> Option<Wait> {
    let timeout_ms = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    Some(Wait { no_wait: args.no_wait, timeout_ms })
}

fn operation<'a>(home: &'a Home, args: &WaitArgs) -> Operation<'a> {
    Operation { home, token: String::new(), wait: wait(args), until: Instant::now() + args.timeout }
}

fn mode(arg: ModeArg) -> String {
    arg.mode.unwrap_or_default()
}

pub(super) async fn up(
    home: &Home,
    client: &Client,
    names: Vec<String>,
    as_wanted: bool,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = UpRequest { names: names.clone(), mode: mode(mode_arg), as_wanted, wait: wait(args) };
    follow(operation(home, args), client.up(request).await?, &names, printer).await
}

pub(super) async fn start(
    home: &Home,
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = StartRequest { names: names.clone(), mode: mode(mode_arg), wait: wait(args) };
    follow(operation(home, args), client.start(request).await?, &names, printer).await
}

pub(super) async fn stop(
    home: &Home,
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = StopRequest { names: names.clone(), wait: wait(args) };
    follow(operation(home, args), client.stop(request).await?, &names, printer).await
}

pub(super) async fn restart(
    home: &Home,
    client: &Client,
    names: Vec<String>,
    mode_arg: ModeArg,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = RestartRequest { names: names.clone(), mode: mode(mode_arg), wait: wait(args) };
    follow(operation(home, args), client.restart(request).await?, &names, printer).await
}

pub(super) async fn down(
    home: &Home,
    client: &Client,
    names: Vec<String>,
    args: &WaitArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let request = DownRequest { names: names.clone(), wait: wait(args) };
    follow(operation(home, args), client.down(request).await?, &names, printer).await
}

/// An operation, and how to go on with it where helmd begins again meanwhile.
struct Operation<'a> {
    home: &'a Home,
    /// As the first message said; empty until then.
    token: String,
    wait: Option<Wait>,
    until: Instant,
}

impl Operation<'_> {
    /// What the next helmd tells of it; `None`: there is none, or nothing is known to ask it for.
    async fn resumed(&self) -> Result<Option<Progresses>, Failure> {
        if self.token.is_empty() {
            return Ok(None);
        }
        let left = self.until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let wait = self.wait.map(|wait| Wait { timeout_ms, ..wait });
        let request = ResumeRequest { operation: self.token.clone(), wait };
        Ok(resume::operation(self.home, request, NEXT_WITHIN).await?)
    }
}

/// Shows progress until the outcome.
async fn follow(
    mut operation: Operation<'_>,
    first: Progresses,
    asked: &[String],
    printer: &mut Printer,
) -> Result<(), Failure> {
    let mut board = Board::new(printer.wants_json());
    let mut interrupt = Interrupt::watch()?;
    let mut redraw = tokio::time::interval(REDRAW);
    let mut stream = first;
    let outcome = loop {
        let next = tokio::select! {
            next = stream.next() => next,
            _ = redraw.tick(), if board.is_live() => {
                board.redraw();
                continue;
            }
            () = interrupt.pressed() => {
                return Err(Failure::Failed("not waiting any longer; the operation goes on (helmctl status)".into()));
            }
        };
        let progress = match next {
            Some(Ok(progress)) => progress,
            Some(Err(e)) if !e.is_away() => return Err(e.into()),
            Some(Err(_)) | None => {
                let lost = Failure::Lost { taken: !operation.token.is_empty() };
                stream = operation.resumed().await?.ok_or(lost)?;
                continue;
            }
        };
        if !progress.operation.is_empty() {
            operation.token.clone_from(&progress.operation);
        }
        board.take(&progress, asked);
        // What comes with the outcome is told with it.
        if board.is_live() || progress.outcome.is_none() {
            board.tell(printer)?;
        }
        if let Some(outcome) = progress.outcome {
            break outcome;
        }
    };
    conclude(outcome, &mut board, printer)
}

fn conclude(outcome: Outcome, board: &mut Board, printer: &mut Printer) -> Result<(), Failure> {
    let Outcome { result, message } = outcome;
    if printer.wants_json() {
        let value =
            fleet::Outcome { result: result.clone(), message: message.clone(), services: board.steps() };
        printer.value(&value, true)?;
    } else if !(board.is_live() && printer.is_terminal()) {
        // On a terminal the board shows it already.
        // What the one service failed with is the failure of the command, and is told as that.
        let alone = board.steps().len() == 1;
        let told_below = |step: &Step| {
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
