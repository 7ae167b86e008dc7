//! Core: its key, which is pinned, and its word on whether a user's session lives. Nothing is sent to whoever happens to listen
//! at its port: the socket there must be Helm's user's or root's.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::standing::Answer;

/// How long Core may take.
const WITHIN: Duration = Duration::from_secs(2);
/// Answers are small; more is not read.
const LONGEST_ANSWER: usize = 64 << 10;
/// Where services listen that say nothing else.
pub const PORT: u16 = 5000;

/// Where Core is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its port on this host.
    pub port: u16,
    /// Its public key.
    pub key: Option<PathBuf>,
}

/// Core over HTTP.
#[derive(Debug, Clone)]
pub struct Core {
    http: Client,
    own: u32,
}

/// One key of a key set (RFC 7517).
#[derive(Debug, Clone, Deserialize)]
pub struct Jwk {
    /// Modulus.
    pub n: String,
    /// Exponent.
    pub e: String,
}

/// Core cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// Nobody listens there.
    #[error("nobody listens at 127.0.0.1:{0}: helmctl status core")]
    Nobody(u16),
    /// Somebody else does.
    #[error("127.0.0.1:{port} is held by uid {uid}, which is neither Helm's user nor root: it is not asked")]
    Stranger {
        /// Where.
        port: u16,
        /// Who.
        uid: u32,
    },
    /// It does not answer as Core does.
    #[error("{0}")]
    Answer(String),
}

impl Core {
    /// `own`: Helm's user.
    ///
    /// # Errors
    /// There is no HTTP client to be had.
    pub fn new(own: u32) -> Result<Self, reqwest::Error> {
        // No proxy of the environment, no redirect: what is sent is for Core alone.
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(WITHIN)
            .build()?;
        Ok(Self { http, own })
    }

    /// Helm's user.
    #[must_use]
    pub fn own(&self) -> u32 {
        self.own
    }

    fn url(port: u16, path: &str) -> String {
        format!("http://{}:{port}{path}", IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// It must be Core, as far as the kernel can tell.
    async fn trusted(&self, port: u16) -> Result<(), CoreError> {
        let found = spawn_blocking(move || helm_sockets::listeners_on(port)).await;
        let sockets = found.map_err(|e| CoreError::Answer(e.to_string()))?;
        let sockets = sockets
            .map_err(|e| CoreError::Answer(format!("who listens at port {port} is not known: {e}")))?;
        let sockets: Vec<_> =
            sockets.into_iter().filter(helm_sockets::Listener::is_reached_at_localhost).collect();
        if sockets.is_empty() {
            return Err(CoreError::Nobody(port));
        }
        match sockets.iter().find(|socket| socket.uid != 0 && socket.uid != self.own) {
            Some(stranger) => Err(CoreError::Stranger { port, uid: stranger.uid }),
            None => Ok(()),
        }
    }

    /// Its key set, where its key file cannot be read.
    ///
    /// # Errors
    /// It does not answer, or somebody else would.
    pub async fn key_set(&self, port: u16) -> Result<Vec<Jwk>, CoreError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Jwk>,
        }
        self.trusted(port).await?;
        let answer = self.http.get(Self::url(port, "/.well-known/jwks.json")).send().await;
        let (_, body) = read(answer).await?;
        // Nobody took the port meanwhile.
        self.trusted(port).await?;
        let set: Set =
            serde_json::from_slice(&body).map_err(|e| CoreError::Answer(format!("no key set: {e}")))?;
        Ok(set.keys)
    }

    /// Whether the session of a token lives.
    pub async fn session(&self, port: u16, token: &str) -> Answer {
        match self.validate(port, token).await {
            Ok(answer) => answer,
            Err(why) => {
                tracing::debug!("Core cannot be asked whether a session lives: {why}");
                Answer::Away
            }
        }
    }

    async fn validate(&self, port: u16, token: &str) -> Result<Answer, CoreError> {
        #[derive(Deserialize)]
        struct Verdict {
            valid: bool,
        }
        self.trusted(port).await?;
        let body = serde_json::json!({ "token": token });
        let answer = self.http.post(Self::url(port, "/api/token/validate")).json(&body).send().await;
        let (status, body) = read(answer).await?;
        let verdict = serde_json::from_slice::<Verdict>(&body).ok();
        Ok(match (status, verdict) {
            (StatusCode::OK, Some(Verdict { valid: true })) => Answer::Lives,
            (StatusCode::UNAUTHORIZED, Some(Verdict { valid: false })) => Answer::Ended,
            _ => Answer::Away,
        })
    }
}

/// Status and body of an answer, within its bound.
async fn read(answer: reqwest::Result<reqwest::Response>) -> Result<(StatusCode, Vec<u8>), CoreError> {
    // The error may name the URL, which holds no secret; the token is in the body.
    let in_words = |e: reqwest::Error| CoreError::Answer(e.to_string());
    let mut answer = answer.map_err(in_words)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(in_words)? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_ANSWER {
            return Err(CoreError::Answer("its answer is longer than Core's are".to_owned()));
        }
    }
    Ok((answer.status(), body))
}
