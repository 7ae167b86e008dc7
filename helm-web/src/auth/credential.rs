//! A credential that counts while an answer goes on: looked at again and again, as it was when the answer began.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use helm_client::ClientError;
use helm_proto::v1::Principal;

use super::{Caller, Who, now};
use crate::app::App;
use crate::live::rights::Rights;
use crate::problem::Problem;
use crate::serve::Client;

/// Between two looks at whether the credential still counts, and what it is good for.
pub const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Whose answer it is, and by what.
#[derive(Debug)]
pub struct Credential {
    /// The program.
    pub app: App,
    /// For whom.
    pub caller: Caller,
    /// What that may see.
    pub rights: Rights,
    headers: HeaderMap,
    client: Client,
}

impl Credential {
    /// Of this caller, whose request had these headers and came by this connection.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn of(
        app: &App,
        caller: Caller,
        headers: HeaderMap,
        client: Client,
    ) -> Result<Self, ClientError> {
        let rights = rights(app, &caller.principal).await?;
        Ok(Self { app: app.clone(), caller, rights, headers, client })
    }

    /// Why the answer is to end; `None`: the credential counts, for the same principal, who has the same rights.
    pub async fn over(&self) -> Option<String> {
        if self.caller.expires.is_some_and(|end| end <= now()) {
            return Some("the credential has expired: sign in again".to_owned());
        }
        let id = &self.caller.principal.request_id;
        match self.app.authority.who(&self.headers, &self.client, id).await {
            Who::Known(caller) if is_same(&caller.principal, &self.caller.principal) => {}
            // helmd or Core is away: what was known holds, until it expires.
            Who::Refused(problem) if is_away(&problem) => return None,
            Who::Known(_) => {
                return Some("the role of this credential has changed: connect again".to_owned());
            }
            Who::Refused(problem) => return Some(problem.detail().to_owned()),
            Who::Direct(_) | Who::Nobody => return Some("the session was ended: sign in again".to_owned()),
        }
        match rights(&self.app, &self.caller.principal).await {
            Ok(rights) if rights != self.rights => {
                Some("what this credential may has changed: connect again".to_owned())
            }
            _ => None,
        }
    }
}

fn is_away(problem: &Problem) -> bool {
    problem.status() == StatusCode::SERVICE_UNAVAILABLE
}

/// What a principal may see.
///
/// # Errors
/// helmd is away.
pub async fn rights(app: &App, whom: &Principal) -> Result<Rights, ClientError> {
    Ok(app.backend.access(whom).await?.permissions().await?.into())
}

fn is_same(one: &Principal, other: &Principal) -> bool {
    let who = |principal: &Principal| {
        (principal.subject.clone(), principal.role.clone(), principal.via.clone(), principal.services.clone())
    };
    who(one) == who(other)
}
