//! Two helmds on one PostgreSQL: chains, cursors and proofs of their own, and each sees what the other wrote.

use harness::home::{Home, fixture};
use harness::postgres::Cluster;
use harness::wait::eventually;
use serde_json::{Value, json};

fn home(cluster: &Cluster, service: &str) -> Home {
    let home =
        Home::new(&json!({service: {"command": fixture("chatty", "streams=stdout rate=0 count=300")}}));
    home.write("admin", &format!("postgresql://postgres:postgres@127.0.0.1:{}/postgres\n", cluster.port));
    home.write("secret", "secret\n");
    let (admin, secret) =
        (home.path("admin").display().to_string(), home.path("secret").display().to_string());
    let port = cluster.port.to_string();
    let words = [
        "db",
        "init",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--admin-url-file",
        &admin,
        "--password-file",
        &secret,
    ];
    home.ctl(&words).code(0);
    home
}

fn lines(home: &Home, words: &[&str], count: usize) -> Vec<Value> {
    let words: Vec<&str> = ["--json", "logs", "-n", "1000"].iter().chain(words).copied().collect();
    eventually("lines are seen", || {
        let said = home.ctl(&words);
        let found: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if found.len() == count { Ok(found) } else { Err(format!("{}{}", found.len(), said.err)) }
    })
}

fn status(home: &Home) -> Value {
    home.ctl(&["--json", "db", "status"]).code(0).json()
}

#[test]
fn two_helmds_share_a_database_and_each_proves_and_goes_on_by_itself() {
    let cluster = Cluster::start("scram-sha-256");
    let (one, two) = (home(&cluster, "one"), home(&cluster, "two"));
    one.ctl(&["up"]).code(0);
    lines(&one, &["one"], 300);
    two.ctl(&["up"]).code(0);
    lines(&two, &["two"], 300);
    // What was there before, and what comes later, without a restart.
    lines(&two, &["one"], 300);
    let seen = lines(&one, &["two"], 300);
    let (own, other) =
        (status(&one)["instance"].as_i64().unwrap(), status(&two)["instance"].as_i64().unwrap());
    assert_ne!(own, other);
    assert!(seen.iter().all(|line| line["id"].as_i64().unwrap() >> 44 == other), "ids say whose they are");

    let hosts = status(&one)["hosts"].as_array().unwrap().clone();
    assert_eq!(hosts.len(), 2, "{hosts:#?}");
    for (home, instance) in [(&one, own), (&two, other)] {
        let path = home.dir().display().to_string();
        let named = hosts.iter().find(|host| host["home"] == path).expect("its home is named");
        assert_eq!(named["instance"], instance);
        let reader = if instance == own { &two } else { &one };
        reader.ctl(&["db", "status"]).code(0).says(&format!("shared    {instance} on ")).says(&path);
        // By home and by number.
        for host in [path.as_str(), &instance.to_string()] {
            let name = if instance == own { "one" } else { "two" };
            lines(&one, &["--host", host, "one", "two"], 300);
            assert!(
                lines(&two, &["--host", host, "one", "two"], 300).iter().all(|line| line["service"] == name)
            );
        }
    }
    one.ctl(&["logs", "--host", "nowhere"]).code(2).says("no helmd of `nowhere`");

    // Each goes on where it stood itself, and proves all.
    one.kill_helmd();
    one.ctl(&["daemon", "start"]).code(0);
    one.ctl(&["restart", "one"]).code(0);
    lines(&one, &["one"], 600);
    lines(&two, &["one"], 600);
    let proved = two.ctl(&["--json", "logs", "verify"]).code(0).json();
    let ends: Vec<&str> =
        proved["anchors"].as_array().unwrap().iter().map(|end| end.as_str().unwrap()).collect();
    for instance in [own, other] {
        assert!(ends.iter().any(|end| end.starts_with(&format!("{instance}/default/"))), "{ends:?}");
    }

    // What is done to the one's is found by the other, and named as the one's.
    let sql = |statement: &str| cluster.sql("postgres", "postgres", "helm_db", statement).code(0).out;
    let table = format!("entry_{own}_0");
    sql(&format!(
        "ALTER TABLE {table} DISABLE TRIGGER ALL; DELETE FROM {table} WHERE id = (SELECT max(id) FROM {table})"
    ));
    one.ctl(&["daemon", "stop"]).code(0);
    let fault = &two.ctl(&["--json", "logs", "verify"]).code(1).json()["faults"][0];
    assert_eq!(
        (fault["instance"].as_i64(), fault["partition"].as_str()),
        (Some(own), Some(format!("{own}.0").as_str()))
    );
}
