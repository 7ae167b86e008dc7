//! `daemon start|stop|status|reexec`

use std::time::Duration;

use helm_client::unit::Units;
use helm_client::{Client, ClientError, Home, Presence, daemon};
use helm_shapes::fleet::Daemon;
use tokio::time::{Instant, interval, timeout_at};

use crate::cli::DaemonVerb;
use crate::failure::Failure;
use crate::render::{Printer, WARN, styled, warning};

/// helmd waits a few seconds for its tasks when it leaves.
const LEAVE_WITHIN: Duration = Duration::from_secs(20);

/// The next program answers when it has adopted what runs.
const REPLACED_WITHIN: Duration = Duration::from_secs(60);

pub(super) async fn run(home: &Home, verb: DaemonVerb, printer: &mut Printer) -> Result<(), Failure> {
    match verb {
        DaemonVerb::Start => start(home, printer).await,
        DaemonVerb::Stop => stop(home, printer).await,
        DaemonVerb::Status => status(home, printer).await,
        DaemonVerb::Reexec => reexec(home, printer).await,
    }
}

async fn start(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let (mut client, started) = daemon::ensure(home).await?;
    let words = if started {
        format!("helmd started for {}", home.path().display())
    } else {
        format!("helmd is already running for {} (pid {})", home.path().display(), client.info().await?.pid)
    };
    say(printer, home, true, &words).await?;
    super::alerts(&mut client).await.map(drop)
}

async fn stop(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    // Left by itself, it would be started again by its unit, or by the next client through its socket.
    let units = Units::of(home);
    if let Some(units) = &units {
        units.stop().await?;
    }
    if units.is_none() && matches!(home.presence()?, Presence::Absent) {
        return say(printer, home, false, &format!("helmd is not running for {}", home.path().display()))
            .await;
    }
    if matches!(home.presence()?, Presence::Running(_)) {
        Client::of(home).await?.shutdown().await?;
    }
    let until = Instant::now() + LEAVE_WITHIN;
    let mut look = interval(Duration::from_millis(20));
    while matches!(home.presence()?, Presence::Running(_)) {
        if timeout_at(until, look.tick()).await.is_err() {
            return Err(Failure::Timeout(format!("helmd is still there after {} s", LEAVE_WITHIN.as_secs())));
        }
    }
    say(printer, home, false, "helmd stopped; services stay").await
}

async fn reexec(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let mut client = Client::of(home).await?;
    let former = client.info().await?;
    let program = client.reexec().await?.program;
    let until = Instant::now() + REPLACED_WITHIN;
    let mut look = interval(Duration::from_millis(20));
    let next = loop {
        if timeout_at(until, look.tick()).await.is_err() {
            let message = format!(
                "{program} has not taken over within {} s; see logs/helmd.log",
                REPLACED_WITHIN.as_secs()
            );
            return Err(Failure::Timeout(message));
        }
        let answered = match Client::of(home).await {
            Ok(mut client) => client.info().await,
            Err(e) => Err(e),
        };
        match answered {
            Ok(info) if info.started_at != former.started_at => break info,
            Ok(_) => {}
            Err(e) if e.is_away() => {}
            Err(e) => return Err(e.into()),
        }
    };
    let words = format!(
        "helmd {} runs from {program} (pid {}; before: {}); services stay",
        next.version, next.pid, former.version
    );
    say(printer, home, true, &words).await
}

async fn say(printer: &mut Printer, home: &Home, running: bool, words: &str) -> Result<(), Failure> {
    if !printer.wants_json() {
        return printer.line(words);
    }
    let value = if running { Client::of(home).await?.info().await?.into() } else { absent(home) };
    printer.value(&value, true)
}

fn absent(home: &Home) -> Daemon {
    Daemon { home: home.path().display().to_string(), ..Daemon::default() }
}

async fn status(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let info: Daemon = match Client::of(home).await {
        Ok(mut client) => client.info().await?.into(),
        Err(e @ ClientError::NotRunning { .. }) => {
            if printer.wants_json() {
                printer.value(&absent(home), true)?;
            }
            return Err(e.into());
        }
        Err(e) => return Err(e.into()),
    };
    if printer.wants_json() {
        return printer.value(&info, true);
    }
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let pid = info.pid.map_or_else(String::new, |pid| pid.to_string());
    let rows = [
        ("helmd", format!("running, pid {pid}, version {}", word(&info.version))),
        ("home", info.home.clone()),
        ("socket", word(&info.socket)),
        ("since", word(&info.started_at)),
        ("mode", format!("{} unless a start says otherwise", word(&info.default_mode))),
        ("contains", format!("{} ({})", word(&info.containment), word(&info.containment_detail))),
    ];
    for (name, value) in rows {
        printer.line(&format!("{name:9} {value}"))?;
    }
    if info.hold {
        printer.line(&styled(WARN, "the fleet is held down; `helmctl up` lifts the hold"))?;
    }
    info.warnings.iter().try_for_each(|w| printer.line(&styled(WARN, &warning(w))))
}
