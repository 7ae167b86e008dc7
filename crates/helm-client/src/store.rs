//! The database behind the log: its status, and what it keeps how long.

use std::time::Duration;

use helm_proto::v1::store_client::StoreClient;
use helm_proto::v1::{
    Principal, RetentionRequest, RetentionResponse, SetRetentionRequest, StoreStatusRequest,
    StoreStatusResponse,
};

use tonic::transport::Channel;

use crate::connect::{Client, Link};
use crate::error::ClientError;

/// A database answers later than memory does.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// The store of one helmd.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    channel: Channel,
    calls: StoreClient<Link>,
}

impl Store {
    /// Of the helmd that `client` speaks with.
    pub async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self::over(client.clone(), client.channel(Some(CALL_WITHIN)).await?))
    }

    fn over(client: Client, channel: Channel) -> Self {
        Self { calls: StoreClient::new(client.link(channel.clone())), client, channel }
    }

    /// The same connection; its calls are for this principal ([`Client::acting`]).
    #[must_use]
    pub fn acting(&self, principal: &Principal) -> Self {
        Self::over(self.client.acting(principal), self.channel.clone())
    }

    /// `StoreStatus`
    pub async fn status(&mut self) -> Result<StoreStatusResponse, ClientError> {
        Ok(self.calls.store_status(StoreStatusRequest {}).await?.into_inner())
    }

    /// `Retention`; with rules a dry run by these, else by the ones in force.
    pub async fn retention(
        &mut self,
        dry_run: bool,
        rules: Vec<String>,
    ) -> Result<RetentionResponse, ClientError> {
        Ok(self.calls.retention(RetentionRequest { dry_run, rules }).await?.into_inner())
    }

    /// `SetRetention`
    pub async fn set_retention(
        &mut self,
        class: String,
        rule: String,
    ) -> Result<RetentionResponse, ClientError> {
        Ok(self.calls.set_retention(SetRetentionRequest { class, rule }).await?.into_inner())
    }
}
