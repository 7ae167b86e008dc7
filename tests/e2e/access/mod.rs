//! Who may do what, over the real helmd and its sockets.

mod audit;
mod filters;
mod gate;
mod jobs;
mod sign_in;

use harness::home::Home;
use helm_client::{Access, Client, ClientError, Reason};
use helm_proto::v1::Principal;

/// Somebody of a kind.
fn principal(via: &str, role: &str) -> Principal {
    Principal {
        subject: "5f3c".into(),
        name: "Ada".into(),
        role: role.into(),
        via: via.into(),
        request_id: "req-7".into(),
        from: "127.0.0.1 uid 1000".into(),
        ..Principal::default()
    }
}

/// Of Core's service token.
fn service(calling: &str) -> Principal {
    Principal { subject: calling.into(), name: calling.into(), ..principal("service", "") }
}

/// web.sock, and nobody named.
async fn web(home: &Home) -> Client {
    Client::web(&helm_client::Home::find(Some(home.dir())).unwrap()).await.unwrap()
}

/// web.sock, for somebody.
async fn acting(home: &Home, principal: &Principal) -> Client {
    web(home).await.acting(principal)
}

async fn access(client: &Client) -> Access {
    Access::of(client).await.unwrap()
}

/// What kind of refusal it is, and its words.
#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> (Reason, String) {
    match answer {
        Err(ClientError::Refused { reason, message }) => (reason, message),
        other => panic!("not refused: {other:?}"),
    }
}

/// Refused because of who asks; the words.
#[track_caller]
fn denied<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    let (reason, message) = refused(answer);
    assert_eq!(reason, Reason::Denied, "{message}");
    message
}
