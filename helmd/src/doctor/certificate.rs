//! The certificate that Nexus shows to browsers.

use std::fs;
use std::io;
use std::path::Path;

use helm_core::doctor::{Certificate, CertificateState, Finding, KeyFile};
use helm_core::spec::ServiceSpec;
use helm_core::time::Wall;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::{Decode, Encode};

use super::ecosystem::{public_key, read};
use super::scene::{Scene, secret};

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
    let unreadable = |why: String| (CertificateState::Unreadable(why), None);
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return (CertificateState::Missing, None),
        Err(e) => return unreadable(e.to_string()),
    };
    let Ok(der) = CertificateDer::from_pem_slice(&text) else {
        return unreadable("is no certificate in PEM".to_owned());
    };
    let parsed = match x509_cert::Certificate::from_der(&der) {
        Ok(parsed) => parsed,
        Err(e) => return unreadable(format!("is no certificate: {e}")),
    };
    let tbs = parsed.tbs_certificate();
    let seconds =
        |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let (from, until) = (tbs.validity().not_before, tbs.validity().not_after);
    let now = now.0 / 1_000_000_000;
    let date = until.to_date_time();
    let state = CertificateState::Read {
        days_left: (seconds(until) - now).div_euclid(DAY),
        not_yet: seconds(from) > now,
        until: format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
        own: tbs.issuer() == tbs.subject(),
    };
    (state, tbs.subject_public_key_info().to_der().ok())
}
