//! helmd: the daemon that watches over the services of one home.

use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use helm_core::wish::Mode;
use helmd::app::replace::{self, Handover};
use helmd::app::{self, Options};
use helmd::doctor;
use helmd::tool::{self, Tool};

/// Watches over the services of one home: starts them in order, restarts them, keeps their output. Clients use the
/// Unix socket; `helmctl` is one.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The directory that holds services.json.
    #[arg(long, env = "HELM_HOME", default_value = ".")]
    home: PathBuf,
    /// Check the configuration, print its faults, change nothing.
    #[arg(long)]
    check: bool,
    /// With --check: not the files, but the configuration that is in force.
    #[arg(long, requires = "check", hide = true)]
    in_force: bool,
    /// What a former program of this process leaves.
    #[arg(long, hide = true)]
    handover: Option<Handover>,
    /// Another part of that.
    #[arg(long, hide = true, env = replace::WEB, hide_env = true)]
    handover_web: Option<RawFd>,
    /// With --check: print JSON.
    #[arg(long, requires = "check")]
    json: bool,
    /// Mode of services that are started without one.
    #[arg(long, value_name = "development|production", value_parser = parse_mode)]
    default_mode: Option<Mode>,
    /// Write helmd's own log to stderr instead of logs/helmd.log.
    #[arg(long)]
    foreground: bool,
    /// Leave the terminal's session: it may end without us.
    #[arg(long)]
    detach: bool,
    /// Hold the cgroup tree of the services (what helm-tree.service runs).
    #[arg(long, hide = true)]
    hold_tree: bool,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Subcommand)]
enum Work {
    /// Work on the database, for helmctl.
    #[command(subcommand)]
    Db(Tool),
    /// Look for what is wrong, for helmctl.
    Doctor {
        /// Only at this service.
        name: Option<String>,
        /// Not look: do what was agreed to.
        #[arg(long, conflicts_with = "name")]
        fix: bool,
    },
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match text {
        "development" => Ok(Mode::Development),
        "production" => Ok(Mode::Production),
        _ => Err("use development or production".into()),
    }
}

fn main() -> ExitCode {
    let Cli {
        home,
        check,
        in_force,
        handover,
        handover_web,
        json,
        default_mode,
        foreground,
        detach,
        hold_tree,
        work,
    } = Cli::parse();
    if hold_tree {
        return app::hold_tree();
    }
    match work {
        Some(Work::Db(tool)) => return tool::run(&home, tool),
        Some(Work::Doctor { fix: true, .. }) => return doctor::fix(&home),
        Some(Work::Doctor { name, fix: false }) => return doctor::run(&home, name.as_deref()),
        None => {}
    }
    if check {
        return app::check(&home, json, in_force);
    }
    if detach {
        // Refused only where we lead a group already, and then nothing is lost.
        let _ = rustix::process::setsid();
    }
    let handover = handover.map(|handover| handover.with_web(handover_web));
    app::main(Options { home, default_mode, foreground, handover })
}
