//! Brings a database's schema up to date: from empty and from every earlier version, each step in a transaction of its own.
//!
//! A lock in the database lets several helmds start at once: one does the work, the others find it done.

use sqlx::{Connection, PgConnection};

use super::connect::PgOptions;
use super::fault::of;
use super::grave;
use crate::engine::EngineError;

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Version of the schema after it, rising by one.
    pub version: i64,
    /// What it brings.
    pub name: &'static str,
    /// Statements, separated by semicolons.
    pub sql: &'static str,
}

/// All steps that this program knows.
pub const ALL: [Migration; 8] = [
    Migration { version: 1, name: "log", sql: include_str!("../../../../migrations/postgres/0001_log.sql") },
    Migration {
        version: 2,
        name: "immutable",
        sql: include_str!("../../../../migrations/postgres/0002_immutable.sql"),
    },
    Migration {
        version: 3,
        name: "numbers",
        sql: include_str!("../../../../migrations/postgres/0003_numbers.sql"),
    },
    Migration {
        version: 4,
        name: "python",
        sql: include_str!("../../../../migrations/postgres/0004_python.sql"),
    },
    Migration {
        version: 5,
        name: "packed",
        sql: include_str!("../../../../migrations/postgres/0005_packed.sql"),
    },
    Migration {
        version: 6,
        name: "grave",
        sql: include_str!("../../../../migrations/postgres/0006_grave.sql"),
    },
    Migration {
        version: 7,
        name: "once",
        sql: include_str!("../../../../migrations/postgres/0007_once.sql"),
    },
    Migration {
        version: 8,
        name: "keys",
        sql: include_str!("../../../../migrations/postgres/0008_keys.sql"),
    },
];

/// Key of the lock in the database ("helm" in ASCII).
const LOCK: i64 = 0x6865_6c6d;
/// The oldest server that this is made for.
const FLOOR: i32 = 120_000;

/// Takes the steps that the database lacks, and then does what they leave to be done for each partition by itself.
pub(super) async fn up_to_date(
    connection: &mut PgConnection,
    options: &PgOptions,
    migrations: &[Migration],
) -> Result<(), EngineError> {
    run(connection, options, migrations).await?;
    let completed = grave::complete(connection).await;
    completed.map_err(|e| of(options.target(), "indexing the warnings of a partition", e))
}

/// Takes the steps of `migrations` that the database lacks. A step that fails leaves nothing behind, and the ones before it stay.
pub async fn run(
    connection: &mut PgConnection,
    options: &PgOptions,
    migrations: &[Migration],
) -> Result<(), EngineError> {
    let fault = |what: &str, e| of(options.target(), what, e);
    let server: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut *connection)
        .await
        .map_err(|e| fault("asking for the version", e))?;
    let encoding: String = sqlx::query_scalar("SELECT current_setting('server_encoding')")
        .fetch_one(&mut *connection)
        .await
        .map_err(|e| fault("asking for the encoding", e))?;
    if encoding != "UTF8" {
        return Err(EngineError::Denied(format!(
            "database {} is encoded in {encoding}, in which not every line can be kept: create it with ENCODING 'UTF8' TEMPLATE template0",
            options.database()
        )));
    }
    if server < FLOOR {
        return Err(EngineError::Denied(format!(
            "{} is PostgreSQL {}; Helm needs 12 or later",
            options.place(),
            server / 10_000
        )));
    }
    let knows = migrations.last().map_or(0, |m| m.version);
    loop {
        // Read without the lock first: a role that may not change the schema need not, where there is nothing to do.
        if version(connection).await.map_err(|e| fault("reading the schema's version", e))? == knows {
            return Ok(());
        }
        let mut step = connection.begin().await.map_err(|e| fault("preparing the schema", e))?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .execute(&mut *step)
            .await
            .map_err(|e| fault("waiting for another helmd that prepares the schema", e))?;
        let has = version(&mut step).await.map_err(|e| fault("reading the schema's version", e))?;
        if has > knows {
            return Err(EngineError::Newer { has, knows });
        }
        let Some(next) = migrations.iter().find(|m| m.version == has + 1) else { return Ok(()) };
        may_change(&mut step, options, (has, knows)).await?;
        let what = format!("migration {} ({}) of database {}", next.version, next.name, options.database());
        let failed = |e| {
            let undone = format!(
                "{what} (rolled back, and tried again at the next opening; a helmd that knows version {has} can go on)"
            );
            fault(&undone, e)
        };
        take(&mut step, next).await.map_err(failed)?;
        step.commit().await.map_err(failed)?;
        tracing::info!(version = next.version, "{what} is done");
    }
}

/// Where a role may not create in `public`, PostgreSQL would make the tables in the session's own schema, which ends with it.
async fn may_change(
    connection: &mut PgConnection,
    options: &PgOptions,
    (has, knows): (i64, i64),
) -> Result<(), EngineError> {
    let fault = |e| of(options.target(), "asking for the rights in schema public", e);
    let (user, database) = (options.user(), options.database());
    // Hardened: the right was taken away on purpose.
    if let Some(owner) = other_owner(connection).await.map_err(fault)? {
        return Err(EngineError::Denied(format!(
            "database {database} has version {has} of the schema, this helmd needs {knows}, and the tables belong to role {owner}, not to {user}: \
             run `helmctl db init` with the rights of an administrator (as root on the server's host, or with --admin-url-file), then go on"
        )));
    }
    let may: bool = sqlx::query_scalar(
        "SELECT has_schema_privilege('public', 'CREATE') AND has_schema_privilege('public', 'USAGE')",
    )
    .fetch_one(connection)
    .await
    .map_err(fault)?;
    if may {
        return Ok(());
    }
    Err(EngineError::Denied(format!(
        "role {user} lacks the right to create tables in schema public of database {database}: an administrator grants it with GRANT ALL ON SCHEMA public TO {user}, or `helmctl db init` with an administrator's rights (--admin-url-file)"
    )))
}

/// To whom the tables belong, if that is another role, whose rights this one lacks.
pub(super) async fn other_owner(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT relowner::regrole::text FROM pg_class
         WHERE relname = 'helm_version' AND relnamespace = 'public'::regnamespace AND NOT pg_has_role(relowner, 'USAGE')",
    )
    .fetch_optional(connection)
    .await
}

pub(super) async fn version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // Not to_regclass: that may answer from a cache of before the lock was waited for.
    let there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = 'helm_version' AND relnamespace = 'public'::regnamespace)",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM helm_version").fetch_one(connection).await
}

async fn take(connection: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS helm_version (version bigint PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
    )
    .execute(&mut *connection)
    .await?;
    sqlx::raw_sql(migration.sql).execute(&mut *connection).await?;
    sqlx::query("INSERT INTO helm_version (version, name) VALUES ($1, $2)")
        .bind(migration.version)
        .bind(migration.name)
        .execute(connection)
        .await?;
    Ok(())
}
