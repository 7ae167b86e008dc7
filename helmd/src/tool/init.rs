//! `db init`: role, database, rights, `instance/helm.conf`. Everything is tried before anything is written, and it may be done again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use helm_store::engine::EngineError;
use helm_store::postgres::setup::{self, Address, Role};
use helm_store::postgres::{Asker, PgOptions, harden};
use nix::unistd::User;
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use serde::Serialize;
use serde_json::Value;

use super::{Secrets, check, say};
use crate::home::{Home, HomeError, replace_durably};
use crate::ini;
use crate::store::in_words;
use crate::store::place::{self, connection_string};

/// Where servers put their sockets.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// Length of a password that is made.
const LENGTH: usize = 32;

/// Which database is meant.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Asked {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) user: String,
}

impl Asked {
    fn url(&self, password: &str) -> String {
        let Asked { host, port, database, user } = self;
        let (host, database, user) = (host.clone(), database.clone(), user.clone());
        Address { host, port: *port, database, user, password: password.to_owned() }.url()
    }

    fn is_here(&self) -> bool {
        self.host.starts_with('/') || ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str())
    }
}

/// What is meant where nothing is said: what is configured already, else what the Python tool makes.
pub(super) fn usual(home: &Home) -> Result<Asked, String> {
    read(&home.instance().join("helm.conf")).map(|conf| usual_by(&conf))
}

fn usual_by(conf: &str) -> Asked {
    if let Some(options) = connection_string(conf).and_then(|text| PgOptions::parse(text).ok()) {
        let (database, user) = (options.database().to_owned(), options.user().to_owned());
        return Asked { host: options.host(), port: options.port(), database, user };
    }
    let said = ini::settings(conf, "database_credentials");
    let value = |key: &str| {
        let pairs = said.iter().filter_map(|line| line.split_once(['=', ':']));
        let mut named =
            pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned());
        named.next().filter(|value| !value.is_empty())
    };
    Asked {
        host: value("db_host").unwrap_or_else(|| "localhost".to_owned()),
        port: value("db_port").and_then(|port| port.parse().ok()).unwrap_or(5432),
        database: value("db_dbname").unwrap_or_else(|| "helm_db".to_owned()),
        user: value("db_user").unwrap_or_else(|| "helm_user".to_owned()),
    }
}

fn read(conf: &Path) -> Result<String, String> {
    match fs::read_to_string(conf) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|e| format!("{}: {e}", conf.display())),
    }
}

/// Host and port: as they were said, else the administrator's, else the usual ones.
pub(super) fn server(
    host: Option<String>,
    port: Option<u16>,
    admin_url: Option<&str>,
) -> Result<(String, u16), String> {
    let Some(url) = admin_url else {
        return Ok((host.unwrap_or_else(|| "localhost".to_owned()), port.unwrap_or(5432)));
    };
    let admin = administrator(url)?;
    match port {
        Some(port) if port != admin.port() => Err(format!(
            "the administrator's URL leads to {}, and port {port} was asked for: two servers; nothing was changed, say one of them",
            admin.place()
        )),
        _ => Ok((host.unwrap_or_else(|| admin.host()), admin.port())),
    }
}

fn administrator(url: &str) -> Result<PgOptions, String> {
    let options = PgOptions::parse(url).map_err(|e| format!("the administrator's URL: {e}"))?;
    Ok(options.asked_by(Asker::Admin))
}

pub(super) async fn init(home: &Home, asked: Asked, secrets: Secrets) -> Result<Value, String> {
    let path = home.instance().join("helm.conf");
    let conf = read(&path)?;
    let known = known(&conf, &asked);
    let url = match &secrets.password {
        Some(password) => Some(asked.url(password)),
        None => known.clone(),
    };
    // Before anything is made: whether somebody answers where helmd is to connect.
    if let Err(error @ EngineError::Away(_)) =
        setup::look(&parsed(url.as_deref().unwrap_or(&asked.url("")))?).await
    {
        return Err(format!("{}; nothing was changed", in_words(&error)));
    }
    let admin = Admin::find(&asked, secrets.admin_url.as_deref()).await?;
    let url = match (&admin, url) {
        (Some(admin), url) => prepared(admin, &asked, url, secrets.password.as_deref()).await?,
        (None, Some(url)) => url,
        (None, None) => return Err(no_way(&asked).await),
    };
    let options = parsed(&url)?;
    if admin.is_none() {
        setup::bring_up_to_date(&options).await.map_err(|e| in_words(&e))?;
    }
    let look = setup::look(&options).await.map_err(|e| match &admin {
        None => in_words(&e),
        // The role has a password that nobody was told: the next run must set one.
        Some(_) => format!(
            "{}; role and database are there: mend this, and run it again with --password-file (the role gets that password)",
            in_words(&e)
        ),
    })?;
    say(&format!("connected to {options}"));
    let text = written(&conf, &asked, &url);
    if text == conf {
        say("instance/helm.conf says so already");
    } else {
        replace_durably(&path, text.as_bytes(), 0o600).map_err(|e| format!("{}: {e}", path.display()))?;
        say("instance/helm.conf written (readable for its owner only)");
    }
    next(home);
    Ok(check::seen(&options, &look))
}

/// What SQLite has must come first: `db move` goes only where helmd has not written yet.
fn next(home: &Home) {
    let runs = matches!(home.lock(), Err(HomeError::Held { .. }));
    if place::local(home).join("log").exists() {
        let (before, after) =
            if runs { ("helmctl daemon stop && ", " && helmctl daemon start") } else { ("", "") };
        say(&format!(
            "the log that SQLite has is not in PostgreSQL yet; to take it along, before helmd writes there: {before}helmctl db move{after} (services stay)"
        ));
        if runs {
            say(
                "helmctl reload instead leaves it in instance/store, and it can then no longer be moved to this database",
            );
        }
    } else if runs {
        say("helmd goes on with the store that it has; apply with: helmctl reload (services stay)");
    }
}

/// The connection string that is configured, if it leads to the same place.
fn known(conf: &str, asked: &Asked) -> Option<String> {
    let url = connection_string(conf)?;
    let (has, wants) = (PgOptions::parse(url).ok()?, PgOptions::parse(&asked.url("")).ok()?);
    let same = (has.place(), has.database(), has.user()) == (wants.place(), wants.database(), wants.user());
    same.then(|| url.to_owned())
}

fn parsed(url: &str) -> Result<PgOptions, String> {
    let options = PgOptions::parse(url).map_err(|e| e.to_string())?;
    Ok(options.asked_by(Asker::Init))
}

/// Why it cannot be done. That nobody answers there comes before that the password is not known.
async fn no_way(asked: &Asked) -> String {
    let reached = match parsed(&asked.url("")) {
        Ok(options) => setup::look(&options).await,
        Err(why) => return why,
    };
    match reached {
        Err(error @ EngineError::Away(_)) => in_words(&error),
        _ => format!(
            "the password of role {} is not known, and nobody here may make the role: give it with --password-file, run this as root or postgres on the server's host, or give --admin-url-file",
            asked.user
        ),
    }
}

/// Makes what is missing, hardens, and returns the connection string that works.
async fn prepared(
    admin: &Admin,
    asked: &Asked,
    url: Option<String>,
    given: Option<&str>,
) -> Result<String, String> {
    let works = match url.as_deref().map(parsed).transpose()? {
        Some(options) => setup::look(&options).await.is_ok(),
        None => false,
    };
    let _rights = admin.take()?;
    let there = setup::role_exists(&admin.options, &asked.user).await.map_err(|e| in_words(&e))?;
    if there && !works && given.is_none() {
        return Err(format!(
            "role {} is there already and its password is not known here: give it with --password-file (the role gets that password)",
            asked.user
        ));
    }
    let password = match given {
        Some(password) => password.to_owned(),
        None => made().map_err(|e| format!("/dev/urandom: {e}"))?,
    };
    let role = Role { name: &asked.user, password: &password, reset: given.is_some() && !works };
    let done = setup::prepare(&admin.options, role, &asked.database).await.map_err(|e| in_words(&e))?;
    done.iter().for_each(|done| say(done));
    let owner = harden(&admin.options.to_database(&asked.database), &asked.user).await;
    let owner = owner.map_err(|e| in_words(&e))?;
    say(&format!("tables belong to {owner}; {} may read and add", asked.user));
    Ok(url.filter(|_| works).unwrap_or_else(|| asked.url(&password)))
}

fn written(conf: &str, asked: &Asked, url: &str) -> String {
    let mut text = ini::set(conf, "database", "connection_string", url);
    let port = asked.port.to_string();
    let parts = [
        ("db_host", &asked.host),
        ("db_port", &port),
        ("db_user", &asked.user),
        ("db_dbname", &asked.database),
    ];
    for (key, value) in parts {
        text = ini::set(&text, "database_credentials", key, value);
    }
    text
}

/// A password of letters and digits.
fn made() -> io::Result<String> {
    const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = File::open("/dev/urandom")?;
    let mut password = String::with_capacity(LENGTH);
    let mut byte = [0];
    while password.len() < LENGTH {
        random.read_exact(&mut byte)?;
        // The rest of 256 would make some signs likelier than others.
        if let Some(sign) = SIGNS.get(usize::from(byte[0] % 64)) {
            password.push(char::from(*sign));
        }
    }
    Ok(password)
}

/// Somebody who may make roles and databases.
#[derive(Debug)]
struct Admin {
    options: PgOptions,
    /// Whom the server knows by the user of the process (peer authentication).
    user: Option<Uid>,
}

impl Admin {
    /// By the URL that was given; else the user postgres over the local socket, where we may be that.
    async fn find(asked: &Asked, url: Option<&str>) -> Result<Option<Self>, String> {
        if let Some(url) = url {
            return Ok(Some(Self { options: administrator(url)?, user: None }));
        }
        let Some(user) = Self::local(asked) else { return Ok(None) };
        let address = |socket: &str| {
            let port = asked.port;
            format!("postgresql://postgres@localhost:{port}/postgres?host={}", socket.replace('/', "%2F"))
        };
        let own = [asked.host.as_str()];
        let directories = if asked.host.starts_with('/') { &own[..] } else { &SOCKETS[..] };
        for socket in directories {
            if !Path::new(socket).join(format!(".s.PGSQL.{}", asked.port)).exists() {
                continue;
            }
            let options = PgOptions::parse(&address(socket)).map_err(|e| e.to_string())?;
            let admin = Self { options: options.asked_by(Asker::Admin), user: Some(user) };
            let rights = admin.take()?;
            let may = setup::role_exists(&admin.options, "postgres").await;
            drop(rights);
            match may {
                Ok(_) => return Ok(Some(admin)),
                Err(e) => say(&format!("no rights of an administrator over {socket}: {}", in_words(&e))),
            }
        }
        Ok(None)
    }

    /// The user postgres, if we are or may become it and the server is here.
    fn local(asked: &Asked) -> Option<Uid> {
        let postgres = User::from_name("postgres").ok().flatten()?.uid.as_raw();
        let me = geteuid();
        (asked.is_here() && (me.is_root() || me.as_raw() == postgres)).then(|| Uid::from_raw(postgres))
    }

    /// This thread acts as the administrator until the result is dropped.
    fn take(&self) -> Result<Rights, String> {
        let me = geteuid();
        match self.user.filter(|user| *user != me) {
            None => Ok(Rights(None)),
            Some(user) => set_thread_res_uid(None, Some(user), None)
                .map(|()| Rights(Some(me)))
                .map_err(|e| format!("we cannot act as postgres: {e}")),
        }
    }
}

/// Gives them back when dropped.
struct Rights(Option<Uid>);

impl Drop for Rights {
    fn drop(&mut self) {
        if let Some(me) = self.0 {
            // Back to what the real and saved user still are: never refused.
            let _ = set_thread_res_uid(None, Some(me), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { host: "localhost".into(), port: 5432, database: "helm_db".into(), user: "helm_user".into() }
    }

    #[test]
    fn both_sections_are_written_and_the_rest_stays() {
        let conf = "[helm]\nstart_cap = 3\n\n[database]\n; old\nconnection_string = postgresql://x@y/z\n";
        let url = asked().url("p@ss");
        let text = written(conf, &asked(), &url);
        let want = "[helm]\nstart_cap = 3\n\n[database]\n; old\nconnection_string = postgresql://helm_user:p%40ss@localhost:5432/helm_db\n\n[database_credentials]\ndb_host = localhost\ndb_port = 5432\ndb_user = helm_user\ndb_dbname = helm_db\n";
        assert_eq!(text, want);
        assert_eq!(written(&text, &asked(), &url), text, "again: nothing to do");
    }

    #[test]
    fn what_is_configured_is_known_only_for_the_same_place() {
        let conf = written("", &asked(), &asked().url("secret"));
        assert_eq!(known(&conf, &asked()), Some(asked().url("secret")));
        assert_eq!(known(&conf, &Asked { database: "other".into(), ..asked() }), None);
        assert_eq!(known("", &asked()), None);
    }

    #[test]
    fn what_is_configured_is_meant_where_nothing_is_said() {
        assert_eq!(usual_by("[helm]\n"), asked());
        let lan = |database: &str| Asked {
            host: "db.lan".into(),
            port: 5433,
            database: database.into(),
            user: "helm_user".into(),
        };
        let conf = "[database]\nconnection_string = postgresql://helm_user:x@db.lan:5433/log\n";
        assert_eq!(usual_by(conf), lan("log"));
        // As the Python tool leaves it where it came no further.
        assert_eq!(usual_by("[database_credentials]\ndb_host = db.lan\ndb_port = 5433\n"), lan("helm_db"));
    }

    #[test]
    fn the_administrators_server_is_meant_unless_another_is_said() {
        let url = Some("postgresql://postgres:x@db.lan:5599/postgres");
        assert_eq!(server(None, None, None), Ok(("localhost".to_owned(), 5432)));
        assert_eq!(server(None, None, url), Ok(("db.lan".to_owned(), 5599)));
        assert_eq!(server(Some("other".into()), Some(5599), url), Ok(("other".to_owned(), 5599)));
        let two = server(None, Some(5598), url).unwrap_err();
        assert!(two.contains("db.lan:5599") && two.contains("5598"), "{two}");
    }

    #[test]
    fn passwords_are_long_and_need_no_encoding() {
        let (one, other) = (made().unwrap(), made().unwrap());
        assert!(one.len() >= 24 && one != other && one.bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
