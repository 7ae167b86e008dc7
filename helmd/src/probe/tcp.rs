//! Something listens.

use std::time::Duration;

use helm_core::status::Health;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(super) async fn ask(host: &str, port: u16, within: Duration) -> (Health, String) {
    match timeout(within, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => (Health::Healthy, format!("port {port} accepts connections")),
        Ok(Err(e)) => (Health::Unreachable, format!("port {port}: {e}")),
        Err(_) => (Health::Unreachable, format!("port {port}: no answer within {within:?}")),
    }
}
