//! Looking for what is wrong: helmd's own program looks, so that it can be done where no helmd runs; what a running helmd
//! says of itself is asked here, and told to it.

use std::time::Duration;

use helm_core::doctor::{Brief, Daemon, Fix, Line, Told, ToldService};
use helm_core::name::ServiceName;
use helm_core::status::{Health, State};
use helm_core::time::Wall;
use helm_proto::Timestamp;
use helm_proto::v1;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};
use tokio::time::{interval, timeout};

use crate::connect::Client;
use crate::error::ClientError;
use crate::home::{Home, Presence};
use crate::store::Store;
use crate::tool::Tool;

/// A helmd that says nothing of itself for this long is stuck; it answers from memory.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// A store is open by then, or something is wrong.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks the helmd of this home, if there is one.
///
/// # Errors
/// It does not answer us: the home is another user's.
pub async fn daemon(home: &Home) -> Result<Daemon, ClientError> {
    let silent = |why: String| {
        let pid = match home.presence() {
            Ok(Presence::Running(Some(info))) => info.pid,
            Ok(Presence::Running(None) | Presence::Absent) | Err(_) => 0,
        };
        Daemon::Silent { pid, why }
    };
    let mut last = None;
    // One that is on its way up, or down, is waited for.
    let settled = async {
        let mut look = interval(LOOK_EVERY);
        loop {
            look.tick().await;
            match told(home).await {
                Ok(told) => return Ok(Daemon::Answers(told)),
                Err(ClientError::NotRunning { .. }) => return Ok(Daemon::Absent),
                Err(e @ (ClientError::Denied { .. } | ClientError::Home(_))) => return Err(e),
                Err(e) => last = Some(e.to_string()),
            }
        }
    };
    match timeout(ANSWERS_WITHIN, settled).await {
        Ok(daemon) => daemon,
        Err(_) => {
            Ok(silent(last.unwrap_or_else(|| format!("no answer within {} s", ANSWERS_WITHIN.as_secs()))))
        }
    }
}

async fn told(home: &Home) -> Result<Told, ClientError> {
    let mut client = Client::of(home).await?;
    let services = client.status(Vec::new()).await?.services.into_iter().filter_map(service).collect();
    Ok(Told { services, store: store(&client).await })
}

/// Why the log is not written, if it is not: a store that is being opened will be in a moment. One that cannot say how it
/// is keeps nobody from the rest.
async fn store(client: &Client) -> Option<String> {
    let mut why = None;
    let writes = async {
        let mut look = interval(LOOK_EVERY);
        loop {
            look.tick().await;
            let status = Store::of(client).await?.status().await?;
            if status.available {
                return Ok::<(), ClientError>(());
            }
            why = Some(status.state);
        }
    };
    match timeout(STORE_WITHIN, writes).await {
        Ok(_) => None,
        Err(_) => why,
    }
}

/// What a newer helmd says in words that are not known here is left out.
fn service(status: v1::ServiceStatus) -> Option<ToldService> {
    Some(ToldService {
        name: ServiceName::new(&status.name).ok()?,
        state: word::<State>(&status.state)?,
        reason: status.reason,
        health: word::<Health>(&status.health)?,
        health_message: status.health_message,
        pid: status.pid,
        last_exit: status.last_exit,
        waits_for: status.waits_for.iter().filter_map(|name| ServiceName::new(name).ok()).collect(),
        production: status.mode == "production",
        since: wall(status.since.unwrap_or_default()),
        started: status.started_at.map(wall),
    })
}

fn word<T: DeserializeOwned>(word: &str) -> Option<T> {
    let word: StrDeserializer<'_, Error> = word.into_deserializer();
    T::deserialize(word).ok()
}

fn wall(at: Timestamp) -> Wall {
    Wall(at.seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(at.nanos)))
}

/// A helmd that looks, or mends; it is ended with this.
#[derive(Debug)]
pub struct Doctor {
    tool: Tool,
    ended: bool,
}

impl Doctor {
    /// Looks at a home, or at one service of it.
    pub async fn look(home: &Home, name: Option<&str>, brief: &Brief) -> Result<Self, ClientError> {
        Self::start(home, name.as_slice(), brief).await
    }

    /// Does what was agreed to.
    pub async fn fix(home: &Home, fixes: &[Fix]) -> Result<Self, ClientError> {
        Self::start(home, &["--fix"], fixes).await
    }

    async fn start(
        home: &Home,
        words: &[&str],
        input: &(impl Serialize + ?Sized),
    ) -> Result<Self, ClientError> {
        let text = serde_json::to_vec(input).map_err(|e| ClientError::Start(e.to_string()))?;
        Ok(Self { tool: Tool::start(home, "doctor", words, &text).await?, ended: false })
    }

    /// The next thing that it says; `None` behind the last one. Whatever still hangs in it is not waited for.
    pub async fn next(&mut self) -> Result<Option<Line>, ClientError> {
        if self.ended {
            return Ok(None);
        }
        let Some(line) = self.tool.line().await? else {
            self.ended = true;
            let said = self.tool.errors().await;
            return if said.is_empty() {
                Ok(None)
            } else {
                Err(ClientError::Start(format!("`helmd doctor` said: {said}")))
            };
        };
        let said = serde_json::from_str(&line);
        let said: Line = said.map_err(|_| ClientError::Start(format!("`helmd doctor` said: {line}")))?;
        self.ended = matches!(said, Line::Done(_) | Line::Failed(_) | Line::Unknown(_));
        Ok(Some(said))
    }
}
