//! `plan`, `reload`

use std::time::Duration;

use helm_client::{Client, Home, Resuming};
use helm_proto::v1::{
    FollowReloadRequest, Outcome, PlanRequest, PlanResponse, Progress, ReloadProgress, ReloadRequest,
    ReloadResponse,
};
use helm_shapes::config::{Plan, Reloaded};
use helm_shapes::fleet::Fault;

use super::follow::Following;
use crate::cli::{GateArgs, ReachArgs};
use crate::failure::Failure;
use crate::render::progress::Board;
use crate::render::{Printer, list, plan, width};

pub(super) async fn plan(home: &Home, reach: ReachArgs, printer: &mut Printer) -> Result<(), Failure> {
    let ReachArgs { no_restart, no_start } = reach;
    let found = Client::of(home).await?.plan(PlanRequest { no_restart, no_start }).await?;
    let ok = found.ok;
    if printer.wants_json() {
        printer.value(&Plan::from(found), true)?;
    } else {
        show(&found, printer)?;
        if ok && !is_empty(&found) {
            printer.line("\nApply it with: helmctl reload (--wait goes back unless all is healthy)")?;
        }
    }
    if ok { Ok(()) } else { Err(faulty()) }
}

pub(super) async fn reload(
    home: &Home,
    reach: ReachArgs,
    gate: GateArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let ReachArgs { no_restart, no_start } = reach;
    let request = ReloadRequest { no_restart, no_start, gate: gate.wait, timeout_ms: millis(gate.timeout) };
    let accepted = Client::of(home).await?.reload(request).await?;
    follow(home, accepted, printer).await
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn faulty() -> Failure {
    Failure::Failed("the configuration has faults; nothing was changed".into())
}

fn is_empty(plan: &PlanResponse) -> bool {
    plan.services.is_empty() && plan.settings.is_empty() && plan.notes.is_empty()
}

fn show(found: &PlanResponse, printer: &mut Printer) -> Result<(), Failure> {
    if !found.ok {
        let faults: Vec<Fault> = found.faults.iter().cloned().map(Fault::from).collect();
        return printer.block(&list::faults(&faults));
    }
    printer.block(&plan::plan(found, width(std::io::stdout())))
}

/// Shows what is done, then how it goes, until something has come of it.
pub(super) async fn follow(
    home: &Home,
    accepted: ReloadResponse,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let ReloadResponse { plan, id, number } = accepted;
    let found = plan.unwrap_or_default();
    let ok = found.ok;
    if !printer.wants_json() {
        show(&found, printer)?;
    }
    let mut reloaded = Reloaded { plan: Plan::from(found), ..Reloaded::default() };
    if id.is_empty() {
        "nothing".clone_into(&mut reloaded.result);
        if printer.wants_json() {
            printer.value(&reloaded, true)?;
        }
        return if ok { Ok(()) } else { Err(faulty()) };
    }
    let mut board = Board::new(printer.wants_json());
    let request = FollowReloadRequest { id };
    let mut stream = Following::quietly(Resuming::later(home, request))?;
    let Outcome { result, message } = loop {
        let Some(ReloadProgress { services, outcome }) = stream.next().await? else {
            return Err(Failure::Failed(
                "not waiting any longer; the reload goes on (helmctl status)".into(),
            ));
        };
        board.take(&Progress { services, ..Progress::default() }, &[]);
        board.tell(printer)?;
        if let Some(outcome) = outcome {
            break outcome;
        }
    };
    (reloaded.result, reloaded.message, reloaded.number) = (result.clone(), message.clone(), number);
    if printer.wants_json() {
        printer.value(&reloaded, true)?;
    }
    match result.as_str() {
        "done" if printer.wants_json() => Ok(()),
        "done" => printer.line(&message),
        _ => Err(Failure::Failed(message)),
    }
}
