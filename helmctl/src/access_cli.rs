//! What can be typed of tokens, sessions and the way in.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::completion::services;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make one; its secret is printed this once
    Create(CreateArgs),
    /// Those that are good, newest first
    List,
    /// It is good for nothing from now on
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// For people: CI, grafana
    pub(crate) name: String,
    /// What it may: admin, technician, billing or client
    #[arg(long, value_parser = ["admin", "technician", "billing", "client"], required_unless_present_any = ["ingest", "metrics"])]
    pub(crate) role: Option<String>,
    /// It sends log entries and numbers, and nothing else
    #[arg(long, conflicts_with_all = ["role", "metrics"])]
    pub(crate) ingest: bool,
    /// It reads numbers for Prometheus, and nothing else
    #[arg(long, conflicts_with = "role")]
    pub(crate) metrics: bool,
    /// Only for this service; may be said several times
    #[arg(long = "service", value_name = "NAME", add = services())]
    pub(crate) services: Vec<String>,
    /// Until then: 12h, 30d, 52w [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionVerb {
    /// Those that go on, newest first
    List,
    /// Sign somebody out
    End {
        /// Its id, as `session list` shows it
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// The newest so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub(crate) last: u32,
    /// From this time on: 10m, 2h, yesterday, 2026-01-31T14:30
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// Only print the link
    #[arg(long)]
    pub(crate) no_browser: bool,
}

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "use a whole number with a unit: 12h, 30d, 52w".to_owned();
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let lifetime = number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(wrong)?;
    Ok(Duration::from_secs(lifetime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(parse_lifetime("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_lifetime("12h"), Ok(Duration::from_secs(12 * 3600)));
        for wrong in ["", "30", "d", "0d", "-1d", "1.5d", "30 days", "99999999999999999999d"] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
