//! Core's tokens (contract 1): RS256, issuer and expiry are pinned.

use helm_core::access::Role;
use helm_core::name::ServiceName;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

/// Who issues tokens.
pub const ISSUER: &str = "hivematrix-core";
/// For whom service tokens must be made.
pub const OURSELVES: &str = "helm";
/// A longer one is none: Core's have below 2 KB.
const LONGEST: usize = 8 << 10;

/// What a token says that may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claims {
    /// Of a user.
    User(User),
    /// Of a service: it proves nothing about who holds it.
    Service {
        /// Whose.
        calling: ServiceName,
        /// Seconds since 1970.
        expires: i64,
    },
}

/// Of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Keycloak's id.
    pub subject: String,
    /// As people know them.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// Seconds since 1970.
    pub issued: i64,
    /// Seconds since 1970.
    pub expires: i64,
}

impl Claims {
    /// Seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> i64 {
        match self {
            Self::User(user) => user.expires,
            Self::Service { expires, .. } => *expires,
        }
    }
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is over.
    #[error("the token has expired")]
    Expired,
    /// It was not signed by this key.
    #[error("the token is not signed by Core")]
    Signature,
    /// Another algorithm than RS256.
    #[error("the token is signed in another way than Core does")]
    Algorithm,
    /// Another issuer.
    #[error("the token was not issued by {ISSUER}")]
    Issuer,
    /// A service token for somebody else.
    #[error("the service token was made for {0}, not for {OURSELVES}")]
    Target(String),
    /// Something is missing.
    #[error("the token has no {0}")]
    Missing(&'static str),
    /// No token at all.
    #[error("this is no token as Core makes them")]
    Garbage,
}

#[derive(Deserialize)]
struct Raw {
    exp: i64,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    permission_level: Option<String>,
    #[serde(default)]
    preferred_username: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    calling_service: Option<String>,
    #[serde(default)]
    target_service: Option<String>,
}

/// What the token says, where it is signed by one of these keys.
///
/// # Errors
/// It does not count.
pub fn read(token: &str, keys: &[DecodingKey]) -> Result<Claims, TokenFault> {
    if token.len() > LONGEST {
        return Err(TokenFault::Garbage);
    }
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "iss"]);
    rules.validate_aud = false;
    rules.leeway = 0;
    let mut fault = TokenFault::Signature;
    for key in keys {
        match decode::<Raw>(token, key, &rules) {
            Ok(data) => return believed(data.claims),
            Err(error) => fault = why(error.kind()),
        }
        if fault != TokenFault::Signature {
            break;
        }
    }
    Err(fault)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "a fault that the library learns to tell is garbage to us")]
fn why(kind: &ErrorKind) -> TokenFault {
    match kind {
        ErrorKind::ExpiredSignature => TokenFault::Expired,
        ErrorKind::InvalidSignature => TokenFault::Signature,
        ErrorKind::InvalidIssuer => TokenFault::Issuer,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenFault::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) if claim == "exp" => TokenFault::Missing("exp"),
        ErrorKind::MissingRequiredClaim(_) => TokenFault::Missing("iss"),
        _ => TokenFault::Garbage,
    }
}

fn believed(raw: Raw) -> Result<Claims, TokenFault> {
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    if raw.kind.as_deref() == Some("service") {
        let calling = filled(raw.calling_service).ok_or(TokenFault::Missing("calling_service"))?;
        let target = filled(raw.target_service).ok_or(TokenFault::Missing("target_service"))?;
        if target != OURSELVES {
            return Err(TokenFault::Target(target.chars().filter(|c| !c.is_control()).take(50).collect()));
        }
        let calling = ServiceName::new(&calling).map_err(|_| TokenFault::Garbage)?;
        return Ok(Claims::Service { calling, expires: raw.exp });
    }
    let subject = filled(raw.sub).ok_or(TokenFault::Missing("sub"))?;
    filled(raw.jti).ok_or(TokenFault::Missing("jti"))?;
    let name = [raw.preferred_username, raw.name, raw.email].into_iter().find_map(filled);
    Ok(Claims::User(User {
        name: name.unwrap_or_else(|| subject.clone()),
        subject,
        role: Role::of_level(raw.permission_level.as_deref().unwrap_or_default()),
        issued: raw.iat.unwrap_or(0),
        expires: raw.exp,
    }))
}
