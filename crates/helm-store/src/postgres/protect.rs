//! What keeps entries from being altered: triggers always, and roles where somebody may make them.
//!
//! With roles, tables belong to one that nobody logs in as; helmd's own may read and add, and partitions come and go through functions that
//! run with the owner's rights. Without, helmd's role owns the tables: triggers refuse, but who owns a table could drop them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::connect::PgOptions;
use super::migrate::{self, Migration};
use super::{Shared, fault};
use crate::engine::EngineError;
use crate::protection::Protection;

pub(super) async fn protection(shared: &Shared) -> Result<Protection, EngineError> {
    let fault = |e| shared.fault("asking what protects the log", e);
    let bare: Vec<String> = sqlx::query_scalar(
        "SELECT c.oid::regclass::text FROM pg_class c
         WHERE (c.oid = 'entry'::regclass OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'entry'::regclass))
         AND NOT EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'helm_immutable' AND t.tgenabled = 'A')
         ORDER BY c.oid",
    )
    .fetch_all(&shared.readers)
    .await
    .map_err(fault)?;
    if !bare.is_empty() {
        return Ok(Protection::Broken {
            how: "somebody dropped triggers: run `helmctl logs verify`, and ask who owns the tables"
                .to_owned(),
            tables: bare,
        });
    }
    let (writer, owner, superuser, member, rights): (String, String, bool, bool, bool) = sqlx::query_as(
        "SELECT current_user::text, r.rolname::text, current_setting('is_superuser')::bool, pg_has_role(r.oid, 'MEMBER'),
                has_table_privilege('entry', 'UPDATE, DELETE, TRUNCATE')
         FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid = 'entry'::regclass",
    )
    .fetch_one(&shared.readers)
    .await
    .map_err(fault)?;
    let why = match (superuser, owner == writer, member, rights) {
        (false, false, false, false) => return Ok(Protection::RolesAndTriggers { owner, writer }),
        (true, ..) => format!("{writer} is a superuser, whom nothing binds"),
        (_, true, ..) => format!("{writer} owns the tables"),
        (_, _, true, _) => format!("{writer} is a member of {owner}, who owns the tables"),
        (false, false, false, true) => format!("{writer} was granted UPDATE, DELETE or TRUNCATE"),
    };
    let how = format!(
        "run `helmctl db init` with the rights of an administrator: it gives the tables to a role that nobody logs in as, and leaves {writer} to read and add"
    );
    Ok(Protection::TriggersOnly { why, how })
}

/// With the rights of an administrator of the database that `admin` leads to: brings the schema up to date and splits the roles. The tables go to
/// a role `DATABASE_owner` that nobody logs in as; `writer`, which must exist, keeps SELECT and INSERT. May be run again; must be, after an
/// update of Helm that changes the schema. Returns the owner's name.
pub async fn harden(admin: &PgOptions, writer: &str) -> Result<String, EngineError> {
    harden_to(admin, writer, &migrate::ALL).await
}

/// [`harden`] as a Helm that knows only these steps of the schema does it.
pub async fn harden_to(
    admin: &PgOptions,
    writer: &str,
    migrations: &[Migration],
) -> Result<String, EngineError> {
    let fault = |e| fault::of(admin.target(), "splitting the roles", e);
    let owner = format!("{}_owner", admin.database());
    let mut connection = admin.worker().await?;
    split(&mut connection, &owner, writer, admin.database()).await.map_err(fault)?;
    ddl(&mut connection, "SET ROLE %I", &[&owner]).await.map_err(fault)?;
    migrate::up_to_date(&mut connection, admin, migrations).await?;
    sqlx::query("SELECT helm_grant_writer($1)").bind(writer).execute(&mut connection).await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    Ok(owner)
}

async fn split(
    connection: &mut PgConnection,
    owner: &str,
    writer: &str,
    database: &str,
) -> Result<(), sqlx::Error> {
    let mut step = connection.begin().await?;
    let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)")
        .bind(owner)
        .fetch_one(&mut *step)
        .await?;
    if !there {
        ddl(&mut step, "CREATE ROLE %I NOLOGIN", &[owner]).await?;
    }
    // Needed to give tables to it, unless one is a superuser.
    let (me, superuser): (String, bool) =
        sqlx::query_as("SELECT current_user::text, current_setting('is_superuser')::bool")
            .fetch_one(&mut *step)
            .await?;
    if !superuser && me != writer {
        ddl(&mut step, "GRANT %I TO %I", &[owner, &me]).await?;
        ddl(&mut step, "GRANT %I TO %I", &[writer, &me]).await?;
    }
    ddl(&mut step, "REVOKE %I FROM %I", &[owner, writer]).await?;
    // Who owns the database or the schema may drop what is in it.
    let owns: bool = sqlx::query_scalar(
        "SELECT r.rolname = $1 FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE d.datname = $2",
    )
    .bind(writer)
    .bind(database)
    .fetch_one(&mut *step)
    .await?;
    if owns {
        ddl(&mut step, "ALTER DATABASE %I OWNER TO %I", &[database, owner]).await?;
        ddl(&mut step, "GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", &[database, writer]).await?;
    }
    ddl(&mut step, "ALTER SCHEMA public OWNER TO %I", &[owner]).await?;
    ddl(&mut step, "REVOKE CREATE ON SCHEMA public FROM PUBLIC, %I", &[writer]).await?;
    // What the writer made so far, sequences of columns aside: these follow their tables.
    let mut give: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER %s %s OWNER TO %I',
                       CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass, $2)
         FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
         WHERE c.relnamespace = 'public'::regnamespace AND r.rolname = $1 AND c.relkind IN ('r', 'p', 'v', 'S')
         AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))",
    )
    .bind(writer)
    .bind(owner)
    .fetch_all(&mut *step)
    .await?;
    let functions: Vec<String> = sqlx::query_scalar(
        "SELECT format('ALTER FUNCTION %s OWNER TO %I', p.oid::regprocedure, $2)
         FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner
         WHERE p.pronamespace = 'public'::regnamespace AND r.rolname = $1",
    )
    .bind(writer)
    .bind(owner)
    .fetch_all(&mut *step)
    .await?;
    give.extend(functions);
    for statement in give {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *step).await?;
    }
    step.commit().await
}

/// A statement that takes no binds: names are quoted by the server (`%I`).
pub(super) async fn ddl(
    connection: &mut PgConnection,
    template: &str,
    names: &[&str],
) -> Result<(), sqlx::Error> {
    let statement: String = sqlx::query_scalar("SELECT format($1, VARIADIC $2::text[])")
        .bind(template)
        .bind(names)
        .fetch_one(&mut *connection)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}
