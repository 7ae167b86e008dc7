//! The service `helm` of the ecosystem is helm-web, however its entry was written: as the Python Helm described itself
//! (contract 3.3), or with an address alone.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::Address;
use super::program::python_field;
use super::resolve::{Entry, Resolver};
use super::{Program, ServiceSpec};

/// What the ecosystem calls Helm itself.
const NAME: &str = "helm";
/// Its port, where the entry names none.
const PORT: u16 = 5004;
/// The program, which lies beside helmd.
pub(super) const PROGRAM: &str = "helm-web";

impl Entry {
    /// The port at which helm-web is to listen, if that is what the entry means: one with a command of its own is taken as it
    /// is written, and a url of another host alone says where somebody else runs it.
    pub(super) fn helm_web(&self) -> Option<u16> {
        if self.name.as_str() != NAME || self.has_command() {
            return None;
        }
        let here = self.url().is_none_or(Address::is_loopback);
        let port = self.port().filter(|_| here || self.is_python_helm());
        port.or_else(|| self.is_python_helm().then_some(PORT))
    }

    /// It says how the Python Helm is started.
    fn is_python_helm(&self) -> bool {
        self.raw.path.is_some() || self.raw.kind.is_some() || python_field(&self.raw).is_some()
    }
}

impl Resolver<'_, '_> {
    /// Told where the entry says something else than what happens.
    pub(super) fn warn_of_python_helm(&mut self, entry: &Entry) {
        if entry.is_python_helm() {
            let message =
                "is Helm as it was in Python; helm-web, which lies beside helmd, is run in its place";
            let hint = "take `path`, `python_bin`, `run_script` and `type` away";
            self.doc.warn(entry.at, &format!("services.{}", entry.name), message, hint);
        }
        if let Some(url) = entry.url().filter(|url| url.is_loopback() && url.is_tls()) {
            let message = format!("`{}` is where nobody answers: helm-web speaks plain HTTP", url.text);
            let hint = "write http:// here; for https a proxy stands before it, as Nexus does";
            self.doc.warn(entry.at, &entry.place("url"), &message, hint);
        }
    }

    /// It runs in the home, and for it, wherever the Python Helm was.
    pub(super) fn place_helm_web(&self, spec: &mut ServiceSpec, port: u16) {
        self.home.clone_into(&mut spec.path);
        spec.port = Some(port);
        // Both loopback addresses, as people and services write either.
        spec.listen = vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()];
        spec.env.insert("HELM_HOME".to_owned(), self.home.to_owned());
    }
}

impl ServiceSpec {
    /// It is helm-web as the service `helm`.
    pub fn is_helm_web(&self) -> bool {
        matches!(self.program, Some(Program::HelmWeb { .. }))
    }
}

/// Both loopback addresses, as people and services write either.
pub(super) fn argv(port: u16) -> Vec<String> {
    let addresses = ["127.0.0.1", "[::1]"].map(|host| format!("{host}:{port}"));
    let listen = addresses.into_iter().flat_map(|address| ["--listen".to_owned(), address]);
    std::iter::once(PROGRAM.to_owned()).chain(listen).collect()
}
