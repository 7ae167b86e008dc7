//! Making a database ready for helmd: the address, the role, the database; and a look that changes nothing.

use sqlx::{Connection, PgConnection};

use super::connect::PgOptions;
use super::protect::ddl;
use super::{PgEngine, fault, migrate};
use crate::engine::{EngineError, LogEngine};
use crate::id::Instance;
use crate::protection::Protection;

/// Where a database is, in the parts that people know.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Name, number, or the directory of a socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// Its password, as it is.
    pub password: String,
}

impl Address {
    /// The connection string, with percent-encoded parts.
    pub fn url(&self) -> String {
        let Self { host, port, database, user, password } = self;
        let (user, password, database) = (encoded(user), encoded(password), encoded(database));
        if host.starts_with('/') {
            return format!(
                "postgresql://{user}:{password}@localhost:{port}/{database}?host={}",
                encoded(host)
            );
        }
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("postgresql://{user}:{password}@{host}:{port}/{database}")
    }
}

/// Without the password.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({}@{}:{}/{})", self.user, self.host, self.port, self.database)
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The role that helmd is to log in as.
#[derive(Clone, Copy)]
pub struct Role<'a> {
    /// Its name.
    pub name: &'a str,
    /// Password of a new role.
    pub password: &'a str,
    /// A role that is there gets this password, too.
    pub reset: bool,
}

/// With an administrator's rights: makes role and database where they are missing. Says what was done.
pub async fn prepare(admin: &PgOptions, role: Role<'_>, database: &str) -> Result<Vec<String>, EngineError> {
    let fault = |e| fault::of(admin.target(), "preparing role and database", e);
    let mut connection = admin.worker().await?;
    let mut done = Vec::new();
    let there =
        exists(&mut connection, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", role.name);
    if !there.await.map_err(fault)? {
        let template = "CREATE ROLE %1$I LOGIN PASSWORD %2$L";
        ddl(&mut connection, template, &[role.name, role.password]).await.map_err(fault)?;
        done.push(format!("role {} made", role.name));
    } else if role.reset {
        let template = "ALTER ROLE %1$I LOGIN PASSWORD %2$L";
        ddl(&mut connection, template, &[role.name, role.password]).await.map_err(fault)?;
        done.push(format!("password of role {} set", role.name));
    }
    let there =
        exists(&mut connection, "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)", database);
    if !there.await.map_err(fault)? {
        let template = "CREATE DATABASE %I ENCODING 'UTF8' TEMPLATE template0";
        ddl(&mut connection, template, &[database]).await.map_err(fault)?;
        done.push(format!("database {database} made"));
    }
    ddl(&mut connection, "GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", &[database, role.name])
        .await
        .map_err(fault)?;
    connection.close().await.map_err(fault)?;
    Ok(done)
}

/// With an administrator's rights: whether there is a role of that name.
pub async fn role_exists(admin: &PgOptions, name: &str) -> Result<bool, EngineError> {
    let fault = |e| fault::of(admin.target(), "looking for the role", e);
    let mut connection = admin.worker().await?;
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)";
    let there = exists(&mut connection, sql, name).await.map_err(fault)?;
    connection.close().await.map_err(fault)?;
    Ok(there)
}

async fn exists(connection: &mut PgConnection, sql: &'static str, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(sql).bind(name).fetch_one(connection).await
}

/// What a look at a database tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Of the server, as `150018`.
    pub version: i32,
    /// Version of the schema; 0: there is none yet.
    pub schema: i64,
    /// The one that this program knows.
    pub knows: i64,
    /// Whether helmd's own role may bring the schema up to date: not where the tables belong to another one.
    pub may_update: bool,
    /// What protects the log; `None` while there is none.
    pub protection: Option<Protection>,
    /// What to do better.
    pub advice: Vec<String>,
}

/// Connects as helmd would and looks, without changing anything.
pub async fn look(options: &PgOptions) -> Result<Look, EngineError> {
    let fault = |e| fault::of(options.target(), "reading the schema's version", e);
    let mut connection = options.worker().await?;
    let schema = migrate::version(&mut connection).await.map_err(fault)?;
    let may_update = migrate::other_owner(&mut connection).await.map_err(fault)?.is_none();
    connection.close().await.map_err(fault)?;
    let engine = PgEngine::with(options.clone(), Instance::FORMER, None);
    let knows = migrate::ALL.last().map_or(0, |last| last.version);
    if schema > knows {
        return Err(EngineError::Newer { has: schema, knows });
    }
    let protection = if schema == knows { Some(engine.protection().await?) } else { None };
    let look = Look {
        version: engine.server_version().await?,
        schema,
        knows,
        may_update,
        protection,
        advice: engine.advice().await?,
    };
    engine.close().await?;
    Ok(look)
}

/// Why a database lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Nobody answers, or not in time.
    Away,
    /// The password is not the role's. A server that asks for passwords says the same of a role that it does not know.
    Password,
    /// There is no such role.
    Role,
    /// There is no such database.
    Database,
    /// Anything else.
    Other,
}

/// Whether the database lets helmd in: the kind of refusal, and what was said.
pub async fn knock(options: &PgOptions) -> Result<(), (Closed, String)> {
    match options.knock().await {
        None => Err((Closed::Away, "no answer in time".to_owned())),
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => Err(closed(error)),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is sqlx's, and may grow")]
fn closed(error: sqlx::Error) -> (Closed, String) {
    match error {
        sqlx::Error::Database(db) => {
            let message = db.message().to_owned();
            let closed = match db.code().as_deref() {
                Some("28P01") => Closed::Password,
                // Also said where pg_hba.conf has no line for us.
                Some("28000") if message.starts_with("role ") => Closed::Role,
                Some("28000") => Closed::Password,
                Some("3D000") => Closed::Database,
                Some(code) if code.starts_with("57P") => Closed::Away,
                Some(_) | None => Closed::Other,
            };
            (closed, message)
        }
        sqlx::Error::Io(e) => (Closed::Away, e.to_string()),
        other => (Closed::Other, other.to_string()),
    }
}

/// Brings the schema up to date with helmd's own rights, as helmd does when it starts.
pub async fn bring_up_to_date(options: &PgOptions) -> Result<(), EngineError> {
    let mut connection = options.worker().await?;
    migrate::up_to_date(&mut connection, options, &migrate::ALL).await?;
    connection.close().await.map_err(|e| fault::of(options.target(), "preparing the schema", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_password_survives_the_connection_string() {
        let address = Address {
            host: "db.lan".into(),
            port: 5433,
            database: "helm_db".into(),
            user: "helm_user".into(),
            password: "p@ss/w%rd:1 ü#?".into(),
        };
        let url = "postgresql://helm_user:p%40ss%2Fw%25rd%3A1%20%C3%BC%23%3F@db.lan:5433/helm_db";
        assert_eq!(address.url(), url);
        assert_eq!(PgOptions::parse(url).unwrap().place(), "db.lan:5433");
        let socket = Address { host: "/run/postgresql".into(), ..address.clone() };
        let place = PgOptions::parse(&socket.url()).unwrap().place().to_owned();
        assert_eq!(place, "/run/postgresql (socket, port 5433)");
        assert!(!format!("{address:?}").contains("p@ss"));
    }
}
