//! `db check`

use helm_store::postgres::setup::{self, Look};
use helm_store::postgres::{PgOptions, version_in_words};
use helm_store::protection::Protection;
use serde_json::{Value, json};

use crate::home::Home;
use crate::store::in_words;
use crate::store::place::Place;

pub(super) async fn check(home: &Home) -> Result<Value, String> {
    match Place::of(home).map_err(|e| in_words(&e))? {
        Place::Sqlite(dir) => {
            let version = helm_store::sqlite::version().await.map_err(|e| in_words(&e))?;
            let protection = helm_store::sqlite::protection(&dir).await.map_err(|e| in_words(&e))?;
            let address = Place::Sqlite(dir).describe();
            Ok(json!({
                "engine": "sqlite", "address": address, "version": format!("SQLite {version}"),
                "protection": protection.word(), "advice": protection.advice().into_iter().collect::<Vec<_>>(),
            }))
        }
        Place::Postgres(options) => {
            let look = setup::look(&options).await.map_err(|e| in_words(&e))?;
            Ok(seen(&options, &look))
        }
    }
}

/// A look at a database, as JSON.
pub(super) fn seen(options: &PgOptions, look: &Look) -> Value {
    let Look { version, schema, knows, may_update, protection, advice } = look;
    let mut advice = advice.clone();
    if schema < knows {
        advice.push(match may_update {
            true => "the schema is brought up to date when helmd starts, or by `helmctl db init`".to_owned(),
            false => format!(
                "the schema has version {schema} and must have {knows}: run `helmctl db init` with the rights of an administrator, for the tables belong to another role"
            ),
        });
    }
    advice.extend(protection.as_ref().and_then(Protection::advice));
    json!({
        "engine": "postgresql",
        "address": Place::Postgres(Box::new(options.clone())).describe(),
        "user": options.user(),
        "version": version_in_words(*version),
        "schema": schema,
        "knows": knows,
        "protection": protection.as_ref().map(|p| p.word()),
        "advice": advice,
    })
}
