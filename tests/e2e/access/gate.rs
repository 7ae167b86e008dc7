//! What passes at web.sock, method by method.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use harness::bins::{bin, root};
use harness::home::{Home, Said, fixture};
use harness::wait::until;
use harness::watch::block_on;
use helm_client::Client;
use helm_proto::access::encode;
use helm_proto::v1::{CreateTokenRequest, Principal};
use serde_json::{Value, json};

use super::{access, acting, denied, principal, refused, service, web};

const ROLES: &str = "[roles]\ntechnician.operate = a\nbilling = a\nclient = a\n";

fn started() -> Home {
    let home = Home::new(&json!({
        "a": {"command": fixture("chatty", "rate=5")},
        "b": {"command": fixture("chatty", "rate=5")},
    }));
    home.write("instance/helm.conf", ROLES);
    home.ctl(&["up"]).code(0);
    home
}

/// Calls methods with an empty message, as these principals: method and status each.
fn call(home: &Home, socket: &str, principals: &[&Principal], methods: &[String]) -> Vec<(String, String)> {
    let named: Vec<String> = principals
        .iter()
        .map(|one| String::from_utf8(encode(one).as_encoded_bytes().to_vec()).unwrap())
        .collect();
    let output = Command::new(bin("stranger"))
        .arg(home.path(&format!("instance/run/{socket}")))
        .args(methods)
        .env("PRINCIPAL", named.join(","))
        .output()
        .unwrap();
    let said = Said::of(&output).code(0);
    let pairs = said.out.lines().map(|line| line.split_once(' ').unwrap());
    pairs.map(|(method, status)| (method.to_owned(), status.to_owned())).collect()
}

/// PERMISSION_DENIED, UNAUTHENTICATED
fn is_refused(status: &str) -> bool {
    matches!(status, "7" | "16")
}

fn all_methods() -> Vec<String> {
    let mut all = helm_proto::methods();
    all.push("/grpc.health.v1.Health/Check".into());
    all.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".into());
    all.push("/helm.v1.Helm/Everything".into());
    all
}

#[test]
fn without_a_principal_nothing_passes_but_what_needs_none() {
    let home = started();
    let open: Vec<String> = call(&home, "web.sock", &[], &all_methods())
        .into_iter()
        .filter(|(_, status)| !is_refused(status))
        .map(|(method, _)| method)
        .collect();
    assert_eq!(
        open,
        [
            "/helm.v1.Access/Identify",
            "/helm.v1.Access/Note",
            "/helm.v1.Access/WebSettings",
            "/grpc.health.v1.Health/Check"
        ]
    );
}

#[test]
fn what_is_no_principal_is_refused() {
    let home = started();
    let status = ["/helm.v1.Helm/Status".to_owned()];
    let admin = principal("user", "admin");
    let two = call(&home, "web.sock", &[&admin, &admin], &status);
    assert!(is_refused(&two[0].1), "two at once: {two:?}");
    for odd in [
        principal("owner", "admin"),
        principal("", "admin"),
        Principal { purpose: "all".into(), ..principal("token", "admin") },
        Principal { subject: "Core!".into(), ..principal("service", "") },
        // A token that helmd never gave.
        principal("token", "admin"),
    ] {
        let answer = call(&home, "web.sock", &[&odd], &status);
        assert!(is_refused(&answer[0].1), "{odd:?}: {answer:?}");
    }
    // An unknown level is a client: it sees what is listed for clients.
    block_on(async {
        let mut client = acting(&home, &principal("user", "superuser")).await;
        let seen = client.status(Vec::new()).await.unwrap().services;
        assert_eq!(seen.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a"]);
    });
}

#[test]
fn on_helmds_own_socket_nobody_can_be_named() {
    let home = started();
    let client = principal("user", "client");
    let answers = call(&home, "helmd.sock", &[&client], &["/helm.v1.Helm/CheckConfig".into()]);
    assert_eq!(answers[0].1, "begun", "the peer is everything, whoever is named");
    let web_only = ["/helm.v1.Access/Identify".to_owned(), "/helm.v1.Access/Note".into()];
    for (method, status) in call(&home, "helmd.sock", &[&principal("session", "admin")], &web_only) {
        assert!(is_refused(&status), "{method}: {status}");
    }
}

/// The columns of the table in docs/access.md.
fn columns(home: &Home) -> Vec<(&'static str, Principal)> {
    let token = |name: &str, purpose: &str| {
        let (name, purpose) = (name.to_owned(), purpose.to_owned());
        block_on(async {
            let mut access = access(&home.client().await.unwrap()).await;
            let request = CreateTokenRequest { name, purpose, ..Default::default() };
            let id = access.create_token(request).await.unwrap().token.unwrap().id;
            // What it is good for is known to helmd alone.
            Principal { subject: id, ..principal("token", "admin") }
        })
    };
    vec![
        ("session", principal("session", "admin")),
        ("admin", principal("user", "admin")),
        ("technician", principal("user", "technician")),
        ("billing", principal("user", "billing")),
        ("client", principal("user", "client")),
        ("service", service("a")),
        ("direct", principal("direct", "")),
        ("ingest", token("sends", "ingest")),
        ("metrics", token("reads", "metrics")),
        ("web", principal("web", "")),
    ]
}

#[test]
fn every_method_by_everybody_is_as_documented() {
    let home = started();
    let columns = columns(&home);
    let methods = helm_proto::methods();
    let answers: Vec<Vec<(String, String)>> =
        columns.iter().map(|(_, who)| call(&home, "web.sock", &[who], &methods)).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut table = format!("| method | {} |\n|{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for (row, method) in methods.iter().enumerate() {
        let cells: Vec<&str> =
            answers.iter().map(|column| if is_refused(&column[row].1) { "" } else { "yes" }).collect();
        let _ = writeln!(table, "| `{}` | {} |", method.trim_start_matches("/helm.v1."), cells.join(" | "));
    }
    let path = root().join("docs/access.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- methods -->\n").expect("a place for the table");
    let (written, after) = rest.split_once("<!-- /methods -->").expect("its end");
    if std::env::var_os("HELM_WRITE_TABLES").is_some() {
        std::fs::write(&path, format!("{before}<!-- methods -->\n{table}<!-- /methods -->{after}")).unwrap();
        return;
    }
    assert_eq!(written, table, "docs/access.md; HELM_WRITE_TABLES=1 writes it anew, to be looked at");
}

#[test]
fn what_is_for_helmds_own_socket_is_for_no_admin() {
    let home = started();
    block_on(async {
        let mut admin = acting(&home, &principal("session", "admin")).await;
        let secrets =
            helm_proto::v1::LaunchRequest { name: "a".into(), show_secrets: true, ..Default::default() };
        assert!(denied(admin.launch(secrets).await).contains("own user and root"));
        assert!(
            admin
                .launch(helm_proto::v1::LaunchRequest { name: "a".into(), ..Default::default() })
                .await
                .is_ok()
        );
        let signal = helm_proto::v1::SignalRequest { name: "a".into(), signal: "TERM".into() };
        assert!(denied(admin.signal(signal).await).contains("not for this socket"));
        denied(admin.shutdown().await);
        denied(admin.reexec().await);
        denied(access(&admin).await.sign_in_code().await);
        // Made in a local session only, whoever else may list them.
        let mut access = access(&acting(&home, &principal("user", "admin")).await).await;
        assert!(access.tokens().await.is_ok());
        let request = CreateTokenRequest { name: "x".into(), role: "client".into(), ..Default::default() };
        assert!(denied(access.create_token(request).await).contains("local session"));
    });
}

#[test]
fn web_sock_is_private_and_lives_on_over_lives_and_programs() {
    let home = started();
    let path = home.path("instance/run/web.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let lock: Value = serde_json::from_str(&home.read("instance/helmd.lock")).unwrap();
    assert_eq!(lock["web"], json!(path));
    let admin = principal("session", "admin");
    let answers = || {
        block_on(async {
            match Client::web(&helm_client::Home::find(Some(home.dir())).unwrap()).await {
                Ok(client) => client.acting(&admin).info().await.is_ok(),
                Err(_) => false,
            }
        })
    };
    assert!(answers());
    let inode = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let before = inode();
    home.ctl(&["daemon", "reexec"]).code(0);
    until("it answers", answers);
    assert_eq!(inode(), before, "it was handed over");
    home.write("instance/helm.conf", "[roles]\nclient = b\n");
    home.ctl(&["reload"]).code(0);
    until("it answers", answers);
    assert_eq!(inode(), before, "a reload leaves it alone");
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    until("it answers", answers);
}

#[test]
fn settings_and_roles_are_in_force_with_a_reload() {
    let home = started();
    block_on(async {
        let settings = access(&web(&home).await).await.web_settings().await.unwrap();
        assert!(settings.open_ingest && settings.prefixes == ["/helm"] && settings.allowed_hosts.is_empty());
        assert_eq!(settings.uid, rustix::process::getuid().as_raw());
        let client = principal("user", "client");
        let before = access(&acting(&home, &client).await).await.permissions().await.unwrap();
        home.write(
            "instance/helm.conf",
            "[roles]\nclient = b\n[web]\nallowed_hosts = Helm.example\nopen_ingest = no\n",
        );
        home.ctl(&["reload"]).code(0);
        let settings = access(&web(&home).await).await.web_settings().await.unwrap();
        assert!(!settings.open_ingest && settings.allowed_hosts == ["helm.example"]);
        let after = access(&acting(&home, &client).await).await.permissions().await.unwrap();
        assert_ne!(before.revision, after.revision);
        let named = |answer: &helm_proto::v1::PermissionsResponse| {
            answer.permissions.iter().find(|p| p.action == "services").unwrap().services.clone()
        };
        assert_eq!((named(&before), named(&after)), (vec!["a".to_owned()], vec!["b".to_owned()]));
        let mut direct = helm_client::Logs::of(&acting(&home, &principal("direct", "")).await).await.unwrap();
        let answer =
            direct.append(helm_proto::v1::AppendRequest { service: "a".into(), ..Default::default() }).await;
        assert!(refused(answer).1.contains("open_ingest"));
    });
}
