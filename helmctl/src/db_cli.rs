//! What can be typed of the database and of retention.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum DbVerb {
    /// Use PostgreSQL: make role, database and instance/helm.conf; asks for what is not said, and may be run again
    Init(InitArgs),
    /// Engine, size, partitions, how far capture is behind, what protects the log
    Status,
    /// Connect as helmd would, and look (no helmd is needed)
    Check,
    /// Bring the log that SQLite has into the PostgreSQL of instance/helm.conf, before helmd writes there; may be run again
    Move,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Host, or the directory of a socket [default: the administrator's, else the configured one, else localhost]
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Port [default: the administrator's, else the configured one, else 5432]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Database [default: the configured one, else helm_db]
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Role [default: the configured one, else helm_user]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// File with the role's password on its first line; `-`: standard input [default: one is made, where the role is]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// File with the connection string of an administrator, who makes role and database
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_url_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionVerb {
    /// What is kept how long, and what that comes to
    Show,
    /// Keep a class differently from now on (written into instance/helm.conf)
    Set {
        /// Class, like `default`
        class: String,
        /// `90d`, `20G`, `"90d 20G"` or `forever`
        rule: Vec<String>,
    },
    /// What would be removed now, by the rules in force or by these
    DryRun {
        /// `default 30d 20G`, or several classes: `default="30d 20G" audit=forever`
        rules: Vec<String>,
    },
}
