//! Operations that may last longer than somebody can wait.

use std::time::Duration;

use helm_proto::v1::jobs_client::JobsClient;
use helm_proto::v1::{
    GetJobRequest, Job, ListJobsRequest, Principal, StartJobRequest, WatchJobsRequest, WatchJobsResponse,
};
use tonic::transport::Channel;

use crate::connect::{Client, Link};
use crate::error::ClientError;
use crate::stream::Stream;

/// A job is written down, and begun, before the answer comes.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// The jobs of one helmd.
#[derive(Debug, Clone)]
pub struct Jobs {
    client: Client,
    channel: Channel,
    calls: JobsClient<Link>,
}

impl Jobs {
    /// Of the helmd that `client` speaks with.
    pub async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self::over(client.clone(), client.channel(Some(CALL_WITHIN)).await?))
    }

    fn over(client: Client, channel: Channel) -> Self {
        Self { calls: JobsClient::new(client.link(channel.clone())), client, channel }
    }

    /// The same connection; its calls are for this principal ([`Client::acting`]).
    #[must_use]
    pub fn acting(&self, principal: &Principal) -> Self {
        Self::over(self.client.acting(principal), self.channel.clone())
    }

    /// `StartJob`
    pub async fn start(&mut self, request: StartJobRequest) -> Result<Job, ClientError> {
        Ok(self.calls.start_job(request).await?.into_inner())
    }

    /// `GetJob`
    pub async fn get(&mut self, id: &str) -> Result<Job, ClientError> {
        Ok(self.calls.get_job(GetJobRequest { id: id.to_owned() }).await?.into_inner())
    }

    /// `ListJobs`
    pub async fn list(&mut self) -> Result<Vec<Job>, ClientError> {
        Ok(self.calls.list_jobs(ListJobsRequest {}).await?.into_inner().jobs)
    }

    /// `WatchJob`: ends with its outcome, or with this life of helmd (then ask again).
    pub async fn watch(&self, id: &str) -> Result<Stream<Job>, ClientError> {
        let mut streams = JobsClient::new(self.client.connection(None).await?);
        Ok(Stream(streams.watch_job(GetJobRequest { id: id.to_owned() }).await?.into_inner()))
    }

    /// `WatchJobs`: ends with this life of helmd.
    pub async fn watch_all(&self) -> Result<Stream<WatchJobsResponse>, ClientError> {
        let mut streams = JobsClient::new(self.client.connection(None).await?);
        Ok(Stream(streams.watch_jobs(WatchJobsRequest {}).await?.into_inner()))
    }
}
