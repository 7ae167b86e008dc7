//! The certificate that Nexus shows to browsers.

use std::path::Path;

use helm_core::doctor::{Certificate, CertificateState, Finding, KeyFile};
use helm_core::spec::ServiceSpec;
use helm_core::time::Wall;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::ecosystem::{public_key, read};
use super::scene::{Scene, secret};
use crate::certificate as facts;

const DAY: i64 = 86_400;

pub(super) fn look(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let secure = spec.port == Some(443) || spec.url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let dir = Path::new(&spec.path);
    if !secure || !dir.is_dir() {
        return Vec::new();
    }
    let (path, key_path) = (dir.join("certs/nexus.crt"), dir.join("certs/nexus.key"));
    let (state, public) = certificate(&path, scene.now);
    let key = read(scene, &key_path, |text| PrivateKeyDer::from_pem_slice(text).ok());
    let matching = match (&public, &key) {
        (Some(public), Ok(key)) => public_key(key).map(|own| own == *public),
        (Some(_) | None, Ok(_) | Err(_)) => None,
    };
    let certificate = Certificate {
        service: spec.name.clone(),
        path: path.display().to_string(),
        state,
        key_path: key_path.display().to_string(),
        key: key.err().unwrap_or(KeyFile::Good),
        matching,
        runs: scene.daemon.runs(&spec.name),
        owner: scene.owner.name.clone(),
    };
    let open = secret(&key_path, Some(&spec.name)).and_then(|secret| secret.finding());
    certificate.finding(&scene.hands).into_iter().chain(open).collect()
}

/// What is there, and the public key that it is for.
fn certificate(path: &Path, now: Wall) -> (CertificateState, Option<Vec<u8>>) {
    let facts = match facts::read(path) {
        Ok(Some(facts)) => facts,
        Ok(None) => return (CertificateState::Missing, None),
        Err(why) => return (CertificateState::Unreadable(why), None),
    };
    let now = now.0 / 1_000_000_000;
    let state = CertificateState::Read {
        days_left: (facts.not_after - now).div_euclid(DAY),
        not_yet: facts.not_before > now,
        until: date(facts.not_after),
        own: facts.self_signed,
    };
    (state, facts.public_key)
}

/// "2027-01-31", in UTC.
fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|e| e.to_string(), |at| at.strftime("%F").to_string())
}
