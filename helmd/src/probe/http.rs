//! The seed's three levels, cheapest first: the process runs (else nobody asks), the port answers, `/health` says.
//!
//! Answers are read as contract 8.3 says: the JSON `status` decides, 503 may mean degraded. Redirects are not followed.
//! Any certificate is accepted, and only on loopback, where there is nobody to be deceived but ourselves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use helm_core::status::Health;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme};

use super::connect::Dialer;

/// Longest body that is read.
const BODY: usize = 64 << 10;

/// What was seen.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) health: Health,
    pub(super) message: String,
    /// The port answered, HTTP did not in time.
    pub(super) timed_out: bool,
}

impl Seen {
    fn new(health: Health, message: impl Into<String>) -> Self {
        Self { health, message: message.into(), timed_out: false }
    }
}

/// Asks `url`, and the fallback paths on the same host where `url` is no health endpoint.
pub(super) async fn ask(
    (tls, dialer): (&Tls, &Dialer),
    url: &str,
    fallback: &[String],
    within: Duration,
) -> Seen {
    let Ok(uri) = url.parse::<Uri>() else {
        return Seen::new(Health::Unreachable, format!("`{url}` is not an address"));
    };
    let deadline = Instant::now() + within;
    let mut seen =
        ask_one((tls, dialer), &uri, uri.path_and_query().map_or("/", |p| p.as_str()), deadline, within)
            .await;
    for path in fallback {
        if seen != Answered::NoHealthEndpoint {
            break;
        }
        seen = ask_one((tls, dialer), &uri, path, deadline, within).await;
    }
    match seen {
        Answered::Said(seen) => seen,
        Answered::NoHealthEndpoint => {
            Seen::new(Health::Degraded, format!("answers, but has no health endpoint at {}", uri.path()))
        }
    }
}

#[derive(Debug, PartialEq)]
enum Answered {
    Said(Seen),
    NoHealthEndpoint,
}

async fn ask_one(
    (tls, dialer): (&Tls, &Dialer),
    uri: &Uri,
    path: &str,
    deadline: Instant,
    within: Duration,
) -> Answered {
    let host = uri.host().unwrap_or("localhost").trim_matches(['[', ']']);
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = match timeout_at(deadline, dialer.connect(host, port)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            return Answered::Said(Seen::new(Health::Unreachable, format!("port {port}: {}", plain(&e))));
        }
        Err(_) => {
            return Answered::Said(Seen::new(
                Health::Unreachable,
                format!("port {port}: no answer within {within:?}"),
            ));
        }
    };
    let authority = uri.authority().map_or(host, |a| a.as_str());
    let answer = async {
        if !secure {
            return talk(stream, authority, path).await;
        }
        let loopback = stream.peer_addr().is_ok_and(|a| is_loopback(a.ip()));
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let stream = tls.connector(loopback)?.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
        talk(stream, authority, path).await
    };
    match timeout_at(deadline, answer).await {
        Ok(Ok((status, body))) => read_answer(status, &body, path),
        Ok(Err(why)) => Answered::Said(Seen::new(Health::Unreachable, format!("{path}: {why}"))),
        Err(_) => {
            let message = format!("port {port} answers, {path} does not within {within:?}");
            Answered::Said(Seen { health: Health::Degraded, message, timed_out: true })
        }
    }
}

async fn talk<S>(stream: S, authority: &str, path: &str) -> Result<(StatusCode, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let request = Request::get(path)
        .header("host", authority)
        .header("user-agent", "helmd-probe")
        .header("accept", "application/json, */*;q=0.5")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let exchange = async {
        let response: Response<hyper::body::Incoming> =
            sender.send_request(request).await.map_err(|e| chain(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY).collect().await;
        Ok((status, body.map(|b| b.to_bytes()).unwrap_or_default()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // A server may close with its answer: what came is still to be had.
        _ = connection => exchange.await,
    }
}

/// Contract 8.1. What Helm does not need is not looked at, so that other shapes are as good.
#[derive(Deserialize)]
struct HealthBody {
    status: String,
    #[serde(default)]
    checks: serde_json::Value,
}

/// Most checks in a message, and the longest text of one.
const CHECKS: usize = 8;
const WHY: usize = 120;

/// The checks that are not well, in words: `redis unhealthy (connection refused)`. Dependencies lie one level deeper.
fn ailing(checks: &serde_json::Value) -> Vec<String> {
    let Some(checks) = checks.as_object() else { return Vec::new() };
    let one = |(name, check): (&String, &serde_json::Value)| match check["status"].as_str() {
        Some("healthy") => Vec::new(),
        Some(status) => {
            let code = check["http_status"].as_u64().map(|code| format!("HTTP {code}"));
            let why = check["error"].as_str().map(str::to_owned).or(code);
            let why = why.map(|why| format!(" ({})", why.chars().take(WHY).collect::<String>()));
            vec![format!("{name} {status}{}", why.unwrap_or_default())]
        }
        None => ailing(check),
    };
    checks.iter().flat_map(one).take(CHECKS).collect()
}

/// Contract 8.3 as a function.
fn read_answer(status: StatusCode, body: &[u8], path: &str) -> Answered {
    let code = status.as_u16();
    if let Ok(said) = serde_json::from_slice::<HealthBody>(body) {
        let word = said.status.to_ascii_lowercase();
        let health = match word.as_str() {
            "healthy" | "up" | "alive" | "ok" => Some(Health::Healthy),
            "degraded" => Some(Health::Degraded),
            "unhealthy" | "down" => Some(Health::Unhealthy),
            _ => None,
        };
        if let Some(health) = health {
            let said =
                [vec![format!("HTTP {code} from {path}: status {word}")], ailing(&said.checks)].concat();
            return Answered::Said(Seen::new(health, said.join("; ")));
        }
    }
    match code {
        200..=299 => Answered::Said(Seen::new(Health::Healthy, format!("HTTP {code} from {path}"))),
        300..=399 | 401 | 403 | 404 | 405 => Answered::NoHealthEndpoint,
        500..=599 => Answered::Said(Seen::new(Health::Unhealthy, format!("HTTP {code} from {path}"))),
        _ => Answered::Said(Seen::new(Health::Degraded, format!("HTTP {code} from {path}"))),
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn plain(e: &std::io::Error) -> String {
    if e.kind() == std::io::ErrorKind::ConnectionRefused {
        "connection refused".into()
    } else {
        e.to_string()
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// TLS for probes: without verification, and only towards loopback.
#[derive(Clone)]
pub struct Tls(Option<TlsConnector>);

impl Tls {
    /// Prepares it.
    pub fn new() -> Self {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map(|builder| {
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                    .with_no_client_auth()
            });
        Self(config.ok().map(|config| TlsConnector::from(Arc::new(config))))
    }

    fn connector(&self, loopback: bool) -> Result<&TlsConnector, String> {
        if !loopback {
            return Err("https probes go to loopback only".to_owned());
        }
        self.0.as_ref().ok_or_else(|| "TLS is not available".to_owned())
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: u16, body: &str) -> Option<Health> {
        match read_answer(StatusCode::from_u16(code).unwrap(), body.as_bytes(), "/health") {
            Answered::Said(seen) => Some(seen.health),
            Answered::NoHealthEndpoint => None,
        }
    }

    #[test]
    fn a_bad_answer_says_which_checks_are_bad() {
        let body = r#"{"status":"degraded","checks":{
            "disk":{"status":"healthy"},
            "redis":{"status":"unhealthy","error":"connection refused"},
            "dependencies":{"core":{"status":"unhealthy","http_status":503},"codex":{"status":"healthy"}}}}"#;
        let Answered::Said(seen) = read_answer(StatusCode::SERVICE_UNAVAILABLE, body.as_bytes(), "/health")
        else {
            panic!("an answer");
        };
        assert_eq!(seen.health, Health::Degraded);
        assert_eq!(
            seen.message,
            "HTTP 503 from /health: status degraded; core unhealthy (HTTP 503); redis unhealthy (connection refused)"
        );
        let odd = read(503, r#"{"status":"degraded","checks":[1,{"a":null}]}"#);
        assert_eq!(odd, Some(Health::Degraded), "checks of another shape do no harm");
    }

    #[test]
    fn answers_are_read_as_the_contract_says() {
        let table = [
            (200, r#"{"status":"healthy"}"#, Some(Health::Healthy)),
            (200, r#"{"status":"UP"}"#, Some(Health::Healthy)),
            (503, r#"{"status":"degraded"}"#, Some(Health::Degraded)),
            (503, r#"{"status":"unhealthy"}"#, Some(Health::Unhealthy)),
            (503, r#"{"status":"DOWN"}"#, Some(Health::Unhealthy)),
            (200, "OK", Some(Health::Healthy)),
            (200, r#"{"realm":"master"}"#, Some(Health::Healthy)),
            (404, "", None),
            (302, "", None),
            (401, "{}", None),
            (500, "<html>", Some(Health::Unhealthy)),
            (503, "", Some(Health::Unhealthy)),
            (429, "", Some(Health::Degraded)),
        ];
        for (code, body, expected) in table {
            assert_eq!(read(code, body), expected, "{code} {body}");
        }
    }
}
