//! Principals over the wire: what helm-web hands over with each call, and what helmd makes of it.

use std::collections::BTreeSet;

use helm_core::access::{Credential, Principal, Role, Scope};
use helm_core::name::ServiceName;
use prost::Message;
use tonic::metadata::{BinaryMetadataValue, MetadataMap, MetadataValue};

use crate::v1;

/// Metadata key of the encoded [`v1::Principal`].
pub const PRINCIPAL: &str = "helm-principal-bin";

/// Longest text of a principal, in characters: more is for nobody to read.
const LONGEST: usize = 200;

/// Why what was handed over is nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    /// There is none.
    #[error("this socket wants a principal with each call (`{PRINCIPAL}`)")]
    Missing,
    /// There are several.
    #[error("more than one principal was named")]
    Several,
    /// It cannot be read.
    #[error("the principal cannot be read")]
    Garbled,
    /// It says what nobody says.
    #[error("`{0}` is no way to sign in")]
    Via(String),
    /// The purpose of a token that there is not.
    #[error("`{0}` is no purpose of an API token")]
    Purpose(String),
    /// A service that there cannot be.
    #[error(transparent)]
    Service(#[from] helm_core::name::BadName),
}

/// For metadata.
pub fn encode(principal: &v1::Principal) -> BinaryMetadataValue {
    MetadataValue::from_bytes(&principal.encode_to_vec())
}

/// The one that is named.
///
/// # Errors
/// None is named, several are, or what is named cannot be.
pub fn named(metadata: &MetadataMap) -> Result<v1::Principal, Nobody> {
    let mut named = metadata.get_all_bin(PRINCIPAL).iter();
    let (first, more) = (named.next().ok_or(Nobody::Missing)?, named.next());
    if more.is_some() {
        return Err(Nobody::Several);
    }
    let bytes = first.to_bytes().map_err(|_| Nobody::Garbled)?;
    v1::Principal::decode(bytes).map_err(|_| Nobody::Garbled)
}

/// What helmd takes it for.
///
/// # Errors
/// It cannot be.
pub fn principal(wire: v1::Principal) -> Result<Principal, Nobody> {
    let credential = credential(&wire)?;
    Ok(Principal {
        subject: printable(&wire.subject),
        name: printable(&wire.name),
        credential,
        request_id: printable(&wire.request_id),
        from: printable(&wire.from),
    })
}

fn credential(wire: &v1::Principal) -> Result<Credential, Nobody> {
    let services = || services(&wire.services);
    Ok(match (wire.via.as_str(), wire.purpose.as_str()) {
        ("user", _) => Credential::User(Role::of_level(&wire.role)),
        ("session", _) => Credential::Session,
        ("service", _) => Credential::Service(ServiceName::new(&wire.subject)?),
        ("token", "") => Credential::Token(Role::of_level(&wire.role), services()?),
        ("token", "ingest") => Credential::IngestToken(services()?),
        ("token", "metrics") => Credential::MetricsToken(services()?),
        ("token", other) => return Err(Nobody::Purpose(printable(other))),
        ("direct", _) => Credential::Direct,
        ("web", _) => Credential::Web,
        (other, _) => return Err(Nobody::Via(printable(other))),
    })
}

/// A list in which nothing means everything.
///
/// # Errors
/// One of them is no name.
pub fn services(names: &[String]) -> Result<Scope, Nobody> {
    if names.is_empty() {
        return Ok(Scope::All);
    }
    let names: Result<BTreeSet<ServiceName>, _> = names.iter().map(|name| ServiceName::new(name)).collect();
    Ok(Scope::Only(names?))
}

/// For the wire.
pub fn of(principal: &Principal) -> v1::Principal {
    let (role, purpose, scope) = match &principal.credential {
        Credential::User(role) => (role.as_str(), "", None),
        Credential::Session => (Role::Admin.as_str(), "", None),
        Credential::Token(role, services) => (role.as_str(), "", Some(services)),
        Credential::IngestToken(services) => ("", "ingest", Some(services)),
        Credential::MetricsToken(services) => ("", "metrics", Some(services)),
        Credential::Service(_) | Credential::Direct | Credential::Web => ("", "", None),
    };
    let services = match scope {
        Some(Scope::Only(services)) => services.iter().map(ToString::to_string).collect(),
        Some(Scope::All) | None => Vec::new(),
    };
    v1::Principal {
        subject: principal.subject.clone(),
        name: principal.name.clone(),
        role: role.to_owned(),
        via: principal.credential.via().to_owned(),
        services,
        purpose: purpose.to_owned(),
        request_id: principal.request_id.clone(),
        from: principal.from.clone(),
    }
}

/// It goes into logs, events and the audit trail.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(via: &str) -> v1::Principal {
        v1::Principal {
            subject: "core".into(),
            via: via.into(),
            role: "technician".into(),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_handed_over_comes_back_the_same() {
        let mut metadata = MetadataMap::new();
        assert_eq!(named(&metadata), Err(Nobody::Missing));
        metadata.insert_bin(PRINCIPAL, encode(&wire("user")));
        assert_eq!(named(&metadata), Ok(wire("user")));
        metadata.append_bin(PRINCIPAL, encode(&wire("session")));
        assert_eq!(named(&metadata), Err(Nobody::Several));
        metadata.insert_bin(PRINCIPAL, MetadataValue::from_bytes(b"\xff\xff"));
        assert_eq!(named(&metadata), Err(Nobody::Garbled));
    }

    #[test]
    fn each_way_to_sign_in_is_known_and_no_other() {
        for via in ["user", "session", "service", "token", "direct", "web"] {
            let principal = principal(wire(via)).unwrap();
            assert_eq!(principal.credential.via(), via);
            assert_eq!(super::principal(of(&principal)), Ok(principal));
        }
        assert_eq!(principal(wire("owner")), Err(Nobody::Via("owner".into())));
        assert_eq!(principal(wire("")), Err(Nobody::Via(String::new())));
        let nobody = v1::Principal { subject: "Core!".into(), ..wire("service") };
        assert!(matches!(principal(nobody), Err(Nobody::Service(_))));
        let odd = v1::Principal { purpose: "everything".into(), ..wire("token") };
        assert_eq!(principal(odd), Err(Nobody::Purpose("everything".into())));
    }

    #[test]
    fn tokens_keep_their_services_and_purpose() {
        for purpose in ["", "ingest", "metrics"] {
            for services in [vec![], vec!["codex".to_owned(), "core".to_owned()]] {
                let token = v1::Principal { purpose: purpose.into(), services, ..wire("token") };
                let back = of(&principal(token.clone()).unwrap());
                assert_eq!((back.purpose, back.services), (token.purpose, token.services));
            }
        }
    }

    #[test]
    fn what_goes_into_logs_is_printable_and_short() {
        let odd =
            v1::Principal { name: "a\n\u{1b}[31mb".into(), request_id: "x".repeat(999), ..wire("user") };
        let principal = principal(odd).unwrap();
        assert_eq!(principal.name, "a[31mb");
        assert_eq!(principal.request_id.len(), LONGEST);
    }
}
