//! What can be typed after `helmctl logs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::when::nanos as parse_time;

/// `logs`; a service that is called like one of the commands below is named behind `--`: `helmctl logs -- stats`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LogsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<LogsVerb>,
    #[command(flatten)]
    pub(crate) what: What,
    /// Newest entries [default: 50; all of them with --since or --until]
    #[arg(short = 'n', long = "tail", visible_alias = "lines", value_name = "N")]
    pub(crate) last: Option<u32>,
    /// Stay and print what comes; outlives a restart of helmd
    #[arg(short, long, conflicts_with_all = ["until", "context"])]
    pub(crate) follow: bool,
    /// So many entries of the same service before and after each that is found
    #[arg(long, short = 'C', value_name = "N")]
    pub(crate) context: Option<u32>,
    /// Print as CSV
    #[arg(long, conflicts_with_all = ["json", "context"])]
    pub(crate) csv: bool,
}

/// Which entries.
#[derive(Debug, Default, Args)]
pub(crate) struct What {
    /// Services; without names all
    pub(crate) names: Vec<String>,
    /// At least this level: debug, info, warning, error, critical
    #[arg(short, long, value_name = "LEVEL")]
    pub(crate) level: Option<String>,
    /// Exactly that level
    #[arg(long, requires = "level")]
    pub(crate) exact: bool,
    /// From then on: 10m, 2h, 3d, today, yesterday, 14:30, 2026-01-31, 2026-01-31T14:30:00Z
    #[arg(long, value_parser = parse_time, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<i64>,
    /// Before then
    #[arg(long, value_parser = parse_time, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<i64>,
    /// With this trace or correlation id
    #[arg(long, short = 'c', visible_alias = "correlation-id", value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// With this user id
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// With a message like this (regular expression, case does not count)
    #[arg(short, long, value_name = "RE")]
    pub(crate) grep: Vec<String>,
    /// Without a message like this
    #[arg(short = 'v', long, value_name = "RE")]
    pub(crate) invert: Vec<String>,
    /// How it came: captured, sent, helm, former
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogsVerb {
    /// How many entries, by service, level and hour
    Stats {
        #[command(flatten)]
        what: What,
    },
    /// Write entries to a file or to standard output, oldest first, however many
    Export(ExportArgs),
    /// Prove that nothing was altered, inserted or removed; exit code 1 if something was
    Verify(VerifyArgs),
    /// How lines of a file would be read, and why; needs no helmd
    Explain {
        /// The file; `-`: standard input
        file: PathBuf,
        /// auto, json, logfmt, python, java, syslog, plain, none, or a regular expression with the group `message`
        #[arg(long, default_value = "auto", value_name = "RULE")]
        rule: String,
    },
    /// What the same service said before and after an entry
    Context {
        /// Number of the entry (`--json` shows it)
        id: i64,
        /// Entries on each side
        #[arg(short = 'n', long = "entries", default_value_t = 10, value_name = "N")]
        entries: u32,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Print where the chains end, to be kept elsewhere: it proves later that nothing was cut off since
    #[arg(long)]
    pub(crate) anchor: bool,
    /// A file that an earlier `--anchor` wrote; `-`: standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) what: What,
    /// Form
    #[arg(long, value_enum, default_value_t = Form::Ndjson)]
    pub(crate) format: Form,
    /// Compression [default: by the name of the file: .gz is gzip]
    #[arg(long, value_enum)]
    pub(crate) compress: Option<Compress>,
    /// To this file, made anew [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One JSON object a line
    Ndjson,
    /// RFC 4180, with a head
    Csv,
    /// As `logs` prints them, with whole dates in UTC
    Text,
}

/// How they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// gzip
    Gzip,
    /// Not at all
    None,
}
