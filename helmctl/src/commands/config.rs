//! `config check|history|diff|rollback`

use helm_client::{Client, ClientError, Home, config};
use helm_proto::v1::ConfigRollbackRequest;
use helm_shapes::config::{Plan, Version};
use helm_shapes::fleet::{Checked, Fault};

use super::reload;
use crate::cli::{ConfigVerb, GateArgs};
use crate::failure::Failure;
use crate::render::{Printer, list, plan, width};

pub(super) async fn run(home: &Home, verb: ConfigVerb, printer: &mut Printer) -> Result<(), Failure> {
    match verb {
        ConfigVerb::Check => check(home, printer).await,
        ConfigVerb::History => history(home, printer).await,
        ConfigVerb::Diff { from, to } => diff(home, from, to, printer).await,
        ConfigVerb::Rollback { number, gate } => rollback(home, number, gate, printer).await,
    }
}

async fn history(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let versions = Client::of(home).await?.config_history().await?;
    if printer.wants_json() {
        return printer.value(&versions.into_iter().map(Version::from).collect::<Vec<_>>(), true);
    }
    printer.block(&plan::history(&versions, width(std::io::stdout())))
}

async fn diff(home: &Home, from: u64, to: Option<u64>, printer: &mut Printer) -> Result<(), Failure> {
    let found = Client::of(home).await?.config_diff(from, to.unwrap_or(0)).await?;
    if printer.wants_json() {
        return printer.value(&Plan::from(found), true);
    }
    let to = to.map_or_else(|| "what is in force".to_owned(), |to| format!("configuration {to}"));
    printer.block(&plan::difference(
        &found,
        &format!("From configuration {from} to {to}:"),
        width(std::io::stdout()),
    ))
}

async fn rollback(home: &Home, number: u64, gate: GateArgs, printer: &mut Printer) -> Result<(), Failure> {
    let request = ConfigRollbackRequest { number, gate: gate.wait, timeout_ms: reload::millis(gate.timeout) };
    let accepted = Client::of(home).await?.config_rollback(request).await?;
    reload::follow(home, accepted, printer).await
}

async fn check(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let checked = match Client::of(home).await {
        Ok(mut client) => {
            let answer = client.check_config().await?;
            Checked { ok: answer.ok, faults: answer.faults.into_iter().map(Fault::from).collect() }
        }
        // Without helmd its program checks: the same code, and no second reader.
        Err(ClientError::NotRunning { .. }) => {
            let answer = config::check_without_helmd(home).await?;
            Checked { ok: answer.ok, faults: answer.faults.into_iter().map(Fault::from).collect() }
        }
        Err(e) => return Err(e.into()),
    };
    if printer.wants_json() {
        printer.value(&checked, true)?;
    } else {
        printer.block(&list::faults(&checked.faults))?;
    }
    if checked.ok {
        Ok(())
    } else {
        Err(Failure::Failed("the configuration has faults; nothing was changed".into()))
    }
}
