//! The log: questions, followers, appends. Streams and calls have connections of their own, as everywhere.

use std::time::Duration;

use helm_proto::v1::logs_client::LogsClient;
use helm_proto::v1::{
    AppendRequest, AppendResponse, FollowLogsRequest, FollowLogsResponse, GetLogRequest, LogContextRequest,
    LogContextResponse, LogEntry, LogFacetsRequest, LogFacetsResponse, LogHistogramRequest,
    LogHistogramResponse, Principal, QueryLogsRequest, QueryLogsResponse, SearchLogsRequest,
    SearchLogsResponse, VerifyLogsRequest, VerifyLogsResponse,
};

use tonic::transport::Channel;

use crate::connect::{Client, Link};
use crate::error::ClientError;
use crate::resume::Feed;
use crate::stream::Stream;

/// A database answers later than memory does.
const CALL_WITHIN: Duration = Duration::from_secs(60);

/// The log of one helmd.
#[derive(Debug, Clone)]
pub struct Logs {
    client: Client,
    channel: Channel,
    calls: LogsClient<Link>,
}

impl Logs {
    /// Of the helmd that `client` speaks with.
    pub async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self::over(client.clone(), client.channel(Some(CALL_WITHIN)).await?))
    }

    fn over(client: Client, channel: Channel) -> Self {
        Self { calls: LogsClient::new(client.link(channel.clone())), client, channel }
    }

    /// The same connection; its calls and streams are for this principal ([`Client::acting`]).
    #[must_use]
    pub fn acting(&self, principal: &Principal) -> Self {
        Self::over(self.client.acting(principal), self.channel.clone())
    }

    async fn streams(&self) -> Result<LogsClient<Link>, ClientError> {
        Ok(LogsClient::new(self.client.connection(None).await?))
    }

    /// `Append`
    pub async fn append(&mut self, request: AppendRequest) -> Result<AppendResponse, ClientError> {
        Ok(self.calls.append(request).await?.into_inner())
    }

    /// `QueryLogs`
    pub async fn query(&mut self, request: QueryLogsRequest) -> Result<QueryLogsResponse, ClientError> {
        Ok(self.calls.query_logs(request).await?.into_inner())
    }

    /// `GetLog`
    pub async fn get(&mut self, id: i64) -> Result<LogEntry, ClientError> {
        Ok(self.calls.get_log(GetLogRequest { id }).await?.into_inner())
    }

    /// `LogContext`
    pub async fn context(&mut self, request: LogContextRequest) -> Result<LogContextResponse, ClientError> {
        Ok(self.calls.log_context(request).await?.into_inner())
    }

    /// `LogHistogram`
    pub async fn histogram(
        &mut self,
        request: LogHistogramRequest,
    ) -> Result<LogHistogramResponse, ClientError> {
        Ok(self.calls.log_histogram(request).await?.into_inner())
    }

    /// `LogFacets`
    pub async fn facets(&mut self, request: LogFacetsRequest) -> Result<LogFacetsResponse, ClientError> {
        Ok(self.calls.log_facets(request).await?.into_inner())
    }

    /// `SearchLogs`
    pub async fn search(
        &self,
        request: SearchLogsRequest,
    ) -> Result<Stream<SearchLogsResponse>, ClientError> {
        Ok(Stream(self.streams().await?.search_logs(request).await?.into_inner()))
    }

    /// `FollowLogs`; [`crate::Resuming`] outlives helmd.
    pub async fn follow(
        &self,
        request: FollowLogsRequest,
    ) -> Result<Stream<FollowLogsResponse>, ClientError> {
        Ok(Stream(self.streams().await?.follow_logs(request).await?.into_inner()))
    }

    /// `VerifyLogs`
    pub async fn verify(&self, anchors: Vec<String>) -> Result<Stream<VerifyLogsResponse>, ClientError> {
        let request = VerifyLogsRequest { anchors };
        Ok(Stream(self.streams().await?.verify_logs(request).await?.into_inner()))
    }
}

impl Feed for FollowLogsRequest {
    type Message = FollowLogsResponse;

    async fn open(&self, client: Client) -> Result<Stream<FollowLogsResponse>, ClientError> {
        Logs::of(&client).await?.follow(self.clone()).await
    }

    fn note(&mut self, message: &FollowLogsResponse) {
        if !message.cursor.is_empty() {
            self.cursor.clone_from(&message.cursor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_goes_on_behind_the_last_message() {
        let mut request = FollowLogsRequest { last: 50, ..Default::default() };
        request.note(&FollowLogsResponse { cursor: "f1~default.7".into(), ..Default::default() });
        request.note(&FollowLogsResponse::default());
        assert_eq!(request.cursor, "f1~default.7");
    }
}
