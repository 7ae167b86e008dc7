//! What can be typed after `helmctl incidents`.

use clap::{Args, Subcommand};

use crate::completion::services;

/// `incidents`; a service that is called like the command below is named behind `--`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct IncidentsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<IncidentsVerb>,
    /// Services; without names all
    #[arg(add = services())]
    pub(crate) names: Vec<String>,
    /// Newest ones only [default: 20; with --since all]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<u32>,
    /// From this time on: 10m, 2h, yesterday, 2026-01-31T14:30
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IncidentsVerb {
    /// One incident with all that was gathered: output, probes, memory, what had changed
    Show {
        /// Its number
        number: u64,
    },
}
