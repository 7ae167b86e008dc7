//! PostgreSQL: connection, role, password, database.

use std::os::unix::fs::chown;
use std::process::Command;

use harness::home::{Home, Said, free_port};
use harness::postgres::Cluster;

use super::site::{STRANGER, give, mode, site};
use super::{found, heals, mend, only, shows};

fn configure(home: &Home, text: &str) {
    home.write("instance/helm.conf", text);
    mode(&home.path("instance/helm.conf"), 0o600);
}

fn connect(home: &Home, url: &str) {
    configure(home, &format!("[database]\nconnection_string = {url}\n"));
}

/// A database that helmd may use, in a server that asks for passwords.
fn prepared(cluster: &Cluster) -> Home {
    let home = site();
    home.write("admin", &format!("postgresql://postgres:postgres@127.0.0.1:{}/postgres\n", cluster.port));
    home.write("secret", "se%cret\n");
    let (admin, secret) = (home.path("admin"), home.path("secret"));
    let words =
        ["db", "init", "--host", "127.0.0.1", "--admin-url-file", admin.to_str().unwrap(), "--password-file"];
    home.ctl(&[&words[..], &[secret.to_str().unwrap()]].concat()).code(0);
    home
}

#[test]
fn half_a_configuration() {
    let home = site();
    configure(&home, "[database_credentials]\ndb_host = localhost\ndb_dbname = helm_db\n");
    let fault = only(&home, "database-not-configured");
    shows(&fault, "without connection_string");
    assert!(mend(&fault).ends_with("db init"), "{fault:#}");
}

#[test]
fn a_percent_sign_in_the_password() {
    let home = site();
    connect(&home, "postgresql://helm_user:50%off@127.0.0.1:5432/helm_db");
    let fault = only(&home, "percent-sign");
    shows(&fault, "in a password % is written %25");
    assert!(!format!("{fault}").contains("50%off"), "{fault:#}");
    assert!(mend(&fault).ends_with("db init --host 127.0.0.1 --password-file FILE"), "{fault:#}");
}

#[test]
fn a_string_that_is_none() {
    let home = site();
    connect(&home, "mysql://helm_user:secret@127.0.0.1/helm_db");
    let fault = only(&home, "connection-string");
    shows(&fault, "begins with postgresql://");
    assert!(!format!("{fault}").contains("secret"), "{fault:#}");
}

#[test]
fn a_server_that_is_not_there() {
    let home = site();
    let port = free_port();
    connect(&home, &format!("postgresql://helm_user:secret@127.0.0.1:{port}/helm_db"));
    let fault = only(&home, "database-away");
    shows(&fault, &format!("127.0.0.1:{port}: Connection refused"));
    assert_eq!(mend(&fault), "pg_lsclusters", "not the usual one: {fault:#}");
}

#[test]
fn files_of_sqlite_that_helmd_may_not_use() {
    let home = site();
    let partition = home.path("instance/store/log/00000099-default.db");
    home.write("instance/store/main.db", "");
    home.write("instance/store/log/00000099-default.db", "");
    give(home.dir(), STRANGER);
    mode(home.dir(), 0o755);
    // A helmd that root started made it.
    chown(&partition, Some(0), Some(0)).unwrap();
    mode(&partition, 0o600);
    let inner = home.helmctl(&["doctor", "--json"]);
    let mut outer = Command::new("setpriv");
    let user = STRANGER.to_string();
    outer.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(inner.get_program());
    outer.args(inner.get_args()).current_dir("/").env("XDG_CONFIG_HOME", home.path("config"));
    let said = Said::of(&outer.output().unwrap()).code(1);
    let fault = said.json()["findings"][0].clone();
    assert_eq!(fault["id"], "database-rights", "{}", said.out);
    let mended = format!("sudo chown -R {user} {}", home.path("instance/store").display());
    assert_eq!(mend(&fault), mended);
}

#[test]
fn a_wrong_password_and_one_that_is_right_again() {
    let cluster = Cluster::start("scram-sha-256");
    let home = prepared(&cluster);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    cluster.sql("postgres", "postgres", "postgres", "ALTER ROLE helm_user PASSWORD 'another'").code(0);
    let fault = only(&home, "database-password");
    shows(&fault, "password authentication failed for user \"helm_user\"");
    let words = format!("db init --host 127.0.0.1 --port {} --password-file FILE", cluster.port);
    assert!(mend(&fault).ends_with(&words), "{fault:#}");
    // The operator has the new one in a file. Which server is meant, helm.conf says.
    home.write("new", "another\n");
    let file = home.path("new").display().to_string();
    home.ctl(&["db", "init", "--password-file", &file]).code(0);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    cluster.sql("postgres", "postgres", "postgres", "ALTER ROLE helm_user PASSWORD 'a third'").code(0);
    home.write("new", "a third\n");
    let mut filled = fault.clone();
    filled["mend"] = mend(&fault).replace("FILE", home.path("new").to_str().unwrap()).into();
    heals(&home, &filled);
}

#[test]
fn tables_that_are_not_helmds_to_use_or_not_of_its_time() {
    let cluster = Cluster::start("scram-sha-256");
    let home = prepared(&cluster);
    let sql = |statement: &str| drop(cluster.sql("postgres", "postgres", "helm_db", statement).code(0));
    sql("REVOKE ALL ON helm_version FROM helm_user");
    let fault = only(&home, "database-rights");
    shows(&fault, "permission denied for");
    assert!(mend(&fault).contains("db init --host 127.0.0.1 --port "), "{fault:#}");
    sql("GRANT SELECT ON helm_version TO helm_user");
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
    sql("INSERT INTO helm_version (version, name) VALUES (9999, 'of tomorrow')");
    shows(&only(&home, "database-fault"), "install the newer helmd");
    sql("DELETE FROM helm_version WHERE version > 1");
    shows(&only(&home, "database-schema"), "the schema has version 1, this Helm needs ");
}

#[test]
fn no_such_role_and_no_such_database() {
    let cluster = Cluster::start("trust");
    let home = site();
    connect(&home, &format!("postgresql://nobody:x@127.0.0.1:{}/helm_db", cluster.port));
    shows(&only(&home, "database-role"), "role \"nobody\" does not exist");
    connect(&home, &format!("postgresql://postgres:x@127.0.0.1:{}/helm_db", cluster.port));
    shows(&only(&home, "database-missing"), "database \"helm_db\" does not exist");
    cluster.sql("postgres", "postgres", "postgres", "CREATE DATABASE helm_db").code(0);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}

#[test]
fn a_log_that_nothing_protects() {
    let cluster = Cluster::start("scram-sha-256");
    let home = prepared(&cluster);
    home.ctl(&["daemon", "start"]).code(0);
    harness::wait::until("the schema is there", || {
        home.ctl(&["db", "check"]).out.contains("protected by: roles")
    });
    let disable = "DO $$ DECLARE t record; BEGIN FOR t IN SELECT c.oid::regclass AS name FROM pg_class c \
        JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal AND c.relkind IN ('r', 'p') LOOP \
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', t.name); END LOOP; END $$";
    // helmd works with these tables meanwhile: one of both has to give way.
    harness::wait::until("they are off", || {
        cluster.sql("postgres", "postgres", "helm_db", disable).code == 0
    });
    shows(&only(&home, "log-unprotected"), "triggers that refuse UPDATE and DELETE are gone");
}

#[test]
fn a_server_that_went_away_while_helmd_writes() {
    let mut cluster = Cluster::start("scram-sha-256");
    let home = prepared(&cluster);
    home.ctl(&["daemon", "start"]).code(0);
    let open = || home.ctl(&["db", "status", "--json"]).json()["available"] == true;
    harness::wait::until("the store is open", open);
    cluster.order("kill");
    // That helmd cannot write either is no second finding.
    only(&home, "database-away");
    cluster.order("start");
    harness::wait::until("the store is open again", open);
    assert_eq!(found(&home), Vec::<serde_json::Value>::new());
}
