//! One file per group of verbs.

mod access;
mod config;
mod daemon;
mod db;
mod doctor;
mod events;
pub(crate) mod follow;
mod graph;
mod incidents;
mod inside;
mod kick;
mod list;
mod logs;
mod metrics;
mod operate;
mod output;
mod reload;
mod retention;
mod status;
mod wait;

use helm_client::{Client, Home, daemon as daemon_of};

use helm_proto::Timestamp;
use helm_proto::v1::{EventsRequest, OutputRequest};

use crate::cli::{Cli, LogsVerb, Verb};
use crate::completion;
use crate::failure::Failure;
use crate::render::Printer;
use crate::when;

/// Does what was typed.
pub(crate) async fn run(cli: Cli, printer: &mut Printer) -> Result<(), Failure> {
    if let Verb::Logs(args) = &cli.verb
        && let Some(LogsVerb::Explain { file, rule }) = &args.verb
    {
        return logs::explain(file, rule, printer);
    }
    if let Verb::Completions { shell } = &cli.verb {
        return completion::script(shell, printer);
    }
    if let Verb::Man { dir } = &cli.verb {
        return completion::man(dir);
    }
    let home = Home::find(cli.home.as_deref())?;
    let named = cli.home.is_some();
    match cli.verb {
        Verb::Up { names, as_wanted, mode, wait } => {
            let mut client = connect_or_start(&home).await?;
            alerts(&mut client).await?;
            operate::up(&home, &client, names, as_wanted, mode, &wait, printer).await
        }
        Verb::Start { names, mode, wait } => {
            let mut client = connect_or_start(&home).await?;
            alerts(&mut client).await?;
            operate::start(&home, &client, names, mode, &wait, printer).await
        }
        // A stop is carried out also where it cannot be written down: what that means is known behind it.
        Verb::Down { names, wait } => {
            let mut client = Client::of(&home).await?;
            operate::down(&home, &client, names, &wait, printer).await?;
            alerts(&mut client).await.map(drop)
        }
        Verb::Stop { names, wait } => {
            let mut client = Client::of(&home).await?;
            operate::stop(&home, &client, names, &wait, printer).await?;
            alerts(&mut client).await.map(drop)
        }
        Verb::Restart { names, mode, wait } => {
            let mut client = Client::of(&home).await?;
            alerts(&mut client).await?;
            operate::restart(&home, &client, names, mode, &wait, printer).await
        }
        Verb::Status { names, watch: false } => {
            status::once(&mut Client::of(&home).await?, names, printer).await
        }
        Verb::Status { names, watch: true } => status::watch(&home, names, printer).await,
        Verb::Top => crate::top::run(&home).await,
        Verb::List => list::run(&mut Client::of(&home).await?, printer).await,
        Verb::Output { name, lines, follow, stream } => {
            let stream = stream.unwrap_or_default();
            let request = OutputRequest { name, lines: Some(lines), stream, ..Default::default() };
            if follow {
                output::follow(&home, request, printer).await
            } else {
                output::past(&home, request, printer).await
            }
        }
        Verb::Events { names, last, follow, since, until } => {
            let range = range(since.as_deref(), until.as_deref())?;
            let [since, until] = range.map(|at| at.map(timestamp));
            let request = EventsRequest { names, since, until, ..Default::default() };
            if follow {
                events::follow(&home, request, last, printer).await
            } else {
                events::past(&home, request, last, printer).await
            }
        }
        Verb::Why { name } => incidents::why(&mut Client::of(&home).await?, &name, printer).await,
        Verb::Incidents(args) => incidents::run(&mut Client::of(&home).await?, args, printer).await,
        Verb::Wait { names, awaited, timeout } => wait::run(&home, names, awaited, timeout, printer).await,
        Verb::Exec { name, command } => inside::exec(&mut Client::of(&home).await?, name, command).await,
        Verb::Env { name, show_secrets } => {
            inside::env(&mut Client::of(&home).await?, name, show_secrets, printer).await
        }
        Verb::Tree { name } => inside::tree(&mut Client::of(&home).await?, name, printer).await,
        Verb::Graph { mermaid, svg } => {
            graph::run(&mut Client::of(&home).await?, mermaid, svg, printer).await
        }
        Verb::Signal { name, signal } => {
            inside::signal(&mut Client::of(&home).await?, name, signal, printer).await
        }
        Verb::Kick { names } => kick::run(&mut Client::of(&home).await?, names, printer).await,
        Verb::Logs(args) => logs::run(&home, *args, printer).await,
        Verb::Metrics { name, since, until, metric } => {
            let [since, until] = range(since.as_deref(), until.as_deref())?;
            let asked = metrics::Asked { name, metric, since, until };
            metrics::run(&mut Client::of(&home).await?, asked, printer).await
        }
        Verb::Doctor { name, fix, yes } => {
            let asked = doctor::Asked { name, fix, yes, named };
            doctor::run(&home, asked, printer).await
        }
        Verb::Db(verb) => db::run(&home, verb, printer).await,
        Verb::Retention(verb) => retention::run(&home, verb, printer).await,
        Verb::Plan { reach } => reload::plan(&home, reach, printer).await,
        Verb::Reload { dry_run: true, reach, .. } => reload::plan(&home, reach, printer).await,
        Verb::Reload { dry_run: false, reach, gate } => reload::reload(&home, reach, gate, printer).await,
        Verb::Config(verb) => config::run(&home, verb, printer).await,
        Verb::Dashboard(args) => access::dashboard(&home, args, printer).await,
        Verb::Audit(args) => {
            let range = range(args.since.as_deref(), args.until.as_deref())?;
            access::audit(&home, args.last, range, printer).await
        }
        Verb::Token(verb) => access::token(&home, verb, printer).await,
        Verb::Session(verb) => access::session(&home, verb, printer).await,
        Verb::Daemon(verb) => daemon::run(&home, verb, printer).await,
        // Above: they need no home.
        Verb::Completions { .. } | Verb::Man { .. } => Ok(()),
    }
}

/// A range of time as it was typed. One that holds nothing is refused, or said.
fn range(since: Option<&str>, until: Option<&str>) -> Result<[Option<jiff::Timestamp>; 2], Failure> {
    let now = jiff::Timestamp::now();
    let [since, until] = [since, until].map(|text| text.map(|text| when::parse(text, now)).transpose());
    let (since, until) = (since.map_err(Failure::Usage)?, until.map_err(Failure::Usage)?);
    when::holds_something(since, until, now).map_err(Failure::Usage)?;
    Ok([since, until])
}

fn timestamp(at: jiff::Timestamp) -> Timestamp {
    // Before 1970 nothing happened that we could show.
    let (seconds, nanos) = (at.as_second().max(0), at.subsec_nanosecond().max(0));
    Timestamp { seconds, nanos }
}

/// The helmd of this home; one is started, and that is said, where none runs.
async fn connect_or_start(home: &Home) -> Result<Client, Failure> {
    let (client, started) = daemon_of::ensure(home).await?;
    if started {
        crate::render::note(&format!("helmd started for {}", home.path().display()));
    }
    Ok(client)
}

/// What an operator must know is said with every command that shows or acts; what it is.
async fn alerts(client: &mut Client) -> Result<Vec<String>, Failure> {
    let alerts = client.info().await?.alerts;
    for alert in &alerts {
        crate::render::warn(alert);
    }
    Ok(alerts)
}
