//! Streams with the client's own errors.

use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::Streaming;

use crate::error::ClientError;

/// Messages from helmd.
#[derive(Debug)]
pub struct Stream<T>(pub(crate) Streaming<T>);

impl<T> tokio_stream::Stream for Stream<T> {
    type Item = Result<T, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map_err(ClientError::from)
    }
}
