//! The database behind the log, reached as helmd would reach it.

use std::fs;
use std::io;

use helm_core::doctor::{
    Daemon, Database, DatabaseKind, DatabasePlace, DatabaseSettings, Finding, Id, Refused, with_percent_signs,
};
use helm_store::engine::EngineError;
use helm_store::postgres::PgOptions;
use helm_store::postgres::setup::{self, Closed};

use super::scene::Scene;
use crate::ini;
use crate::store::in_words;
use crate::store::place::{self, Place, connection_string};

pub(super) fn look(scene: &Scene) -> Vec<Finding> {
    let conf = match fs::read_to_string(scene.home.instance().join("helm.conf")) {
        Ok(conf) => conf,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        // A fault of the configuration: which database is meant is not known.
        Err(_) => return Vec::new(),
    };
    let settings = settings(&conf);
    if let Some(finding) = settings.finding(&scene.hands) {
        return vec![finding];
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let database = match settings.connection_string.as_deref().map(PgOptions::parse) {
        Some(Ok(options)) => Some(runtime.block_on(postgres(&options))),
        Some(Err(_)) | None => runtime.block_on(sqlite(scene)),
    };
    let mut found = database.map(|database| database.findings(&scene.hands)).unwrap_or_default();
    if found.is_empty() {
        // Else what was found says why.
        found.extend(log(scene));
    }
    found
}

/// What the store of a running helmd says of itself.
fn log(scene: &Scene) -> Option<Finding> {
    let Daemon::Answers(told) = &scene.daemon else { return None };
    let why = told.store.as_ref()?;
    Some(
        Finding::fault(Id::LogNotWritten, "the log is not being written: what services print waits in logs/")
            .seen(why.clone())
            .mend(scene.hands.ctl("db check")),
    )
}

fn settings(conf: &str) -> DatabaseSettings {
    let text = connection_string(conf);
    let unreadable = text.and_then(|text| PgOptions::parse(text).err()).map(|e| e.to_string());
    let place = text.and_then(|text| PgOptions::parse(&with_percent_signs(text)).ok());
    let sections = ["database", "database_credentials"];
    DatabaseSettings {
        mentioned: sections.iter().any(|section| !ini::settings(conf, section).is_empty()),
        connection_string: text.map(str::to_owned),
        unreadable,
        place: place.as_ref().map(place_of),
    }
}

fn place_of(options: &PgOptions) -> DatabasePlace {
    DatabasePlace {
        host: options.host(),
        port: options.port(),
        database: options.database().to_owned(),
        user: options.user().to_owned(),
    }
}

async fn postgres(options: &PgOptions) -> Database {
    let host = options.host();
    let (mut refused, mut unprotected) = (None, false);
    if let Err((closed, said)) = setup::knock(options).await {
        refused = Some((kind(closed), said));
    } else {
        match setup::look(options).await {
            Ok(look) if look.schema < look.knows && !look.may_update => {
                let said = format!("the schema has version {}, this Helm needs {}", look.schema, look.knows);
                refused = Some((Refused::Schema, said));
            }
            Ok(look) => unprotected = look.protection.is_some_and(|p| p.word() == "broken"),
            Err(error) => refused = Some((kind_of(&error), in_words(&error))),
        }
    }
    Database {
        address: Place::Postgres(Box::new(options.clone())).describe(),
        kind: DatabaseKind::Postgres(place_of(options)),
        here: host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&host.as_str()),
        refused,
        unprotected,
    }
}

fn kind(closed: Closed) -> Refused {
    match closed {
        Closed::Away => Refused::Away,
        Closed::Password => Refused::Password,
        Closed::Role => Refused::Role,
        Closed::Database => Refused::Database,
        Closed::Other => Refused::Other,
    }
}

fn kind_of(error: &EngineError) -> Refused {
    match error {
        EngineError::Away(_) => Refused::Away,
        EngineError::Denied(_) => Refused::Rights,
        EngineError::Full(_)
        | EngineError::NotNext { .. }
        | EngineError::Newer { .. }
        | EngineError::Damaged(_)
        | EngineError::Stale(_)
        | EngineError::Other { .. } => Refused::Other,
    }
}

/// None is made: where helmd never ran there is nothing to look at.
async fn sqlite(scene: &Scene) -> Option<Database> {
    let dir = place::local(&scene.home);
    if !dir.join("main.db").exists() {
        return None;
    }
    let address = Place::Sqlite(dir.clone()).describe();
    let (refused, unprotected) = match helm_store::sqlite::protection(&dir).await {
        Ok(protection) => (None, protection.word() == "broken"),
        Err(error) => (Some((kind_of(&error), in_words(&error))), false),
    };
    let (dir, owner) = (dir.display().to_string(), scene.owner.name.clone());
    Some(Database { address, kind: DatabaseKind::Sqlite { dir, owner }, here: true, refused, unprotected })
}
