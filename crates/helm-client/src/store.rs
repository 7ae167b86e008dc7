//! The database behind the log: its status, and what it keeps how long.

use std::time::Duration;

use helm_proto::v1::store_client::StoreClient;
use helm_proto::v1::{
    RetentionRequest, RetentionResponse, SetRetentionRequest, StoreStatusRequest, StoreStatusResponse,
};

use crate::connect::{Client, Link};
use crate::error::ClientError;

/// A database answers later than memory does.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// The store of one helmd.
#[derive(Debug, Clone)]
pub struct Store(StoreClient<Link>);

impl Store {
    /// Of the helmd that `client` speaks with.
    pub async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self(StoreClient::new(client.connection(Some(CALL_WITHIN)).await?)))
    }

    /// `StoreStatus`
    pub async fn status(&mut self) -> Result<StoreStatusResponse, ClientError> {
        Ok(self.0.store_status(StoreStatusRequest {}).await?.into_inner())
    }

    /// `Retention`; with rules a dry run by these, else by the ones in force.
    pub async fn retention(
        &mut self,
        dry_run: bool,
        rules: Vec<String>,
    ) -> Result<RetentionResponse, ClientError> {
        Ok(self.0.retention(RetentionRequest { dry_run, rules }).await?.into_inner())
    }

    /// `SetRetention`
    pub async fn set_retention(
        &mut self,
        class: String,
        rule: String,
    ) -> Result<RetentionResponse, ClientError> {
        Ok(self.0.set_retention(SetRetentionRequest { class, rule }).await?.into_inner())
    }
}
