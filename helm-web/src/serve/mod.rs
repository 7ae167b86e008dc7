//! HTTP/1.1 over the listening sockets: bounds in number and in time, and whose each connection is.

pub mod connections;
pub mod listen;
mod paced;
mod watched;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use connections::{Busy, Connection, Connections};
pub use paced::Broken;
use paced::Paced;
use watched::Watched;

/// Longest head of a request, in bytes: gunicorn before Nexus allows 8,190 a field.
const HEAD: usize = 64 << 10;
/// Out of descriptors: to try again at once would only burn a core.
const REST: Duration = Duration::from_millis(100);

/// Whose a connection is, and between which addresses; an extension of each of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The other end.
    pub far: SocketAddr,
    /// Ours.
    pub near: SocketAddr,
    /// The user whose socket the other end is; `None`: not known, or not of this host.
    pub uid: Option<u32>,
}

/// Serves the application at these sockets until told to stop; then requests under way have a bounded time to end.
pub async fn serve(
    listeners: Vec<TcpListener>,
    application: Router,
    connections: Arc<Connections>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    for listener in listeners {
        let (application, connections, stop) = (application.clone(), connections.clone(), stop.clone());
        let of_listener = tasks.clone();
        tasks.spawn(async move {
            let accepting = accept(&listener, &application, &connections, &of_listener, &stop);
            stop.run_until_cancelled(accepting).await;
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn accept(
    listener: &TcpListener,
    application: &Router,
    connections: &Arc<Connections>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    loop {
        let (stream, far) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                tracing::warn!("a connection could not be accepted: {e}");
                sleep_until(Instant::now() + REST).await;
                continue;
            }
        };
        // A small answer waits for no further one.
        let _ = stream.set_nodelay(true);
        let Ok(near) = stream.local_addr() else { continue };
        let uid = user_of(far, near);
        match connections.admit(uid) {
            Some(connection) => {
                let client = Client { far, near, uid };
                let (application, stop) = (application.clone(), stop.clone());
                tasks.spawn(converse(stream, client, application, connection, stop));
            }
            None => refuse(&stream),
        }
    }
}

/// Only sockets of this host have an owner here.
fn user_of(far: SocketAddr, near: SocketAddr) -> Option<u32> {
    if far.ip() != near.ip() && !far.ip().is_loopback() {
        return None;
    }
    helm_sockets::user_of(far, near).unwrap_or_else(|e| {
        tracing::warn!("whose the connection from {far} is cannot be asked: {e}");
        None
    })
}

/// Everybody's share is in use, by requests: one more is told so, if that can be done without waiting.
fn refuse(stream: &TcpStream) {
    let _ = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 29\r\nRetry-After: 1\r\nConnection: close\r\n\r\ntoo many connections at once\n",
    );
}

/// One connection, to its end.
async fn converse(
    stream: TcpStream,
    client: Client,
    application: Router,
    connection: Connection,
    stop: CancellationToken,
) {
    let unread = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (connection, unread) = (connection.clone(), unread.clone());
        move |request: Request<Incoming>| {
            let busy = connection.busy();
            let mut request = request.map(|body| Body::new(Paced::new(body, unread.clone())));
            request.extensions_mut().insert(client);
            let answer = application.clone().oneshot(request);
            async move { Ok::<_, Infallible>(answer.await?.map(|body| Guarded { body, _busy: busy })) }
        }
    });
    let io = Watched::new(TokioIo::new(stream), connection.clone(), unread);
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(connections::IDLE)
        .max_buf_size(HEAD)
        .serve_connection(io, service);
    tokio::pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => {
            if let Err(e) = ended {
                tracing::debug!("the connection from {} ended: {e}", client.far);
            }
            return;
        }
        () = connection.overdue() => return,
        () = stop.cancelled() => {}
    }
    // Who has just come is about to ask: closed now, it would get no answer.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = tokio::time::timeout(connections::ASKS_WITHIN, connection.first_request()) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(connections::LEAVE_WITHIN, serving).await;
}

/// The body of an answer: until its end the request is under way.
struct Guarded {
    body: Body,
    _busy: Busy,
}

impl hyper::body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
