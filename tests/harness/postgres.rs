//! A PostgreSQL of the test's own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::home::{Said, free_port};

/// Holds the server by its pid; `kill` ends it and all its processes as a power cut would; so does the end of its input, which takes its files along.
const SCRIPT: &str = r#"
set -e
port=$1 auth=$2
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
dir=$(mktemp -d /tmp/helm-test-pg.XXXXXX)
echo postgres > "$dir/password"
"$bin/initdb" -D "$dir/data" -U postgres --pwfile="$dir/password" -A "$auth" -E UTF8 --locale=C --no-sync > "$dir/initdb.log" 2>&1
start() {
    "$bin/postgres" -D "$dir/data" -p "$port" -k "$dir" -c listen_addresses=127.0.0.1 >> "$dir/server.log" 2>&1 &
    pid=$!
    until "$bin/pg_isready" -q -h 127.0.0.1 -p "$port"; do kill -0 "$pid" || { cat "$dir/server.log" >&2; exit 1; }; sleep 0.05; done
    echo done
}
end() {
    all="$pid $(ps -o pid= --ppid "$pid" | tr '\n' ' ')"
    kill -9 $all 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
    for one in $all; do while kill -0 "$one" 2> /dev/null; do sleep 0.02; done; done
}
trap 'end; rm -rf "$dir"' EXIT
start
while read -r order; do
    case $order in
        start) start ;;
        kill) end; echo done ;;
    esac
done
"#;

/// The server.
#[derive(Debug)]
pub struct Cluster {
    guard: Child,
    answers: BufReader<std::process::ChildStdout>,
    /// Where it listens, on loopback.
    pub port: u16,
}

impl Cluster {
    /// Starts one whose clients prove themselves by `auth` (`trust`, `scram-sha-256`); the password of `postgres` is `postgres`.
    pub fn start(auth: &str) -> Self {
        let port = free_port();
        let mut command = Command::new("bash");
        if rustix::process::geteuid().is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "bash"]);
        }
        command.args(["-c", SCRIPT, "cluster", &port.to_string(), auth]).current_dir("/tmp");
        let mut guard = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("setpriv and bash: {e}"));
        let Some(answers) = guard.stdout.take() else { panic!("its stdout is a pipe") };
        let mut cluster = Self { guard, answers: BufReader::new(answers), port };
        cluster.hears();
        cluster
    }

    /// `start` or `kill`.
    pub fn order(&mut self, order: &str) {
        let said = self.guard.stdin.as_mut().map(|input| writeln!(input, "{order}"));
        assert!(matches!(said, Some(Ok(()))), "the guard of PostgreSQL is gone");
        self.hears();
    }

    /// What `psql` answers to a statement, without decoration.
    pub fn sql(&self, user: &str, password: &str, database: &str, statement: &str) -> Said {
        let mut psql = Command::new("psql");
        psql.args(["-XAtq", "-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", database]);
        let output = psql.args(["-c", statement]).env("PGPASSWORD", password).output();
        Said::of(&output.unwrap_or_else(|e| panic!("psql: {e}")))
    }

    fn hears(&mut self) {
        let mut line = String::new();
        let heard = self.answers.read_line(&mut line);
        assert!(heard.is_ok() && line.trim() == "done", "PostgreSQL 12 or later must be installed: {line}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.guard.stdin.take();
        // It may have ended by itself.
        let _ = self.guard.wait();
    }
}
