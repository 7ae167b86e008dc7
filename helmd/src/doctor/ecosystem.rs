//! What the services of HiveMatrix trip over, each by its name: Keycloak, Core, Nexus.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use helm_core::doctor::{Finding, Java, KeyFile, KeyPair, REALM, Realm};
use helm_core::spec::{Program, ServiceSpec};
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

use super::scene::{Scene, secret};
use super::{Check, certificate};
use crate::keeper::launch;

/// For one line of an answer on loopback.
const ANSWER_WITHIN: Duration = Duration::from_millis(700);

/// The checks that only a service of this name has.
pub(super) fn checks(spec: &Arc<ServiceSpec>) -> Vec<Check> {
    let python = matches!(spec.program, Some(Program::Python { .. }));
    match spec.name.as_str() {
        "keycloak" => vec![Check::of("Java", spec, java), Check::of("realm", spec, realm)],
        "core" if python => vec![Check::of("keys", spec, keys)],
        "nexus" if python => vec![Check::of("certificate", spec, certificate::look)],
        _ => Vec::new(),
    }
}

/// `kc.sh` takes JAVA_HOME before the PATH.
fn java(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    if !Path::new(&spec.path).is_dir() {
        return Vec::new();
    }
    let env = scene.environment(spec);
    let home = env.get("JAVA_HOME").filter(|home| !home.is_empty());
    let (program, looked) = match home {
        Some(home) => (
            Some(Path::new(home).join("bin/java")).filter(|java| java.is_file()),
            format!("JAVA_HOME ({home})"),
        ),
        None => (launch::in_path("java", &env).ok(), "the PATH that it would get".to_owned()),
    };
    let found = program.map(|path| (path.display().to_string(), version(&path)));
    Java { service: spec.name.clone(), found, looked }.finding(&scene.hands).into_iter().collect()
}

/// By the file `release` that every JDK and JRE has: `JAVA_VERSION="17.0.9"`, `"1.8.0_392"`.
fn version(java: &Path) -> Option<u32> {
    let real = java.canonicalize().ok()?;
    let text = fs::read_to_string(real.parent()?.parent()?.join("release")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?.trim_matches('"');
    let mut parts = line.split(['.', '_', '+', '-']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        version => Some(version),
    }
}

/// Whether a Keycloak that runs has the realm that Core asks for.
fn realm(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let needed = scene.services().any(|other| other.name.as_str() == "core");
    let (Some(port), true, true) = (spec.port, needed, scene.daemon.runs(&spec.name)) else {
        return Vec::new();
    };
    let missing = status(port, &format!("/realms/{REALM}")) == Some(404);
    let url = format!("http://localhost:{port}");
    // A Keycloak that is still coming up knows no realm at all.
    let missing = missing && status(port, "/realms/master") == Some(200);
    let realm = Realm { service: spec.name.clone(), path: spec.path.clone(), url, missing };
    realm.finding().into_iter().collect()
}

/// The status of one answer on loopback.
fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
    stream.set_write_timeout(Some(ANSWER_WITHIN)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.trim().parse().ok()
}

/// The keys that Core signs with.
fn keys(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let env = scene.environment(spec);
    let private = place(spec, &env, "JWT_PRIVATE_KEY_FILE", "keys/jwt_private.pem");
    let public = place(spec, &env, "JWT_PUBLIC_KEY_FILE", "keys/jwt_public.pem");
    if !Path::new(&spec.path).is_dir() {
        return Vec::new();
    }
    let own = read(scene, &private, |text| PrivateKeyDer::from_pem_slice(text).ok());
    let shown = read(scene, &public, |text| SubjectPublicKeyInfoDer::from_pem_slice(text).ok());
    let matching = match (&own, &shown) {
        (Ok(own), Ok(shown)) => public_key(own).map(|public| public == shown.as_ref()),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
    };
    let pair = KeyPair {
        service: spec.name.clone(),
        private: (private.display().to_string(), own.err().unwrap_or(KeyFile::Good)),
        public: (public.display().to_string(), shown.err().unwrap_or(KeyFile::Good)),
        matching,
        owner: scene.owner.name.clone(),
    };
    let open = secret(&private, Some(&spec.name)).and_then(|secret| secret.finding());
    pair.finding(&scene.hands).into_iter().chain(open).collect()
}

/// A path that a variable names, relative to the directory of the service.
fn place(spec: &ServiceSpec, env: &BTreeMap<String, String>, variable: &str, usual: &str) -> PathBuf {
    Path::new(&spec.path).join(env.get(variable).map_or(usual, String::as_str))
}

/// The public key that belongs to a private one, in DER; `None`: of a kind that cannot be read here.
pub(super) fn public_key(private: &PrivateKeyDer<'_>) -> Option<Vec<u8>> {
    Some(any_supported_type(private).ok()?.public_key()?.to_vec())
}

/// What a file in PEM holds, or what is in its place.
pub(super) fn read<T>(
    scene: &Scene,
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, KeyFile> {
    if fs::metadata(path).is_ok_and(|meta| !scene.owner.may_read(path, &meta)) {
        return Err(KeyFile::Denied);
    }
    match fs::read(path) {
        Ok(text) if is_encrypted(&text) => Err(KeyFile::Encrypted),
        Ok(text) => parse(&text).ok_or_else(|| KeyFile::Unusable("is no key in PEM".to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(KeyFile::Missing),
        Err(e) if e.kind() == ErrorKind::PermissionDenied && !scene.is_owner() => Err(KeyFile::Closed),
        Err(e) => Err(KeyFile::Unusable(e.to_string())),
    }
}

/// Both ways in which OpenSSL writes one (PKCS #8, and its own from before).
fn is_encrypted(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read_from_its_release_file() {
        let dir = tempfile::tempdir().unwrap();
        let java = dir.path().join("bin/java");
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(&java, "").unwrap();
        assert_eq!(version(&java), None);
        for (text, version) in [("17.0.9", 17), ("1.8.0_392", 8), ("21", 21)] {
            fs::write(dir.path().join("release"), format!("X=1\nJAVA_VERSION=\"{text}\"\n")).unwrap();
            assert_eq!(super::version(&java), Some(version), "{text}");
        }
    }
}
