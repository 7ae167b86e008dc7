//! Whom a service needs beside its own files: outside services, and Helm for its log.

use super::shell::edit;
use super::{Finding, Hands, Id, quoted};
use crate::name::ServiceName;

/// An outside service that another one needs: PostgreSQL, Redis, Neo4j.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// Who needs it.
    pub service: ServiceName,
    /// `postgresql`
    pub name: String,
    /// Where it should answer on loopback.
    pub port: u16,
    /// Why it does not.
    pub why: Option<String>,
}

impl Outside {
    /// It does not answer.
    pub fn finding(&self, hands: &Hands) -> Option<Finding> {
        let why = self.why.as_ref()?;
        // Debian's name of the unit.
        let unit = if self.name == "redis" { "redis-server" } else { &self.name };
        Some(
            Finding::warning(Id::OutsideAway, format!("{}, which it needs, does not answer", self.name))
                .seen(format!("127.0.0.1:{}: {why}", self.port))
                .mend(hands.sudo(&format!("systemctl start {unit}")))
                .of(&self.service),
        )
    }
}

/// Where a service sends its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelmUrl {
    /// Which service.
    pub service: ServiceName,
    /// Its directory.
    pub path: String,
    /// HELM_SERVICE_URL in the environment that it would get.
    pub has: String,
    /// Where `helm` of services.json is.
    pub wants: String,
    /// It stands in `.flaskenv`.
    pub in_flaskenv: bool,
    /// The file and line that the service is configured in.
    pub place: (String, u32),
}

impl HelmUrl {
    /// It sends elsewhere.
    pub fn finding(&self) -> Option<Finding> {
        if port(&self.has) == port(&self.wants) {
            return None;
        }
        let file = format!("{}/.flaskenv", self.path);
        let mend = if self.in_flaskenv {
            let line = format!("s|^ *HELM_SERVICE_URL *=.*|HELM_SERVICE_URL={}|", replacement(&self.wants));
            format!("sed -i {} {}", quoted(&line), quoted(&file))
        } else {
            edit(&self.place.0, self.place.1)
        };
        Some(
            Finding::fault(Id::HelmUrl, "it sends its log where Helm is not")
                .seen(format!("HELM_SERVICE_URL is {}, Helm is at {}", self.has, self.wants))
                .mend(mend)
                .of(&self.service),
        )
    }
}

/// As what `sed` puts in a line, between bars.
fn replacement(text: &str) -> String {
    text.replace('\\', r"\\").replace('&', r"\&").replace('|', r"\|")
}

/// The port of an address, by its scheme where none is written.
fn port(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    match authority.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port),
        Some(_) | None => Some(if scheme == "https" { "443" } else { "80" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::testing::name;

    #[test]
    fn addresses_of_helm_are_the_same_by_their_port() {
        let url = |has: &str| HelmUrl {
            service: name("core"),
            path: "/srv/core".into(),
            has: has.into(),
            wants: "http://localhost:5004".into(),
            in_flaskenv: true,
            place: (String::new(), 0),
        };
        assert_eq!(url("http://127.0.0.1:5004/").finding(), None);
        let found = url("http://localhost:5005").finding().unwrap();
        assert!(found.mend.unwrap().starts_with("sed -i 's|^ *HELM_SERVICE_URL"));
        assert_eq!(port("https://a/b"), Some("443"));
        assert_eq!(replacement(r"http://h/?a=1&b=2|3\4"), r"http://h/?a=1\&b=2\|3\\4");
    }
}
