//! Which number a helmd has in a database that several may share.

use sqlx::{Connection, PgConnection};

use super::Shared;
use super::fault::{Target, of};
use crate::engine::EngineError;
use crate::id::Instance;

/// Who registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Drawn once when the home's store was made: says who it is, whatever host and home are called.
    pub uuid: String,
    /// Name of the host.
    pub host: String,
    /// Path of the home.
    pub home: String,
    /// The number it would like (1 to 511).
    pub preferred: Instance,
}

/// Takes the number for as long as the connection lasts. `false`: an old session of this very helmd still has it; that one ends by itself. Where
/// another helmd has it, a home was copied: both would write under one number, and each pass over lines that the other stored.
pub(super) async fn claim(
    connection: &mut PgConnection,
    target: &Target,
    number: Instance,
    who: &Registration,
) -> Result<bool, EngineError> {
    let row: Result<Option<Claimed>, sqlx::Error> = sqlx::query_as(
        "SELECT pg_try_advisory_lock($1, number::int), host, home, coalesce(first_host, host), coalesce(first_home, home)
         FROM instance WHERE number = $2 AND uuid = $3",
    )
    .bind(CLAIM)
    .bind(number.0.cast_signed())
    .bind(&who.uuid)
    .fetch_optional(connection)
    .await;
    match row.map_err(|e| of(target, "taking this helmd's number", e))? {
        Some((false, host, home, first_host, first_home)) if (&host, &home) != (&who.host, &who.home) => {
            Err(EngineError::Denied(format!(
                "another helmd (host {host}, home {home}) writes into database {} as instance {}: one of the two homes is a copy of the other; \
                 the number was first that of host {first_host}, home {first_home}. In the copy, end helmd and its services and move instance/store and \
                 logs away: it then gets a number of its own, and does not store once more what came with the copy",
                target.database, number.0
            )))
        }
        Some((mine, ..)) => Ok(mine),
        None => Ok(false),
    }
}

/// Whether the number is ours now; host and home that it is of, and that it was of first.
type Claimed = (bool, String, String, String, String);

/// Gives it back.
async fn give_back(connection: &mut PgConnection, number: Instance) -> Result<(), sqlx::Error> {
    let unlock = sqlx::query("SELECT pg_advisory_unlock($1, $2)").bind(CLAIM).bind(i32::from(number.0));
    unlock.execute(connection).await.map(drop)
}

/// The number that `who` has, or now gets: the preferred one, or the next that is free.
pub(super) async fn register(
    connection: &mut PgConnection,
    target: &Target,
    who: &Registration,
) -> Result<Instance, EngineError> {
    let what = "registering this helmd";
    let known: Option<i16> = sqlx::query_scalar("SELECT number FROM instance WHERE uuid = $1")
        .bind(&who.uuid)
        .fetch_optional(&mut *connection)
        .await
        .map_err(|e| of(target, what, e))?;
    if let Some(number) = known.and_then(|number| u16::try_from(number).ok()) {
        let number = Instance(number);
        if claim(connection, target, number, who).await? {
            give_back(connection, number).await.map_err(|e| of(target, what, e))?;
        }
    }
    attempt(connection, who).await.map_err(|e| of(target, what, e))?.ok_or_else(|| {
        EngineError::Denied(format!(
            "database {} has {} helmds registered, more than which it cannot hold: use another database",
            target.database,
            Instance::MAX
        ))
    })
}

async fn attempt(connection: &mut PgConnection, who: &Registration) -> Result<Option<Instance>, sqlx::Error> {
    let mut step = connection.begin().await?;
    let known: Option<i16> = sqlx::query_scalar(
        "UPDATE instance SET host = $2, home = $3, seen = now() WHERE uuid = $1 RETURNING number",
    )
    .bind(&who.uuid)
    .bind(&who.host)
    .bind(&who.home)
    .fetch_optional(&mut *step)
    .await?;
    let number = match known {
        Some(number) => Some(number),
        None => {
            // Only one draws at a time; the lock ends with the transaction.
            sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *step).await?;
            let preferred = i16::try_from(who.preferred.0.clamp(1, Instance::MAX)).unwrap_or(1);
            sqlx::query_scalar(
                "INSERT INTO instance (number, uuid, host, home, first_host, first_home)
                 SELECT n, $2, $3, $4, $3, $4 FROM generate_series(1, 511) AS n
                 WHERE NOT EXISTS (SELECT 1 FROM instance i WHERE i.number = n)
                 ORDER BY (n - $1 + 511) % 511 LIMIT 1
                 ON CONFLICT (uuid) DO UPDATE SET seen = now() RETURNING number",
            )
            .bind(preferred)
            .bind(&who.uuid)
            .bind(&who.host)
            .bind(&who.home)
            .fetch_optional(&mut *step)
            .await?
        }
    };
    step.commit().await?;
    Ok(number.and_then(|number| u16::try_from(number).ok()).map(Instance))
}

/// A helmd that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number.
    pub instance: Instance,
    /// Name of its host.
    pub host: String,
    /// Path of its home.
    pub home: String,
    /// When it was last started, nanoseconds since 1970.
    pub seen: i64,
}

/// All helmds that share the database, by number.
pub(super) async fn registered(shared: &Shared) -> Result<Vec<Registered>, EngineError> {
    let rows: Vec<(i16, String, String, i64)> = sqlx::query_as(
        "SELECT number, host, home, (extract(epoch FROM seen) * 1000000)::bigint * 1000 FROM instance ORDER BY number",
    )
    .fetch_all(&shared.readers)
    .await
    .map_err(|e| shared.fault("asking who shares the database", e))?;
    let all = rows.into_iter().map(|(number, host, home, seen)| Registered {
        instance: Instance(number.cast_unsigned()),
        host,
        home,
        seen,
    });
    Ok(all.collect())
}

/// Partitions and entries that are not `own`: changes when somebody else has written.
pub(super) async fn others(shared: &Shared, own: Instance) -> Result<(i64, i64), EngineError> {
    sqlx::query_as("SELECT count(*), coalesce(sum(rows), 0)::bigint FROM partition WHERE id >> 24 <> $1")
        .bind(i64::from(own.0))
        .fetch_one(&shared.readers)
        .await
        .map_err(|e| shared.fault("asking what others wrote", e))
}

/// Key of the lock in the database ("inst" in ASCII).
const LOCK: i64 = 0x696e_7374;
/// First half of the key of the lock on a number ("inst" in ASCII); the number is the other.
const CLAIM: i32 = 0x696e_7374;
