//! By which service a request came, from what it carries: whoever takes that one away cuts the asker off.

use axum::http::HeaderMap;
use helm_proto::v1::ServiceInfo;

use crate::auth::direct::{host, is_passed_on, port_of};

/// What puts our prefix before our paths where no port says who it was: another proxy stands before it (contract 2.3).
const GATEWAY: &str = "nexus";

/// The service that passed the request on, if one did: the one at whose port the browser asked, else the gateway. `prefix`: a listed
/// one that the request came by, or empty.
#[must_use]
pub(super) fn through<'a>(
    headers: &HeaderMap,
    prefix: &str,
    services: &'a [ServiceInfo],
) -> Option<&'a ServiceInfo> {
    if !is_passed_on(headers) {
        return None;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let default = if text("x-forwarded-proto") == Some("https") { 443 } else { 80 };
    let asked = text("x-forwarded-host").or_else(|| host(headers)).map(|host| port_of(host, default));
    let at_port = services.iter().find(|service| service.port.is_some() && service.port == asked.flatten());
    let gateway = || services.iter().find(|service| !prefix.is_empty() && service.name == GATEWAY);
    at_port.or_else(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, port: u32) -> ServiceInfo {
        ServiceInfo { name: name.into(), port: Some(port), ..ServiceInfo::default() }
    }

    #[test]
    fn whoever_the_browser_asked_passed_it_on() {
        let services = [service("nexus", 443), service("site", 8443), service("helm", 5004)];
        for (headers, prefix, name) in [
            (&[("host", "localhost:5004")][..], "", None),
            (&[("x-forwarded-host", "helm.example"), ("x-forwarded-proto", "https")], "/helm", Some("nexus")),
            (&[("x-forwarded-host", "localhost:8443")], "", Some("site")),
            (&[("x-forwarded-host", "localhost:9999")], "/helm", Some("nexus")),
            (&[("x-forwarded-host", "localhost:9999")], "", None),
            (&[("x-forwarded-host", "[::1]:8443")], "", Some("site")),
            (&[("x-forwarded-host", "a:b:c")], "", None),
        ] {
            let mut map = HeaderMap::new();
            for (key, value) in headers {
                map.insert(*key, value.parse().unwrap());
            }
            let found = through(&map, prefix, &services).map(|service| service.name.as_str());
            assert_eq!(found, name, "{headers:?} {prefix}");
        }
    }
}
