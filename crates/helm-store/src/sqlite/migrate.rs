//! Versions of the files: brought up to date step by step, each step whole or not at all.

use std::path::Path;

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::error::engine_error;
use crate::engine::EngineError;

/// Steps of `main.db`.
pub(super) const MAIN: &[&str] = &[
    include_str!("../../../../migrations/sqlite/main/0001_instance.sql"),
    include_str!("../../../../migrations/sqlite/main/0002_numbers.sql"),
];
/// Steps of a segment.
pub(super) const SEGMENT: &[&str] = &[
    include_str!("../../../../migrations/sqlite/segment/0001_log.sql"),
    include_str!("../../../../migrations/sqlite/segment/0002_packed.sql"),
    include_str!("../../../../migrations/sqlite/segment/0003_once.sql"),
];

/// Version that a file has: the number of steps that were taken. A newer one than `steps` know is refused.
pub(super) async fn version(
    connection: &mut SqliteConnection,
    path: &Path,
    steps: &[&'static str],
) -> Result<usize, EngineError> {
    let has: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(connection)
        .await
        .map_err(|e| engine_error("could not read the version", path, e))?;
    let knows = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if has > knows {
        return Err(EngineError::Newer { has, knows });
    }
    Ok(usize::try_from(has).unwrap_or(0))
}

/// Takes the steps that are missing.
pub(crate) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    steps: &[&'static str],
) -> Result<(), EngineError> {
    let has = version(connection, path, steps).await?;
    for (at, step) in steps.iter().enumerate().skip(has) {
        let next = at + 1;
        let failed = |e| {
            engine_error(
                &format!(
                    "step {next} of the schema was rolled back and is tried again at the next opening (the helmd of before can go on)"
                ),
                path,
                e,
            )
        };
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        transaction.execute(*step).await.map_err(failed)?;
        let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {next}"));
        transaction.execute(version).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tables(connection: &mut SqliteConnection) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM sqlite_schema ORDER BY name")
            .fetch_all(connection)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn steps_are_taken_once_and_whole_and_newer_is_refused() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let path = Path::new(":memory:");
        let one = "CREATE TABLE a (x INTEGER); CREATE TABLE b (x INTEGER)";
        migrate(&mut connection, path, &[one]).await.unwrap();
        migrate(&mut connection, path, &[one]).await.unwrap();

        let broken = "CREATE TABLE c (x INTEGER); CREATE TABLE nonsense (";
        let error = migrate(&mut connection, path, &[one, broken]).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("step 2 of the schema was rolled back"), "{said}");
        assert_eq!(tables(&mut connection).await, ["a", "b"]);
        migrate(&mut connection, path, &[one, "CREATE TABLE c (x INTEGER)"]).await.unwrap();
        assert_eq!(tables(&mut connection).await, ["a", "b", "c"]);

        let error = migrate(&mut connection, path, &[one]).await.unwrap_err();
        assert!(matches!(error, EngineError::Newer { has: 2, knows: 1 }), "{error}");
    }
}
