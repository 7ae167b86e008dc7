//! Codes, sessions and tokens: good for whom, how often, until when.

use std::os::unix::fs::PermissionsExt;

use harness::home::{Home, fixture};
use harness::watch::block_on;
use helm_client::{Access, Reason};
use helm_proto::v1::identify_request::Secret;
use helm_proto::v1::{CreateTokenRequest, IdentifyRequest, IdentifyResponse};
use serde_json::{Value, json};

use super::{access, acting, denied, principal, refused, web};

fn started() -> Home {
    let home = Home::new(&json!({
        "a": {"command": fixture("chatty", "rate=5")},
        "b": {"command": fixture("chatty", "rate=5")},
    }));
    home.ctl(&["daemon", "start"]).code(0);
    home
}

fn shown(secret: Secret, uid: Option<u32>) -> IdentifyRequest {
    IdentifyRequest { secret: Some(secret), uid, agent: "Firefox 140 on Linux".into(), look_only: false }
}

fn own_uid() -> u32 {
    rustix::process::getuid().as_raw()
}

fn code_of(home: &Home) -> String {
    let said = home.ctl(&["dashboard", "--json"]).code(0).json();
    let link = said["link"].as_str().unwrap().to_owned();
    link.strip_prefix("http://127.0.0.1:5004/sign-in?code=").unwrap().to_owned()
}

async fn who(access: &mut Access, secret: Secret, uid: Option<u32>) -> Result<IdentifyResponse, String> {
    match access.identify(shown(secret, uid)).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            let (reason, message) = refused::<()>(Err(error));
            assert_eq!(reason, Reason::Unauthenticated, "{message}");
            Err(message)
        }
    }
}

#[test]
fn a_link_works_once_and_for_its_own_user() {
    let home = started();
    let (code, other) = (code_of(&home), code_of(&home));
    assert_eq!(code.len(), 64);
    block_on(async {
        let mut access = access(&web(&home).await).await;
        let session = who(&mut access, Secret::Code(code.clone()), Some(own_uid())).await.unwrap();
        let principal = session.principal.unwrap();
        assert_eq!((principal.via.as_str(), principal.role.as_str()), ("session", "admin"));
        assert_eq!(principal.subject, format!("uid:{}", own_uid()));
        assert!(!session.session.is_empty() && session.session != code);
        let again = who(&mut access, Secret::Code(code), Some(own_uid())).await;
        assert!(again.unwrap_err().contains("works once"));
        // Whoever else shows one uses it up: it has been seen.
        let foreign = who(&mut access, Secret::Code(other.clone()), Some(own_uid() + 1)).await;
        assert!(foreign.unwrap_err().contains("another user"));
        assert!(who(&mut access, Secret::Code(other), Some(own_uid())).await.is_err());
        // The cookie is good for the same user, and nobody whose uid is not known.
        let cookie = session.session;
        assert!(who(&mut access, Secret::Session(cookie.clone()), Some(own_uid())).await.is_ok());
        for uid in [Some(own_uid() + 1), None] {
            assert!(who(&mut access, Secret::Session(cookie.clone()), uid).await.is_err());
        }
        for garbage in ["", "helm_", &"0".repeat(64)] {
            assert!(who(&mut access, Secret::Session(garbage.into()), Some(own_uid())).await.is_err());
            assert!(who(&mut access, Secret::Token(garbage.into()), Some(own_uid())).await.is_err());
            assert!(who(&mut access, Secret::Code(garbage.into()), Some(own_uid())).await.is_err());
        }
    });
}

#[test]
fn a_session_is_listed_ended_and_outlives_helmd() {
    let home = started();
    let code = code_of(&home);
    let cookie = block_on(async {
        let mut access = access(&web(&home).await).await;
        who(&mut access, Secret::Code(code), Some(own_uid())).await.unwrap().session
    });
    home.ctl(&["daemon", "reexec"]).code(0);
    home.kill_helmd();
    home.ctl(&["daemon", "start"]).code(0);
    let is_good = || {
        block_on(async {
            let mut access = access(&web(&home).await).await;
            who(&mut access, Secret::Session(cookie.clone()), Some(own_uid())).await.is_ok()
        })
    };
    assert!(is_good());
    let listed = home.ctl(&["session", "list", "--json"]).code(0).json();
    assert_eq!(listed[0]["agent"], "Firefox 140 on Linux");
    let id = listed[0]["id"].as_str().unwrap();
    home.ctl(&["session", "end", id]).code(0).says("is over");
    assert!(!is_good());
    home.ctl(&["session", "end", id]).code(4);
    let mode = std::fs::metadata(home.path("instance/access.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_token_is_told_once_narrowed_and_revoked() {
    let home = started();
    let words =
        ["token", "create", "CI", "--role", "technician", "--service", "a", "--expires", "30d", "--json"];
    let made = home.ctl(&words).code(0).json();
    let (secret, id) = (made["secret"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert!(secret.starts_with("helm_") && secret.len() == 69, "{secret}");
    assert!(!home.read("instance/access.json").contains(secret));
    assert!(!home.ctl(&["token", "list"]).code(0).says("technician").out.contains(secret));
    block_on(async {
        let mut access = access(&web(&home).await).await;
        let answer = who(&mut access, Secret::Token(secret.into()), None).await.unwrap();
        let named = answer.principal.unwrap();
        assert_eq!(
            (named.via.as_str(), named.subject.as_str(), &named.services[..]),
            ("token", id, &["a".to_owned()][..])
        );
        assert!(answer.expires_at.is_some());
        // Whatever is said of it, helmd knows what it is good for.
        let boasting =
            helm_proto::v1::Principal { role: "admin".into(), services: Vec::new(), ..named.clone() };
        let mut client = acting(&home, &boasting).await;
        let seen = client.status(Vec::new()).await.unwrap().services;
        assert_eq!(seen.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a"]);
        denied(client.check_config().await);
        home.ctl(&["token", "revoke", id]).code(0).says("is revoked");
        assert!(who(&mut access, Secret::Token(secret.into()), None).await.is_err());
        assert_eq!(refused(client.status(Vec::new()).await).0, Reason::Unauthenticated);
    });
    home.ctl(&["token", "revoke", id]).code(4);
    assert_eq!(home.ctl(&["token", "list", "--json"]).code(0).json(), json!([]));
}

#[test]
fn a_token_that_cannot_be_is_not_made() {
    let home = started();
    home.ctl(&["token", "create", "x"]).code(2);
    home.ctl(&["token", "create", "x", "--ingest", "--metrics"]).code(2);
    home.ctl(&["token", "create", "x", "--role", "king"]).code(2);
    home.ctl(&["token", "create", "", "--role", "admin"]).code(2).says("needs a name");
    home.ctl(&["token", "create", "x", "--role", "client", "--service", "aa"])
        .code(4)
        .says("did you mean `a`?");
    home.ctl(&["token", "create", "x", "--ingest", "--service", "Not A Name"]).code(2);
    home.ctl(&["token", "create", "x", "--ingest", "--service", "elsewhere"]).code(0);
    block_on(async {
        let mut access = access(&acting(&home, &principal("session", "admin")).await).await;
        let odd = CreateTokenRequest {
            name: "x".into(),
            role: "admin".into(),
            purpose: "ingest".into(),
            ..Default::default()
        };
        assert_eq!(refused(access.create_token(odd).await).0, Reason::BadRequest);
        let made = CreateTokenRequest { name: "web".into(), role: "billing".into(), ..Default::default() };
        let token = access.create_token(made).await.unwrap().token.unwrap();
        assert!(
            token
                .created_by
                .starts_with("Ada (session 5f3c) from 127.0.0.1 uid 1000, request req-7, through uid"),
            "{}",
            token.created_by
        );
    });
    let listed: Value = home.ctl(&["token", "list", "--json"]).code(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}
