//! How PostgreSQL is reached: connection strings in every form that the ecosystem writes, and connections made of them.
//!
//! The password is never shown: [`PgOptions`] masks it wherever it is printed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::net::TcpStream;

use super::fault::{Asker, Target, of};
use super::relay::Relay;
use crate::engine::EngineError;

/// A connection that is not made by then is given up.
const CONNECT: Duration = Duration::from_secs(5);
/// Readers beside the one writer.
const READERS: u32 = 4;
/// A read that takes longer is ended by the server (milliseconds). What is long at all is one pass for a rare text: worth a second processor, never worth
/// compiling, and each is planned by its own bounds.
const READ_SESSION: &str = "SET search_path = public, pg_temp; SET statement_timeout = 30000; SET default_transaction_read_only = on; \
     SET jit = off; SET plan_cache_mode = force_custom_plan; SET max_parallel_workers_per_gather = 1; SET parallel_setup_cost = 200";
/// The writer waits for nothing for ever; a session of it that was cut off lets go of its locks soon.
const WRITE_SESSION: &str = "SET search_path = public, pg_temp; SET statement_timeout = 30000; SET lock_timeout = 20000; \
     SET idle_in_transaction_session_timeout = 15000; SET tcp_keepalives_idle = 20; SET tcp_keepalives_interval = 5";
/// Work that may take long: migrations, indexes, taking over.
const WORK_SESSION: &str =
    "SET search_path = public, pg_temp; SET statement_timeout = 0; SET tcp_keepalives_idle = 60";

/// Why a connection string cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Not a URL of PostgreSQL.
    #[error(
        "a connection string begins with postgresql:// (also postgres://, postgresql+psycopg://), this one with `{0}`"
    )]
    Scheme(String),
    /// A part that cannot be read.
    #[error(
        "the connection string cannot be read: {0}; a password with special characters must be percent-encoded"
    )]
    Unreadable(String),
    /// No name of a database.
    #[error("the connection string names no database: it ends with /NAME, for instance /helm_db")]
    NoDatabase,
}

/// The connection that writes, and what it goes through.
pub(super) struct Writer {
    pub(super) connection: PgConnection,
    /// Whether it holds the lock on this helmd's number (see [`super::register::claim`]).
    pub(super) claimed: bool,
    _relay: Option<Relay>,
}

/// How to reach a database: parsed, with the password kept to itself.
#[derive(Clone)]
pub struct PgOptions {
    connect: PgConnectOptions,
    target: Target,
    trigrams: bool,
}

impl PgOptions {
    /// Reads a connection string (contract 3.6): `postgresql://`, `postgres://`, with or without a driver such as `+psycopg2`, percent-encoded
    /// parts, and libpq's query parameters (`sslmode`, `host=/run/postgresql` for a socket, ...).
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| OptionsError::Scheme(head_of(text)))?;
        let plain = scheme.split('+').next().unwrap_or_default();
        if !matches!(plain, "postgresql" | "postgres") {
            return Err(OptionsError::Scheme(scheme.to_owned()));
        }
        let url = format!("postgresql://{}", without_foreign_parameters(&with_host(rest)));
        // What the parser says may quote the string: only the kind of fault is told.
        let connect = PgConnectOptions::from_str(&url).map_err(|e| OptionsError::Unreadable(kind_of(&e)))?;
        let database = connect.get_database().ok_or(OptionsError::NoDatabase)?.to_owned();
        let place = match connect.get_socket() {
            Some(socket) => format!("{} (socket, port {})", socket.display(), connect.get_port()),
            None => format!("{}:{}", connect.get_host(), connect.get_port()),
        };
        let user = connect.get_username().to_owned();
        let target = Target { place, database, user, asker: Asker::default() };
        let connect = connect.application_name("helm").disable_statement_logging();
        Ok(Self { connect, target, trigrams: false })
    }

    /// Closed partitions get an index for texts too, where the server has pg_trgm: a rare word is found at once, for half as much again on disk.
    #[must_use]
    pub fn with_trigrams(self, trigrams: bool) -> Self {
        Self { trigrams, ..self }
    }

    /// For whom: errors say what that one can do next.
    #[must_use]
    pub fn asked_by(mut self, asker: Asker) -> Self {
        self.target.asker = asker;
        self
    }

    /// The same server and role, another database.
    #[must_use]
    pub fn to_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.connect = other.connect.database(name);
        other.target.database = name.to_owned();
        other
    }

    pub(super) fn trigrams(&self) -> bool {
        self.trigrams
    }

    /// Where it leads: host and port, or the socket.
    pub fn place(&self) -> &str {
        &self.target.place
    }

    /// Name or address of the server, or the directory of its socket.
    pub fn host(&self) -> String {
        let socket = self.connect.get_socket().map(|socket| socket.display().to_string());
        socket.unwrap_or_else(|| self.connect.get_host().to_owned())
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.connect.get_port()
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        &self.target.database
    }

    /// Role that it logs in as.
    pub fn user(&self) -> &str {
        &self.target.user
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The writer's connection, made now: an error says exactly why not.
    pub(super) async fn writer(&self) -> Result<Writer, EngineError> {
        let socket = self.connect.get_socket().is_some() || self.connect.get_host().starts_with('/');
        let (connect, relay) = if socket { (self.connect.clone(), None) } else { self.relayed().await? };
        let connection = self.connect(connect, WRITE_SESSION).await?;
        if let Some(relay) = &relay {
            relay.close_door();
        }
        Ok(Writer { connection, claimed: false, _relay: relay })
    }

    /// A connection for work that may take long, made now.
    pub(super) async fn worker(&self) -> Result<PgConnection, EngineError> {
        self.connect(self.connect.clone(), WORK_SESSION).await
    }

    async fn relayed(&self) -> Result<(PgConnectOptions, Option<Relay>), EngineError> {
        let port = self.connect.get_port();
        let reached =
            tokio::time::timeout(CONNECT, TcpStream::connect((self.connect.get_host(), port))).await;
        let server = reached
            .map_err(|_| self.late())?
            .map_err(|e| of(&self.target, "connecting", sqlx::Error::Io(e)))?;
        match Relay::to(server, port) {
            Ok(relay) => Ok((self.connect.clone().socket(relay.directory()), Some(relay))),
            Err(e) => {
                tracing::warn!(error = %e, "no relay could be made in the temporary directory: commits over TCP take 40 ms longer");
                Ok((self.connect.clone(), None))
            }
        }
    }

    async fn connect(
        &self,
        connect: PgConnectOptions,
        session: &'static str,
    ) -> Result<PgConnection, EngineError> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&connect).await?;
            connection.execute(session).await?;
            Ok(connection)
        };
        let made: Result<PgConnection, sqlx::Error> =
            tokio::time::timeout(CONNECT, connecting).await.map_err(|_| self.late())?;
        made.map_err(|e| of(&self.target, "connecting", e))
    }

    /// Connects and leaves again; `None`: not in time. The error is as PostgreSQL gave it.
    pub(super) async fn knock(&self) -> Option<Result<(), sqlx::Error>> {
        let knocking = async { PgConnection::connect_with(&self.connect).await?.close().await };
        tokio::time::timeout(CONNECT, knocking).await.ok()
    }

    fn late(&self) -> EngineError {
        EngineError::Away(format!("{} did not answer within {} s", self.place(), CONNECT.as_secs()))
    }

    /// Connections for reading, made when they are needed, ended when they are idle.
    pub(super) fn readers(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(READERS)
            .min_connections(0)
            .acquire_timeout(CONNECT)
            .idle_timeout(Duration::from_secs(300))
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute(READ_SESSION).await.map(|_| ()) })
            })
            .connect_lazy_with(self.connect.clone())
    }
}

impl FromStr for PgOptions {
    type Err = OptionsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Without the password.
impl fmt::Display for PgOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database {} at {} as {}", self.target.database, self.target.place, self.target.user)
    }
}

/// Without the password.
impl fmt::Debug for PgOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgOptions({self})")
    }
}

/// Parameters of other drivers that mean nothing here, or are always so (text is UTF-8).
const FOREIGN: [&str; 8] = [
    "client_encoding",
    "connect_timeout",
    "target_session_attrs",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "gssencmode",
];

/// `user@/db` means this host to everybody else, and nothing to the parser.
fn with_host(rest: &str) -> String {
    match rest.split_once('@') {
        Some((who, place)) if place.starts_with(['/', ':']) => format!("{who}@localhost{place}"),
        Some(_) | None => rest.to_owned(),
    }
}

fn without_foreign_parameters(rest: &str) -> String {
    let Some((base, query)) = rest.split_once('?') else { return rest.to_owned() };
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !FOREIGN.contains(&pair.split('=').next().unwrap_or_default()))
        .collect();
    if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
}

/// The beginning of what is no URL, up to what might be secret.
fn head_of(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '+').take(20).collect()
}

fn kind_of(error: &sqlx::Error) -> String {
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        at = source;
    }
    // The innermost cause of a URL fault is a fixed sentence ("invalid port number"); one that quotes a value is cut before the quote.
    let text = at.to_string();
    text.split(['"', '\'', '`']).next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String) {
        let options = PgOptions::parse(text).unwrap();
        (options.place().to_owned(), options.database().to_owned(), options.user().to_owned())
    }

    #[test]
    fn every_form_of_the_ecosystem_is_read() {
        for scheme in
            ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2", "postgresql+asyncpg"]
        {
            let (place, database, user) = parts(&format!("{scheme}://helm_user:a@127.0.0.1:5433/helm_db"));
            assert_eq!(
                (place.as_str(), database.as_str(), user.as_str()),
                ("127.0.0.1:5433", "helm_db", "helm_user")
            );
        }
        let (place, database, _) =
            parts("postgresql://u@/helm_db?host=/run/postgresql&client_encoding=utf8&sslmode=disable");
        assert_eq!((place.as_str(), database.as_str()), ("/run/postgresql (socket, port 5432)", "helm_db"));
        assert_eq!(parts("postgresql://u@/helm_db").0, "localhost:5432");
        assert_eq!(parts("postgresql://u:p%40ss%2Fw%25rd@db.lan/h?client_encoding=utf8").0, "db.lan:5432");
    }

    #[test]
    fn the_password_is_never_shown() {
        let options = PgOptions::parse("postgresql://u:secr%40t@h/d").unwrap();
        let shown = format!("{options} {options:?} {:?}", Some(&options));
        assert!(!shown.contains("secr"), "{shown}");
        for bad in [
            "postgresql://u:secr@h:port/d",
            "postgresql://u:secr@h/d?sslmode=secr",
            "mysql://u:secr@h/d",
            "secr",
            "postgresql://u:se/cr@h/d",
            "postgresql://u:secr@[::1/d",
        ] {
            let error = PgOptions::parse(bad).unwrap_err().to_string();
            assert!(bad == "secr" || !error.contains("secr"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(PgOptions::parse("postgresql://u:p@h").unwrap_err(), OptionsError::NoDatabase);
        assert_eq!(PgOptions::parse("sqlite:x").unwrap_err(), OptionsError::Scheme("sqlite".into()));
        assert_eq!(PgOptions::parse("mysql://h/d").unwrap_err(), OptionsError::Scheme("mysql".into()));
    }
}
