//! helmd, as helm-web sees it: a connection that is made anew when helmd comes back, and calls on behalf of a principal.

use std::sync::Arc;
use std::time::Duration;

use helm_client::{Client, ClientError, Home, Logs, OnBehalf, Store};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Who asks is answered within a second when helmd is away or stuck.
const CONNECT_WITHIN: Duration = Duration::from_millis(800);

/// Connections to helmd.
#[derive(Debug, Clone)]
struct Line {
    client: Client,
    logs: Logs,
    store: Store,
}

/// The way to helmd.
#[derive(Debug, Clone)]
pub struct Backend {
    home: Home,
    line: Arc<Mutex<Option<Line>>>,
}

impl Backend {
    /// Of this home. Nothing is connected before it is needed.
    #[must_use]
    pub fn of(home: Home) -> Self {
        Self { home, line: Arc::default() }
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The line; who comes while it is made waits for the same one.
    async fn line(&self) -> Result<Line, ClientError> {
        let mut held = self.line.lock().await;
        if let Some(line) = &*held {
            return Ok(line.clone());
        }
        let connect = async {
            let client = Client::of(&self.home).await?;
            let (logs, store) = (Logs::of(&client).await?, Store::of(&client).await?);
            Ok::<_, ClientError>(Line { client, logs, store })
        };
        let line = timeout(CONNECT_WITHIN, connect).await.map_err(|_| {
            ClientError::Broken("it does not answer; see: helmctl daemon status".to_owned())
        })??;
        *held = Some(line.clone());
        Ok(line)
    }

    /// Calls for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn client(&self, whom: &OnBehalf) -> Result<Client, ClientError> {
        Ok(self.line().await?.client.on_behalf(whom))
    }

    /// The log, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn logs(&self, whom: &OnBehalf) -> Result<Logs, ClientError> {
        Ok(self.line().await?.logs.on_behalf(whom))
    }

    /// The state of the store, for this principal.
    ///
    /// # Errors
    /// helmd is away.
    pub async fn store(&self, whom: &OnBehalf) -> Result<Store, ClientError> {
        Ok(self.line().await?.store.on_behalf(whom))
    }
}
