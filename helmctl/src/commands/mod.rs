//! One file per group of verbs.

mod config;
mod daemon;
mod events;
mod list;
mod operate;
mod output;
mod status;

use helm_client::{Client, Home, daemon as daemon_of};

use crate::cli::{Cli, ConfigVerb, Verb};
use crate::failure::Failure;
use crate::render::Printer;

/// Does what was typed.
pub(crate) async fn run(cli: Cli, printer: &mut Printer) -> Result<(), Failure> {
    let home = Home::find(cli.home.as_deref())?;
    match cli.verb {
        Verb::Up { names, as_wanted, mode, wait } => {
            let client = connect_or_start(&home).await?;
            operate::up(&client, names, as_wanted, mode, &wait, printer).await
        }
        Verb::Start { names, mode, wait } => {
            let client = connect_or_start(&home).await?;
            operate::start(&client, names, mode, &wait, printer).await
        }
        Verb::Down { names, wait } => operate::down(&Client::of(&home).await?, names, &wait, printer).await,
        Verb::Stop { names, wait } => operate::stop(&Client::of(&home).await?, names, &wait, printer).await,
        Verb::Restart { names, mode, wait } => {
            operate::restart(&Client::of(&home).await?, names, mode, &wait, printer).await
        }
        Verb::Status { names, watch: false } => {
            status::once(&mut Client::of(&home).await?, names, printer).await
        }
        Verb::Status { names, watch: true } => status::watch(&Client::of(&home).await?, names, printer).await,
        Verb::List => list::run(&mut Client::of(&home).await?, printer).await,
        Verb::Output { name, lines, follow, stream } => {
            output::run(&Client::of(&home).await?, name, lines, follow, stream, printer).await
        }
        Verb::Events { names, last, follow } => {
            events::run(&Client::of(&home).await?, names, last, follow, printer).await
        }
        Verb::Config(ConfigVerb::Check) => config::check(&home, printer).await,
        Verb::Daemon(verb) => daemon::run(&home, verb, printer).await,
    }
}

/// The helmd of this home; one is started, and that is said, where none runs.
async fn connect_or_start(home: &Home) -> Result<Client, Failure> {
    let (client, started) = daemon_of::ensure(home).await?;
    if started {
        crate::render::note(&format!("helmd started for {}", home.path().display()));
    }
    Ok(client)
}
