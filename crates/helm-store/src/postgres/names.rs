//! The dictionary of services: an entry carries a number for the name.
//!
//! Names are only ever added, so that what is remembered here stays true as long as the connection that writes lasts: behind it may stand another
//! server (a standby that lacks the last transactions, a restored backup). How much is remembered is bounded.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sqlx::{PgConnection, postgres::PgPool};

/// More than this, and what is remembered is forgotten and learnt anew: a hostile sender cannot fill the memory.
const REMEMBERED: usize = 20_000;

#[derive(Default)]
pub(super) struct Names {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    ids: HashMap<String, i32>,
    names: HashMap<i32, String>,
}

impl Names {
    /// Numbers of `names`, new ones added to the database. Not to be called in a transaction: one that is rolled back would take back what
    /// is remembered here.
    pub(super) async fn numbers(
        &self,
        connection: &mut PgConnection,
        names: &BTreeSet<&str>,
    ) -> Result<HashMap<String, i32>, sqlx::Error> {
        let (mut found, missing) = self.known_ids(names.iter().copied());
        if !missing.is_empty() {
            sqlx::query("INSERT INTO service (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
                .bind(&missing)
                .execute(&mut *connection)
                .await?;
            let rows: Vec<(i32, String)> =
                sqlx::query_as("SELECT id, name FROM service WHERE name = ANY($1)")
                    .bind(&missing)
                    .fetch_all(connection)
                    .await?;
            self.learn(&rows);
            found.extend(rows.into_iter().map(|(id, name)| (name, id)));
        }
        Ok(found)
    }

    /// Numbers of those of `names` that the database knows.
    pub(super) async fn look_up(&self, pool: &PgPool, names: &[String]) -> Result<Vec<i32>, sqlx::Error> {
        let (found, missing) = self.known_ids(names.iter().map(String::as_str));
        let mut ids: Vec<i32> = found.into_values().collect();
        if !missing.is_empty() {
            let rows: Vec<(i32, String)> =
                sqlx::query_as("SELECT id, name FROM service WHERE name = ANY($1)")
                    .bind(&missing)
                    .fetch_all(pool)
                    .await?;
            self.learn(&rows);
            ids.extend(rows.iter().map(|(id, _)| *id));
        }
        Ok(ids)
    }

    /// Names of `ids`.
    pub(super) async fn of(
        &self,
        pool: &PgPool,
        ids: &BTreeSet<i32>,
    ) -> Result<HashMap<i32, String>, sqlx::Error> {
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for id in ids {
                match known.names.get(id) {
                    Some(name) => drop(found.insert(*id, name.clone())),
                    None => missing.push(*id),
                }
            }
        }
        if !missing.is_empty() {
            let rows: Vec<(i32, String)> = sqlx::query_as("SELECT id, name FROM service WHERE id = ANY($1)")
                .bind(&missing)
                .fetch_all(pool)
                .await?;
            self.learn(&rows);
            found.extend(rows);
        }
        Ok(found)
    }

    /// Learns everything anew.
    pub(super) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    fn known_ids<'a>(&self, names: impl Iterator<Item = &'a str>) -> (HashMap<String, i32>, Vec<String>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = HashMap::new();
        let mut missing = Vec::new();
        for name in names {
            match known.ids.get(name) {
                Some(id) => drop(found.insert(name.to_owned(), *id)),
                None => missing.push(name.to_owned()),
            }
        }
        (found, missing)
    }

    fn learn(&self, rows: &[(i32, String)]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.ids.len() + rows.len() > REMEMBERED {
            *known = Known::default();
        }
        for (id, name) in rows.iter().take(REMEMBERED) {
            known.ids.insert(name.clone(), *id);
            known.names.insert(*id, name.clone());
        }
    }
}
