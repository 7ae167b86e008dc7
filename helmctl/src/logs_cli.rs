//! What can be typed after `helmctl logs`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser as NotEmpty;
use clap::{Args, Subcommand, ValueEnum};

use crate::cli::parse_wait;
use crate::completion::services;
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
    #[arg(short, long, conflicts_with_all = ["until", "context", "newest_first", "within"])]
    pub(crate) follow: bool,
    /// So many entries of the same service before and after each that is found
    #[arg(long, short = 'C', value_name = "N")]
    pub(crate) context: Option<u32>,
    /// Newest first, each as it is found
    #[arg(long, conflicts_with = "context")]
    pub(crate) newest_first: bool,
    /// Look for at most so long, and say how far that went: 500ms, 10s, 5m
    #[arg(long, value_parser = parse_wait, value_name = "TIME", conflicts_with = "context")]
    pub(crate) within: Option<Duration>,
    #[command(flatten)]
    pub(crate) how: How,
    /// Print as CSV
    #[arg(long, conflicts_with_all = ["json", "context", "long"])]
    pub(crate) csv: bool,
}

/// How an entry is printed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct How {
    /// Below each entry its number, trace, user, context and where it came from
    #[arg(long, conflicts_with = "json")]
    pub(crate) long: bool,
    /// Messages as they were written, with everything that a terminal would obey
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,
}

/// Which entries.
#[derive(Debug, Default, Args)]
pub(crate) struct What {
    /// Services; without names all
    #[arg(add = services())]
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
    #[arg(long, short = 'c', visible_alias = "correlation-id", value_name = "ID", value_parser = NotEmpty::new())]
    pub(crate) trace: Option<String>,
    /// With this user id
    #[arg(short, long, value_name = "USER", value_parser = NotEmpty::new())]
    pub(crate) user: Option<String>,
    /// Written by the helmds of this host, where several share a PostgreSQL: its name, a home, or a number that `db status` shows
    #[arg(long, value_name = "HOST", value_parser = NotEmpty::new())]
    pub(crate) host: Vec<String>,
    /// With a message like this (regular expression)
    #[arg(short, long, value_name = "RE", value_parser = NotEmpty::new())]
    pub(crate) grep: Vec<String>,
    /// Without a message like this
    #[arg(short = 'v', long, value_name = "RE", value_parser = NotEmpty::new())]
    pub(crate) invert: Vec<String>,
    /// With this text in the message, taken as it is
    #[arg(long, value_name = "TEXT", value_parser = NotEmpty::new())]
    pub(crate) text: Vec<String>,
    /// With this text as a whole word
    #[arg(short, long, value_name = "WORD", value_parser = NotEmpty::new())]
    pub(crate) word: Vec<String>,
    /// Capitals and small letters differ in --grep, -v, --text and --word
    #[arg(long)]
    pub(crate) case: bool,
    /// With this value in the context; dots in the key reach into objects
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_field)]
    pub(crate) field: Vec<(String, String)>,
    /// How it came: captured, sent, helm, former
    #[arg(long, value_name = "SOURCE")]
    pub(crate) source: Option<String>,
    /// Lines that were both printed and sent, twice
    #[arg(long)]
    pub(crate) twins: bool,
}

fn parse_field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("use KEY=VALUE, like status=500 or http.method=GET".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogsVerb {
    /// One entry, with everything that is known of it
    Show {
        /// Number of the entry (`--long` and `--json` show it)
        id: i64,
    },
    /// How many entries, by service, level and time
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
        /// Number of the entry (`--long` and `--json` show it)
        id: i64,
        /// Entries on each side
        #[arg(short = 'n', long = "entries", default_value_t = 10, value_name = "N")]
        entries: u32,
        #[command(flatten)]
        how: How,
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
    /// Form [default: by the end of the file's name: .csv, .txt, .ndjson; else ndjson]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Form>,
    /// Compression [default: by the end of the file's name: .gz, .zst; else none]
    #[arg(long, value_enum)]
    pub(crate) compress: Option<Compress>,
    /// To this file, which is there (or replaced) once it is whole; `-`: standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Messages as they were written, with everything that a terminal would obey
    #[arg(long)]
    pub(crate) raw: bool,
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One JSON object a line
    #[value(alias = "json", alias = "jsonl")]
    Ndjson,
    /// RFC 4180, with a head
    Csv,
    /// As `logs` prints them, with whole dates in UTC
    #[value(alias = "txt")]
    Text,
}

/// How they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compress {
    /// gzip
    #[value(alias = "gz")]
    Gzip,
    /// Zstandard
    #[value(alias = "zst")]
    Zstd,
    /// Not at all
    None,
}
