//! Something listens.

use std::time::Duration;

use helm_core::status::Health;
use tokio::time::timeout;

use super::connect::Dialer;

pub(super) async fn ask(dialer: &Dialer, host: &str, port: u16, within: Duration) -> (Health, String) {
    match timeout(within, dialer.connect(host, port)).await {
        Ok(Ok(_)) => (Health::Healthy, format!("port {port} accepts connections")),
        Ok(Err(e)) => (Health::Unreachable, format!("port {port}: {e}")),
        Err(_) => (Health::Unreachable, format!("port {port}: no answer within {within:?}")),
    }
}
