//! A client of HTTP/1.1 that costs little: one connection, one request after the other.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use shared::Result;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(30);

/// An open connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driving: JoinHandle<()>,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // How it ends is told to who waits for an answer.
        let driving = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, driving })
    }

    /// Sends a request and waits for its whole answer, which must be 200.
    pub(crate) async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<Bytes> {
        let answered = timeout(WITHIN, async {
            self.sender.ready().await?;
            let answer = self.sender.send_request(request).await?;
            let status = answer.status();
            Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
        });
        let (status, body) = answered.await.map_err(|_| "no answer within 30 s")??;
        if status != StatusCode::OK {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(body)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

/// A GET with this token.
pub(crate) fn get(host: SocketAddr, path: &str, token: &str) -> Result<Request<Full<Bytes>>> {
    built(Method::GET, host, path, token, Bytes::new())
}

/// A POST of JSON with this token.
pub(crate) fn post(host: SocketAddr, path: &str, token: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
    built(Method::POST, host, path, token, body)
}

fn built(
    method: Method,
    host: SocketAddr,
    path: &str,
    token: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>> {
    let request = Request::builder().method(method).uri(path).header(HOST, host.to_string());
    let request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    Ok(request.header(CONTENT_TYPE, "application/json").body(Full::new(body))?)
}
