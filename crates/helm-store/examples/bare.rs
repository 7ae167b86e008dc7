//! The limit that `benches/store` holds SQLite against: a program of sqlx and nothing else, with two indexes, triggers, a digest per row, durable
//! at every commit.
//!
//! `bare FILE`; each line `ROWS BATCH` on its standard input is answered with the seconds that so many rows took in batches of that size.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    reason = "a measurement: it prints, ends at the first thing that goes wrong, and shares the bench's entries"
)]

use std::time::Instant;

use helm_store::chain::{Chain, Head};
use helm_store::entry::NewEntry;
use helm_store::id::{Instance, PartitionId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, SqliteConnection};

#[allow(unreachable_pub, reason = "a part of a library, used by its path")]
#[path = "../../../benches/shared/lines.rs"]
mod lines;

const SCHEMA: &str = "
    CREATE TABLE entry (row INTEGER PRIMARY KEY, at INTEGER NOT NULL, service INTEGER NOT NULL, level INTEGER NOT NULL,
        message TEXT NOT NULL, context TEXT, trace TEXT, user TEXT, process INTEGER, digest INTEGER NOT NULL) STRICT;
    CREATE INDEX a ON entry (service, at);
    CREATE INDEX b ON entry (at);
    CREATE TRIGGER u BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'no'); END;
    CREATE TRIGGER d BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'no'); END;";

/// Rows of one statement: more are no faster.
const STATEMENT: usize = 100;

struct Bare {
    connection: SqliteConnection,
    chain: Chain,
    row: u32,
}

impl Bare {
    async fn open(path: &str) -> Bare {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .page_size(8192)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "4096")
            .disable_statement_logging();
        let mut connection = options.connect().await.unwrap();
        connection.execute(SCHEMA).await.unwrap();
        Bare { connection, chain: Chain::from(Head::GENESIS), row: 0 }
    }

    async fn commit(&mut self, lines: Vec<NewEntry>) {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for lines in lines.chunks(STATEMENT) {
            let rows = vec!["(?,?,?,?,?,?,?,?,?,?)"; lines.len()].join(",");
            let mut query = sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO entry VALUES {rows}")));
            for line in lines {
                let id = PartitionId { instance: Instance(1), number: 0 }.entry(self.row);
                let digest = self.chain.push(id, line).short();
                query = query
                    .bind(self.row)
                    .bind(line.at)
                    .bind(line.service["service-".len()..].parse::<i64>().unwrap())
                    .bind(line.level.number())
                    .bind(line.message.as_str())
                    .bind(line.context.as_deref())
                    .bind(line.trace.as_deref())
                    .bind(line.user.as_deref())
                    .bind(line.process)
                    .bind(digest);
                self.row += 1;
            }
            query.execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut bare = Bare::open(&std::env::args().nth(1).unwrap()).await;
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        let (rows, batch) = order.split_once(' ').unwrap();
        let (rows, batch): (u32, u32) = (rows.parse().unwrap(), batch.parse().unwrap());
        let line = |n: u32| lines::line(u64::from(n), i64::from(n) * lines::STEP);
        let begin = bare.row;
        let batches: Vec<Vec<NewEntry>> = (begin..begin + rows)
            .step_by(batch as usize)
            .map(|from| (from..(from + batch).min(begin + rows)).map(line).collect())
            .collect();
        let begun = Instant::now();
        for batch in batches {
            bare.commit(batch).await;
        }
        println!("{}", begun.elapsed().as_secs_f64());
    }
}
