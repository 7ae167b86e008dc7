//! For whom a call is made: helm-web names a principal in each of its calls (docs/access.md).

use std::task::{Context, Poll};

use helm_proto::v1::Principal;
use prost::Message;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Channel, Error};
use tower::Service;

/// The metadata key that holds the principal, encoded.
pub const PRINCIPAL: &str = "helm-principal-bin";

/// A principal, as calls carry it.
#[derive(Debug, Clone)]
pub struct OnBehalf(HeaderMap);

impl From<&Principal> for OnBehalf {
    fn from(principal: &Principal) -> Self {
        let mut metadata = MetadataMap::with_capacity(1);
        metadata.insert_bin(PRINCIPAL, BinaryMetadataValue::from_bytes(&principal.encode_to_vec()));
        Self(metadata.into_headers())
    }
}

/// A connection to helmd, over which each call is made for the same principal, or for nobody but the peer of the socket.
#[derive(Debug, Clone)]
pub struct Wire {
    channel: Channel,
    whom: Option<OnBehalf>,
}

impl From<Channel> for Wire {
    fn from(channel: Channel) -> Self {
        Self { channel, whom: None }
    }
}

impl Wire {
    /// The same connection, for this principal.
    pub(crate) fn on_behalf(&self, whom: &OnBehalf) -> Self {
        Self { channel: self.channel.clone(), whom: Some(whom.clone()) }
    }

    /// Another connection, for the same principal.
    pub(crate) fn over(&self, channel: Channel) -> Self {
        Self { channel, whom: self.whom.clone() }
    }
}

impl Service<Request<Body>> for Wire {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.channel.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        if let Some(OnBehalf(headers)) = &self.whom {
            request.headers_mut().extend(headers.clone());
        }
        self.channel.call(request)
    }
}
