//! What can be typed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;

/// The port of the ecosystem's service `helm`.
pub const PORT: u16 = 5004;

/// The HTTP side of Helm: API, log ingest, dashboard. A client of helmd, which it finds by the home.
#[derive(Debug, Parser)]
#[command(name = "helm-web", version)]
pub struct Arguments {
    /// The directory that holds services.json [default: the current directory]
    #[arg(long, env = "HELM_HOME", value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where to listen; may be given several times [default: 127.0.0.1:5004 and [::1]:5004]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<SocketAddr>,
    /// Allow addresses that other hosts reach. What they send is not encrypted: see docs/tls.md first
    #[arg(long)]
    pub allow_remote: bool,
}

impl Arguments {
    /// Where to listen, and whether all of it must be had: an address of IPv6 that nobody asked for may be missing.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        if self.listen.is_empty() {
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return loopback.into_iter().map(|ip| SocketAddr::new(ip, PORT)).collect();
        }
        self.listen.clone()
    }
}
