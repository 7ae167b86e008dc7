//! helmd, as helm-web sees it: a connection that is made anew when helmd comes back, and calls on behalf of a principal.

use std::sync::Arc;
use std::time::Duration;

use helm_client::{Access, Client, ClientError, Home, Jobs, Logs, Store};
use helm_proto::v1::Principal;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Who asks is answered within a second when helmd is away or stuck.
const CONNECT_WITHIN: Duration = Duration::from_millis(800);

/// Before a helmd that did not answer in time is tried again.
const REST: Duration = Duration::from_millis(500);

/// Connections to helmd.
#[derive(Debug, Clone)]
struct Line {
    client: Client,
    logs: Logs,
    store: Store,
    access: Access,
    jobs: Jobs,
}

/// The way to helmd.
#[derive(Debug, Clone)]
pub struct Backend {
    home: Home,
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    line: Option<Line>,
    /// When it could not be made in time, and why.
    failed: Option<(Instant, String)>,
}

impl Backend {
    /// Of this home. Nothing is connected before it is needed.
    #[must_use]
    pub fn of(home: Home) -> Self {
        Self { home, held: Arc::default() }
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The line; who comes while it is made waits for the same one.
    async fn line(&self) -> Result<Line, ClientError> {
        let mut held = self.held.lock().await;
        if let Some(line) = &held.line {
            return Ok(line.clone());
        }
        // Whoever waited for the same try is told the same.
        if let Some((at, why)) = &held.failed
            && at.elapsed() < REST
        {
            return Err(ClientError::Broken(why.clone()));
        }
        let connect = async {
            let client = Client::web(&self.home).await?;
            let (logs, store, access, jobs) = tokio::try_join!(
                Logs::of(&client),
                Store::of(&client),
                Access::of(&client),
                Jobs::of(&client)
            )?;
            Ok::<_, ClientError>(Line { client, logs, store, access, jobs })
        };
        match timeout(CONNECT_WITHIN, connect).await {
            Ok(line) => {
                let line = line?;
                *held = Held { line: Some(line.clone()), failed: None };
                Ok(line)
            }
            Err(_) => {
                let why = "it does not answer; see: helmctl daemon status".to_owned();
                held.failed = Some((Instant::now(), why.clone()));
                Err(ClientError::Broken(why))
            }
        }
    }

    /// Calls for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn client(&self, whom: &Principal) -> Result<Client, ClientError> {
        Ok(self.line().await?.client.acting(whom))
    }

    /// The log, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn logs(&self, whom: &Principal) -> Result<Logs, ClientError> {
        Ok(self.line().await?.logs.acting(whom))
    }

    /// The state of the store, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn store(&self, whom: &Principal) -> Result<Store, ClientError> {
        Ok(self.line().await?.store.acting(whom))
    }

    /// Tokens, sessions and rights, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn access(&self, whom: &Principal) -> Result<Access, ClientError> {
        Ok(self.line().await?.access.acting(whom))
    }

    /// Jobs, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn jobs(&self, whom: &Principal) -> Result<Jobs, ClientError> {
        Ok(self.line().await?.jobs.acting(whom))
    }
}
