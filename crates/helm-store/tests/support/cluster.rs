//! A throw-away PostgreSQL: started for a test binary, ended with it.
//!
//! A shell stands between: it holds the server by its pid, takes `start` and `stop` on its standard input, and when that ends (the test binary
//! ended, however) it stops the server and removes its files.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use helm_store::postgres::PgOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Password of everybody: one that must be percent-encoded.
pub(crate) const PASSWORD: &str = "p@ss/w%rd:1";
const ENCODED: &str = "p%40ss%2Fw%25rd%3A1";

const SCRIPT: &str = r#"
set -e
bin=$1 port=$2 password=$3 fsync=$4
dir=$(mktemp -d /tmp/helm-test-pg.XXXXXX)
printf '%s' "$password" > "$dir/password"
"$bin/initdb" -D "$dir/data" -U postgres --pwfile="$dir/password" -A scram-sha-256 -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1
start() {
    "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 -c fsync="$fsync" -c max_connections=300 \
        -c shared_buffers=64MB >> "$dir/server.log" 2>&1 &
    pid=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 "$pid" || { cat "$dir/server.log" >&2; exit 1; }; sleep 0.05; done
    echo started
}
trap 'kill -INT "$pid" 2> /dev/null; wait "$pid" || true; rm -rf "$dir"' EXIT
start
while read -r order; do
    case $order in
        start) start ;;
        stop) kill -QUIT "$pid"; wait "$pid" || true; echo stopped ;;
    esac
done
"#;

/// A server of one's own.
pub(crate) struct Cluster {
    guard: Mutex<Child>,
    pub(crate) port: u16,
}

impl Cluster {
    /// Without fsync: tests cut no power.
    pub(crate) fn start() -> Cluster {
        Self::start_with("off")
    }

    pub(crate) fn start_with(fsync: &str) -> Cluster {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = nobody_but_root();
        let mut command = if root { Command::new("setpriv") } else { Command::new("bash") };
        if root {
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "bash"]);
        }
        command.args(["-c", SCRIPT, "cluster", &binaries(), &port.to_string(), PASSWORD, fsync]);
        // Of its own group: Ctrl-C ends the tests, and then the guard sees its input end.
        command.current_dir("/tmp").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let guard = command.spawn().expect("setpriv and bash are there");
        let cluster = Cluster { guard: Mutex::new(guard), port };
        cluster.hears("started");
        cluster
    }

    /// Ends the server as a power cut would end it: no transaction is finished.
    pub(crate) fn stop(&self) {
        self.says("stop");
        self.hears("stopped");
    }

    pub(crate) fn start_again(&self) {
        self.says("start");
        self.hears("started");
    }

    fn says(&self, order: &str) {
        let mut guard = self.guard.lock().unwrap();
        writeln!(guard.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    fn hears(&self, answer: &str) {
        let mut guard = self.guard.lock().unwrap();
        let mut line = String::new();
        // One line for each order: nothing is left over in the reader.
        BufReader::with_capacity(16, guard.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), answer, "PostgreSQL 12 or later must be installed");
    }

    /// A connection as superuser.
    pub(crate) async fn admin(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port);
        let options = options.username("postgres").password(PASSWORD).database(database);
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// A role and a database as the seed's SQL makes them.
    pub(crate) async fn fresh(&self) -> Fresh {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (user, database) = (format!("helm_user_{number}"), format!("helm_db_{number}"));
        let mut admin = self.admin("postgres").await;
        for sql in [
            format!("CREATE USER {user} WITH PASSWORD '{PASSWORD}'"),
            format!("CREATE DATABASE {database}"),
            format!("GRANT ALL PRIVILEGES ON DATABASE {database} TO {user}"),
        ] {
            execute(&mut admin, &sql).await;
        }
        execute(&mut self.admin(&database).await, &format!("GRANT ALL ON SCHEMA public TO {user}")).await;
        Fresh { port: self.port, user, database }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let guard = self.guard.get_mut().unwrap();
        guard.stdin.take();
        guard.wait().ok();
    }
}

/// The server that the tests of this binary share, each with a database of its own.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start)
}

fn nobody_but_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Newest of what is installed.
fn binaries() -> String {
    let mut found: Vec<(u32, String)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().to_str()?.to_owned()))
        })
        .collect();
    found.sort();
    let (_, path) = found.pop().expect("PostgreSQL's server is installed (apt-get install postgresql)");
    format!("{path}/bin")
}

/// A database with nothing in it, and the role that helmd would use.
#[derive(Debug, Clone)]
pub(crate) struct Fresh {
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) database: String,
}

impl Fresh {
    pub(crate) fn options(&self) -> PgOptions {
        self.options_as(&self.user)
    }

    pub(crate) fn options_as(&self, user: &str) -> PgOptions {
        self.options_at(user, self.port)
    }

    pub(crate) fn options_at(&self, user: &str, port: u16) -> PgOptions {
        let url = format!("postgresql+psycopg2://{user}:{ENCODED}@127.0.0.1:{port}/{}", self.database);
        PgOptions::parse(&url).unwrap()
    }

    /// A connection as the role that helmd uses.
    pub(crate) async fn connection(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port);
        let options = options.username(&self.user).password(PASSWORD).database(&self.database);
        PgConnection::connect_with(&options).await.unwrap()
    }
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}
