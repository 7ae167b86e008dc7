//! What can be typed. Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::completion::services;

pub(crate) use crate::access_cli::{AuditArgs, DashboardArgs, SessionVerb, TokenVerb};
pub(crate) use crate::db_cli::{DbVerb, RetentionVerb};
pub(crate) use crate::incidents_cli::{IncidentsArgs, IncidentsVerb};
pub(crate) use crate::logs_cli::{Compress, ExportArgs, Form, How, LogsArgs, LogsVerb, VerifyArgs, What};

/// Start, stop and watch the services of a home.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 helmd not reachable, 4 unknown (service, metric, entry), 5 out of time.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, infer_subcommands = false)]
pub(crate) struct Cli {
    /// The directory that holds services.json [default: the current directory]
    #[arg(long, global = true, env = "HELM_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print data as JSON (streams: one object a line)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colours: NO_COLOR is obeyed
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    /// What to do
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// When to colour.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Makes it the choice of the whole program.
    pub(crate) fn write_global(self) {
        let choice = match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring services up, in order (all of them without names); starts helmd if none runs
    Up {
        /// Services
        #[arg(add = services())]
        names: Vec<String>,
        /// Leave alone what an operator had stopped (used at boot)
        #[arg(long)]
        as_wanted: bool,
        #[command(flatten)]
        mode: ModeArg,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop services in reverse order; without names the whole fleet, leaving what was wanted as it was
    Down {
        /// Services
        #[arg(add = services())]
        names: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Start services and what they depend on; starts helmd if none runs
    Start {
        /// Services
        #[arg(required = true, add = services())]
        names: Vec<String>,
        #[command(flatten)]
        mode: ModeArg,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop services; they stay stopped
    Stop {
        /// Services
        #[arg(required = true, add = services())]
        names: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Stop and start again
    Restart {
        /// Services
        #[arg(required = true, add = services())]
        names: Vec<String>,
        #[command(flatten)]
        mode: ModeArg,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// State, health and process of services
    Status {
        /// Services; without names all
        #[arg(add = services())]
        names: Vec<String>,
        /// Stay and show changes as they come
        #[arg(long, short)]
        watch: bool,
    },
    /// The services on the whole screen, live: look, start, stop, restart (`?` shows the keys)
    Top,
    /// Configured services and what they depend on
    List,
    /// What a service printed, exactly as written
    Output {
        /// Service
        #[arg(add = services())]
        name: String,
        /// Lines from the end
        #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
        lines: u32,
        /// Stay and print what comes
        #[arg(short, long)]
        follow: bool,
        /// Only stdout or stderr
        #[arg(long, value_parser = ["stdout", "stderr"])]
        stream: Option<String>,
    },
    /// Why a service is as it is, and what to do next
    Why {
        /// Service
        #[arg(add = services())]
        name: String,
    },
    /// Ends that nobody asked for, newest first
    Incidents(IncidentsArgs),
    /// What happened to services, and why
    Events {
        /// Services; without names all
        #[arg(add = services())]
        names: Vec<String>,
        #[arg(
            short = 'n',
            long,
            value_name = "N",
            help = "Newest events only [default: 50; with --since all]"
        )]
        last: Option<u32>,
        /// Stay and print what happens
        #[arg(short, long, conflicts_with_all = ["since", "until"])]
        follow: bool,
        /// From this time on: 10m, 2h, yesterday, 2026-01-31T14:30
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// CPU, memory and other numbers over time: of one service, `host` or `helmd`; without a name what all do now
    Metrics {
        /// Service, `host` or `helmd`
        #[arg(add = services())]
        name: Option<String>,
        /// From this time on: 10m, 2h, yesterday, 2026-01-31T14:30 [default: 1h]
        #[arg(long, value_name = "TIME", requires = "name")]
        since: Option<String>,
        /// Before this time [default: now]
        #[arg(long, value_name = "TIME", requires = "name")]
        until: Option<String>,
        /// Only this one, as a chart
        #[arg(long, value_name = "METRIC", requires = "name")]
        metric: Option<String>,
    },
    /// Wait until services are ready, healthy or stopped
    Wait {
        /// Services
        #[arg(required = true, add = services())]
        names: Vec<String>,
        /// What to wait for
        #[arg(long = "for", value_enum, default_value_t = Awaited::Ready)]
        awaited: Awaited,
        /// Longest wait: seconds, or 90s, 5m
        #[arg(long, default_value = "120s", value_parser = parse_wait, value_name = "TIME")]
        timeout: Duration,
    },
    /// Run a command in the directory and with the environment of a service
    Exec {
        /// Service
        #[arg(add = services())]
        name: String,
        /// The command, behind `--`
        #[arg(required = true, last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// The environment that a start of a service would use
    Env {
        /// Service
        #[arg(add = services())]
        name: String,
        /// As they are: passwords, tokens, keys
        #[arg(long)]
        show_secrets: bool,
    },
    /// The processes of a service, with what they work now
    Tree {
        /// Service
        #[arg(add = services())]
        name: String,
    },
    /// Who needs whom
    Graph {
        /// For documents, as Mermaid
        #[arg(long, conflicts_with = "svg")]
        mermaid: bool,
        /// As a picture
        #[arg(long)]
        svg: bool,
    },
    /// Send a signal to the main process of a service
    Signal {
        /// Service
        #[arg(add = services())]
        name: String,
        /// HUP, SIGUSR1, 10
        #[arg(value_name = "SIG")]
        signal: String,
    },
    /// Start at once what waits for its next start, or has given up
    Kick {
        /// Services
        #[arg(required = true, add = services())]
        names: Vec<String>,
    },
    /// What services logged, kept and searchable
    Logs(Box<LogsArgs>),
    /// Find what is wrong, with evidence and the command that mends it (no helmd is needed)
    ///
    /// Exit code 1: there are faults. Warnings alone, and nothing at all: 0. docs/doctor.md lists what is looked at.
    Doctor {
        /// Only this service
        #[arg(add = services())]
        name: Option<String>,
        /// Mend what can be mended safely, after asking for each
        #[arg(long)]
        fix: bool,
        /// With --fix: do not ask
        #[arg(long, requires = "fix")]
        yes: bool,
    },
    /// The database behind the log
    #[command(subcommand)]
    Db(DbVerb),
    /// What of the log is kept how long
    #[command(subcommand)]
    Retention(RetentionVerb),
    /// What a reload would do with services.json and its companions as they are; changes nothing
    Plan {
        #[command(flatten)]
        reach: ReachArgs,
    },
    /// Apply services.json and its companions: only what differs
    ///
    /// What changed is restarted where only a start uses it (helmctl plan shows which), what is new is started, what is
    /// gone is stopped. Faulty files change nothing. SIGHUP to helmd does the same.
    Reload {
        /// Only show what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        reach: ReachArgs,
        #[command(flatten)]
        gate: GateArgs,
    },
    /// The configuration
    #[command(subcommand)]
    Config(ConfigVerb),
    /// A link that signs you in to Helm's pages, also while Keycloak, Core and Nexus are down
    Dashboard(DashboardArgs),
    /// API tokens: for programs that use Helm's HTTP interface
    #[command(subcommand)]
    Token(TokenVerb),
    /// Who changed what, oldest first
    Audit(AuditArgs),
    /// Who is signed in by `helmctl dashboard`
    #[command(subcommand)]
    Session(SessionVerb),
    /// helmd itself
    #[command(subcommand)]
    Daemon(DaemonVerb),
    /// Completion for a shell, with the names of services: source <(helmctl completions bash)
    Completions {
        /// The shell
        #[arg(value_parser = ["bash", "zsh", "fish"])]
        shell: String,
    },
    /// Write manual pages into a directory
    Man {
        /// Where to
        dir: PathBuf,
    },
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Awaited {
    /// Its dependents may start; a one-shot: completed
    Ready,
    /// Its probes say so
    Healthy,
    /// Nothing of it runs
    Stopped,
}

impl Awaited {
    /// `healthy`
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Healthy => "healthy",
            Self::Stopped => "stopped",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Check services.json and its companions; changes nothing
    Check,
    /// Configurations that were applied, newest first: when, by whom
    History,
    /// What is different between a former configuration and another one
    Diff {
        /// Number of the former one
        from: u64,
        /// Number of the other one [default: what is in force]
        to: Option<u64>,
    },
    /// Write the files of a former configuration back, and reload
    Rollback {
        /// Its number
        number: u64,
        #[command(flatten)]
        gate: GateArgs,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReachArgs {
    /// Leave what runs as it is: neither restart what changed nor stop what is gone
    #[arg(long)]
    pub(crate) no_restart: bool,
    /// Do not start what is new
    #[arg(long)]
    pub(crate) no_start: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct GateArgs {
    /// Wait until all that changed is healthy, else go back to the configuration before
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long they have: seconds, or 90s, 5m
    #[arg(long, default_value = "60s", value_parser = parse_wait, value_name = "TIME", requires = "wait")]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(crate) enum DaemonVerb {
    /// Start helmd for this home
    Start,
    /// Let helmd leave; services stay
    Stop,
    /// Which helmd runs, since when, and how it contains services
    Status,
    /// Replace the running helmd by the program on disk: same pid, services stay
    Reexec,
}

#[derive(Debug, Args)]
pub(crate) struct ModeArg {
    /// development or production [default: as last time]
    #[arg(long, value_parser = ["development", "production"])]
    pub(crate) mode: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Return at once
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Longest wait: seconds, or 90s, 5m
    #[arg(long, default_value = "120s", value_parser = parse_wait, value_name = "TIME")]
    pub(crate) timeout: Duration,
}

pub(crate) fn parse_wait(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit() && c != '.') {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("use a number of seconds, or 500ms, 90s, 5m, 1h".into()),
    };
    let seconds: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64((seconds * factor).max(0.001)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn waits() {
        assert_eq!(parse_wait("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_wait("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_wait("1.5m"), Ok(Duration::from_secs(90)));
        assert!(parse_wait("soon").is_err());
        assert!(parse_wait("5 parsecs").is_err());
    }
}
