//! Waiting for what helmd says, through the stream of status changes. A stream that breaks is opened anew: tests kill helmd.

use std::future::Future;
use std::time::{Duration, Instant};

use helm_client::{Client, ClientError};
use helm_proto::v1::ServiceStatus;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use crate::home::Home;
use crate::wait::{BOUND, eventually, pause};

/// A runtime for one piece of asynchronous work of a test.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime: Result<Runtime, _> = Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|e| panic!("no runtime: {e}")).block_on(work)
}

impl Home {
    /// A connection to the helmd of this home.
    pub async fn client(&self) -> Result<Client, ClientError> {
        Client::of(&helm_client::Home::find(Some(self.dir()))?).await
    }

    /// Waits until helmd answers.
    #[track_caller]
    pub fn answers(&self) {
        eventually("helmd answers", || {
            let asked = block_on(async { self.client().await?.info().await });
            asked.map(drop).map_err(|e| format!("{e}\n{}", self.read("helmd.err")))
        });
    }

    /// The status of all services.
    #[track_caller]
    pub fn statuses(&self) -> Vec<ServiceStatus> {
        let asked = block_on(async { self.client().await?.status(Vec::new()).await });
        asked.unwrap_or_else(|e| panic!("status: {e}\n{}", self.read("helmd.err"))).services
    }

    /// The status of a service.
    #[track_caller]
    pub fn status(&self, service: &str) -> ServiceStatus {
        let asked = block_on(async { self.client().await?.status(vec![service.to_owned()]).await });
        match asked.map(|answer| answer.services.into_iter().next()) {
            Ok(Some(status)) => status,
            other => panic!("status of {service}: {other:?}\n{}", self.story(service)),
        }
    }

    /// Waits until the status of a service is as `fact` wants it.
    #[track_caller]
    pub fn wait_for(
        &self,
        service: &str,
        what: &str,
        fact: impl Fn(&ServiceStatus) -> bool,
    ) -> ServiceStatus {
        let end = Instant::now() + BOUND;
        let mut last = String::from("no status yet");
        while Instant::now() < end {
            match block_on(self.watch(service, end, &fact)) {
                Ok(status) => return status,
                Err(why) => last = why,
            }
            pause(Duration::from_millis(5));
        }
        panic!("not within {BOUND:?}: {service}: {what}\nlast: {last}\n{}", self.story(service));
    }

    async fn watch(
        &self,
        service: &str,
        end: Instant,
        fact: &impl Fn(&ServiceStatus) -> bool,
    ) -> Result<ServiceStatus, String> {
        let client = self.client().await.map_err(|e| e.to_string())?;
        let mut stream = client.watch_status(vec![service.to_owned()]).await.map_err(|e| e.to_string())?;
        let mut last = String::from("no status yet");
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A fact may also depend on something beside the status: look at it again now and then.
            let message = match timeout(left.min(Duration::from_millis(500)), stream.next()).await {
                Err(_) => return Err(last),
                Ok(Some(Ok(message))) => message,
                Ok(other) => return Err(format!("the stream ended: {other:?}; before it: {last}")),
            };
            for status in message.services {
                if fact(&status) {
                    return Ok(status);
                }
                last = format!("{status:?}");
            }
        }
    }
}
