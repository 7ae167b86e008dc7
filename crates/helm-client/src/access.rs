//! Who may sign in, and what they may.

use std::time::Duration;

use helm_proto::v1::access_client::AccessClient;
use helm_proto::v1::{
    ApiToken, AuditRequest, AuditResponse, CreateTokenRequest, CreateTokenResponse, EndSessionRequest,
    IdentifyRequest, IdentifyResponse, ListSessionsRequest, ListTokensRequest, LocalSession, NoteRequest,
    PermissionsRequest, PermissionsResponse, Principal, RevokeTokenRequest, SignInCodeRequest,
    SignInCodeResponse, WebSettingsRequest, WebSettingsResponse,
};

use tonic::transport::Channel;

use crate::connect::{Client, Link};
use crate::error::ClientError;

/// What is changed is written down first.
const CALL_WITHIN: Duration = Duration::from_secs(30);

/// Tokens, sessions and rights of one helmd.
#[derive(Debug, Clone)]
pub struct Access {
    client: Client,
    channel: Channel,
    calls: AccessClient<Link>,
}

impl Access {
    /// Of the helmd that `client` speaks with.
    pub async fn of(client: &Client) -> Result<Self, ClientError> {
        Ok(Self::over(client.clone(), client.channel(Some(CALL_WITHIN)).await?))
    }

    fn over(client: Client, channel: Channel) -> Self {
        Self { calls: AccessClient::new(client.link(channel.clone())), client, channel }
    }

    /// The same connection; its calls are for this principal ([`Client::acting`]).
    #[must_use]
    pub fn acting(&self, principal: &Principal) -> Self {
        Self::over(self.client.acting(principal), self.channel.clone())
    }

    /// `SignInCode`
    pub async fn sign_in_code(&mut self) -> Result<SignInCodeResponse, ClientError> {
        Ok(self.calls.sign_in_code(SignInCodeRequest {}).await?.into_inner())
    }

    /// `Identify`
    pub async fn identify(&mut self, request: IdentifyRequest) -> Result<IdentifyResponse, ClientError> {
        Ok(self.calls.identify(request).await?.into_inner())
    }

    /// `Permissions`
    pub async fn permissions(&mut self) -> Result<PermissionsResponse, ClientError> {
        Ok(self.calls.permissions(PermissionsRequest {}).await?.into_inner())
    }

    /// `CreateToken`
    pub async fn create_token(
        &mut self,
        request: CreateTokenRequest,
    ) -> Result<CreateTokenResponse, ClientError> {
        Ok(self.calls.create_token(request).await?.into_inner())
    }

    /// `ListTokens`
    pub async fn tokens(&mut self) -> Result<Vec<ApiToken>, ClientError> {
        Ok(self.calls.list_tokens(ListTokensRequest {}).await?.into_inner().tokens)
    }

    /// `RevokeToken`
    pub async fn revoke_token(&mut self, id: &str) -> Result<(), ClientError> {
        self.calls.revoke_token(RevokeTokenRequest { id: id.to_owned() }).await?;
        Ok(())
    }

    /// `ListSessions`
    pub async fn sessions(&mut self) -> Result<Vec<LocalSession>, ClientError> {
        Ok(self.calls.list_sessions(ListSessionsRequest {}).await?.into_inner().sessions)
    }

    /// `EndSession`
    pub async fn end_session(&mut self, id: &str) -> Result<(), ClientError> {
        let request = EndSessionRequest { id: id.to_owned(), ..EndSessionRequest::default() };
        self.calls.end_session(request).await?;
        Ok(())
    }

    /// `EndSession`, of the session whose cookie this is.
    pub async fn sign_out(&mut self, cookie: &str) -> Result<(), ClientError> {
        let request = EndSessionRequest { session: cookie.to_owned(), ..EndSessionRequest::default() };
        self.calls.end_session(request).await?;
        Ok(())
    }

    /// `Note`
    pub async fn note(&mut self, request: NoteRequest) -> Result<(), ClientError> {
        self.calls.note(request).await?;
        Ok(())
    }

    /// `WebSettings`
    pub async fn web_settings(&mut self) -> Result<WebSettingsResponse, ClientError> {
        Ok(self.calls.web_settings(WebSettingsRequest {}).await?.into_inner())
    }

    /// `Audit`
    pub async fn audit(&mut self, request: AuditRequest) -> Result<AuditResponse, ClientError> {
        Ok(self.calls.audit(request).await?.into_inner())
    }
}
