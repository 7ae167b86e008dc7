//! A credential that counts while an answer goes on: looked at again and again, as it was when the answer began.

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use helm_client::ClientError;
use helm_proto::v1::Principal;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Caller, Who, now};
use crate::app::App;
use crate::live::rights::Rights;
use crate::problem::Problem;
use crate::serve::Client;

/// Between two looks at whether the credential still counts, and what it is good for.
/// What Core said holds for 10 s: with the last word to the client it is over within 20 s of a revocation.
pub const LOOK_EVERY: Duration = Duration::from_secs(6);
/// A look may take so long; who was asked then is as good as away.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

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

    /// Looks again and again; why the answer is to end, once it is.
    pub async fn until_over(&self) -> String {
        loop {
            let left = self.left().unwrap_or(LOOK_EVERY);
            // A local session that is used elsewhere goes on: its end is no reason to look without rest.
            let rest = if left.is_zero() { LOOK_EVERY } else { left.min(LOOK_EVERY) };
            sleep_until(Instant::now() + rest).await;
            if let Some(why) = self.over().await {
                return why;
            }
        }
    }

    /// Until the credential's end, as it was said when the answer began; `None`: it has none.
    fn left(&self) -> Option<Duration> {
        self.caller.expires.map(|end| Duration::from_secs(end.saturating_sub(now()).max(0).unsigned_abs()))
    }

    /// Why the answer is to end; `None`: the credential counts, for the same principal, who has the same rights.
    pub async fn over(&self) -> Option<String> {
        let expired = || Some("the credential has expired: sign in again".to_owned());
        let is_late = self.left().is_some_and(|left| left.is_zero());
        // When a local session ends, its use decides: that is asked for.
        if is_late && !self.caller.is_session() {
            return expired();
        }
        match timeout(LOOK_WITHIN, self.look()).await {
            Ok(Look::Counts) => None,
            Ok(Look::Over(why)) => Some(why),
            // What was known holds, until it expires.
            Ok(Look::Away) | Err(_) => is_late.then(expired).flatten(),
        }
    }

    async fn look(&self) -> Look {
        let id = &self.caller.principal.request_id;
        match self.app.authority.who_still(&self.headers, &self.client, id).await {
            Who::Known(caller) if is_same(&caller.principal, &self.caller.principal) => {}
            Who::Refused(problem) if is_away(&problem) => return Look::Away,
            Who::Known(_) => {
                return Look::Over("the role of this credential has changed: connect again".to_owned());
            }
            Who::Refused(problem) => return Look::Over(problem.detail().to_owned()),
            Who::Direct(_) | Who::Nobody => {
                return Look::Over("the session was ended: sign in again".to_owned());
            }
        }
        match rights(&self.app, &self.caller.principal).await {
            Ok(rights) if rights == self.rights => Look::Counts,
            Ok(_) => Look::Over("what this credential may has changed: connect again".to_owned()),
            Err(error) => match Problem::from(error) {
                problem if problem.status().is_server_error() => Look::Away,
                problem => Look::Over(problem.detail().to_owned()),
            },
        }
    }
}

enum Look {
    Counts,
    Over(String),
    /// helmd or Core is.
    Away,
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
