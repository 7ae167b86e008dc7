//! What a certificate says of itself: read from its file, no key needed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use helm_core::spec::ServiceSpec;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// Longest file that is read: chains of certificates have some KB.
const LONGEST: u64 = 1 << 20;

/// What stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// "C=US, O=HiveMatrix, CN=localhost"
    pub subject: String,
    /// Likewise.
    pub issuer: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Host names and addresses that it is good for.
    pub names: Vec<String>,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// The public key that it is for (DER), where it can be written.
    pub public_key: Option<Vec<u8>>,
}

/// Where a service with an https address has its certificate, if it is one: where Nexus looks for its own.
#[must_use]
pub fn place(spec: &ServiceSpec) -> Option<PathBuf> {
    let secure = spec.port == Some(443) || spec.url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let dir = Path::new(&spec.path);
    (secure && spec.program.is_some() && dir.is_dir()).then(|| dir.join("certs/nexus.crt"))
}

/// The first certificate of this file; `None`: there is no such file. Blocking.
///
/// # Errors
/// It cannot be read, or holds none: why, in words.
pub fn read(path: &Path) -> Result<Option<Facts>, String> {
    match bytes(path) {
        Ok(text) => parse(&text).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe of that name would keep whoever opens it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8]) -> Result<Facts, String> {
    let der = CertificateDer::from_pem_slice(text).map_err(|_| "is no certificate in PEM".to_owned())?;
    let parsed = x509_cert::Certificate::from_der(&der).map_err(|e| format!("is no certificate: {e}"))?;
    let told = parsed.tbs_certificate();
    let seconds =
        |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let alternatives = told.get_extension::<SubjectAltName>();
    let alternatives = alternatives.map_err(|e| format!("its names cannot be read: {e}"))?;
    let names = alternatives.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    Ok(Facts {
        subject: in_words(told.subject()),
        issuer: in_words(told.issuer()),
        not_before: seconds(told.validity().not_before),
        not_after: seconds(told.validity().not_after),
        names: names.iter().filter_map(name).collect(),
        self_signed: told.issuer() == told.subject(),
        public_key: told.subject_public_key_info().to_der().ok(),
    })
}

/// In the order in which openssl tells it.
fn in_words(name: &Name) -> String {
    name.iter_rdn().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// As browsers compare it; other kinds of names are not theirs.
fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let four = <[u8; 4]>::try_from(bytes.as_bytes()).map(|four| Ipv4Addr::from(four).to_string());
            let six = <[u8; 16]>::try_from(bytes.as_bytes()).map(|six| Ipv6Addr::from(six).to_string());
            four.or(six).ok()
        }
        GeneralName::OtherName(_)
        | GeneralName::Rfc822Name(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::UniformResourceIdentifier(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_certificate_says_whose_it_is_for_what_and_until_when() {
        let dir = tempfile::tempdir().unwrap();
        let (path, key) = (dir.path().join("nexus.crt"), dir.path().join("nexus.key"));
        assert_eq!(read(&path), Ok(None));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10"])
            .args(["-subj", "/C=US/O=HiveMatrix/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,DNS:hive.example,IP:127.0.0.1,IP:::1"])
            .args([std::ffi::OsStr::new("-keyout"), key.as_os_str(), "-out".as_ref(), path.as_os_str()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let facts = read(&path).unwrap().unwrap();
        assert_eq!(facts.subject, "C=US, O=HiveMatrix, CN=localhost");
        assert_eq!(facts.names, ["localhost", "hive.example", "127.0.0.1", "::1"]);
        assert!(facts.self_signed && facts.issuer == facts.subject);
        assert_eq!(facts.not_after - facts.not_before, 10 * 86_400);
        std::fs::write(&path, "no certificate").unwrap();
        assert_eq!(read(&path), Err("is no certificate in PEM".to_owned()));
        assert_eq!(read(dir.path()), Err("is no file".to_owned()));
    }
}
