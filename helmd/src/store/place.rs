//! Which database: PostgreSQL where `instance/helm.conf` has a `[database] connection_string`, else SQLite in `instance/store`.

use std::path::PathBuf;
use std::{fs, io};

use helm_store::postgres::PgOptions;

use crate::home::Home;

/// Where the store lies.
#[derive(Debug, Clone)]
pub enum Place {
    /// Files in this directory.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgOptions>),
}

/// Why the place is not known.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection string is none.
    #[error("instance/helm.conf: [database] connection_string: {0}")]
    Options(#[from] helm_store::postgres::OptionsError),
}

impl Place {
    /// As the home's configuration says. Blocking.
    pub fn of(home: &Home) -> Result<Self, PlaceError> {
        let path = home.instance().join("helm.conf");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(PlaceError::Unreadable { path, source }),
        };
        match connection_string(&text) {
            Some(text) => Ok(Self::Postgres(Box::new(PgOptions::parse(text)?))),
            None => Ok(Self::Sqlite(local(home))),
        }
    }

    /// In words, without a password.
    pub fn describe(&self) -> String {
        match self {
            Place::Sqlite(dir) => format!("SQLite in {}", dir.display()),
            Place::Postgres(options) => {
                format!("PostgreSQL, database {} at {}", options.database(), options.place())
            }
        }
    }
}

/// Directory of what is kept in the home whatever the engine is.
pub fn local(home: &Home) -> PathBuf {
    home.instance().join("store")
}

/// The setting in an INI file, taken as it is: no quotes, no interpolation (contract 3.6). Blank is none.
pub fn connection_string(text: &str) -> Option<&str> {
    let mut inside = false;
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']').trim() == "database";
        } else if inside
            && let Some((name, value)) = line.split_once(['=', ':'])
            && name.trim() == "connection_string"
        {
            found = Some(value.trim()).filter(|value| !value.is_empty());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_string_is_taken_as_it_is() {
        let text = "[other]\nconnection_string = no\n[database]\n; c\nconnection_string = postgresql://u:p%40x@h/db?a=b\n";
        assert_eq!(connection_string(text), Some("postgresql://u:p%40x@h/db?a=b"));
        assert_eq!(connection_string("[database]\nconnection_string =\n"), None);
        assert_eq!(connection_string("[helm]\nstart_cap = 3\n"), None);
    }
}
