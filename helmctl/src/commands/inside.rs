//! `env`, `exec`, `tree`, `signal`: into one service.

use std::os::unix::process::CommandExt;
use std::process::Command;

use helm_client::Client;
use helm_proto::v1::{LaunchRequest, SignalRequest};

use crate::failure::Failure;
use crate::render::{self, Printer, json_inside as json, safe};

/// `env`
pub(super) async fn env(
    client: &mut Client,
    name: String,
    show_secrets: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let launch = client.launch(LaunchRequest { name, mode: String::new(), show_secrets }).await?;
    if printer.wants_json() {
        return printer.value(&json::Launch::from(launch), true);
    }
    let masked = launch.environment.iter().filter(|v| v.masked).count();
    for variable in &launch.environment {
        printer.line(&format!("{}={}", variable.name, safe(&variable.value)))?;
    }
    if masked > 0 {
        render::note(&format!("{masked} masked; --show-secrets shows them"));
    }
    Ok(())
}

/// `exec`: becomes the command. Comes back only where that fails.
pub(super) async fn exec(client: &mut Client, name: String, command: Vec<String>) -> Result<(), Failure> {
    let launch = client.launch(LaunchRequest { name, mode: String::new(), show_secrets: true }).await?;
    let [program, words @ ..] = &command[..] else {
        return Err(Failure::Usage("name a command behind `--`".into()));
    };
    let variables = launch.environment.into_iter().map(|v| (v.name, v.value));
    let mut command = Command::new(program);
    command.args(words).env_clear();
    // Of our own: what kind of terminal this is.
    command.envs(["TERM", "COLORTERM"].iter().filter_map(|key| Some((key, std::env::var_os(key)?))));
    let failed = command.envs(variables).current_dir(&launch.directory).exec();
    Err(Failure::Failed(format!("{program} cannot be run in {}: {failed}", launch.directory)))
}

/// `tree`
pub(super) async fn tree(client: &mut Client, name: String, printer: &mut Printer) -> Result<(), Failure> {
    let processes = client.tree(&name).await?.processes;
    if printer.wants_json() {
        let processes: Vec<json::Process> = processes.into_iter().map(json::Process::from).collect();
        return printer.value(&processes, true);
    }
    if processes.is_empty() {
        return printer.line(&format!("{name} has no process; helmctl status {name} says why"));
    }
    printer.block(&render::tree::table(&processes, render::width(std::io::stdout())))
}

/// `signal`
pub(super) async fn signal(
    client: &mut Client,
    name: String,
    signal: String,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let sent = client.signal(SignalRequest { name: name.clone(), signal }).await?;
    if printer.wants_json() {
        return printer.value(&json::Signal::from(sent), true);
    }
    printer.line(&format!("{} sent to {name} (pid {})", sent.signal, sent.pid))?;
    if !sent.follows.is_empty() {
        render::note(&sent.follows);
    }
    Ok(())
}
