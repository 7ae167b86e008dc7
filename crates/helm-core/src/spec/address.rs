//! Addresses: as much of a URL as Helm must understand to probe it and to compare ports.

/// An `http` or `https` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As written, without a `/` at its end.
    pub(super) text: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Checks and takes apart a url; says why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (rest, usual) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (rest, 80),
            (_, Some(rest)) => (rest, 443),
            (None, None) => return Err("must begin with http:// or https://"),
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}".contains(c)) {
            return Err("holds a character that no url may hold");
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        if authority.contains('@') {
            return Err("must not hold a user name or password");
        }
        let (host, port) = split_port(authority)?;
        if host.is_empty() {
            return Err("has no host");
        }
        let text = text.trim_end_matches('/').to_owned();
        Ok(Self { text, host: host.to_owned(), port: port.unwrap_or(usual) })
    }

    /// Is it asked by TLS?
    pub(super) fn is_tls(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Is it on this host, whatever the interface?
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host == "[::1]" || self.host.starts_with("127.")
    }
}

/// `host:port` taken apart; the brackets of an IPv6 address stay.
pub(super) fn split_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    let host_end = authority.rfind(']').map_or(0, |i| i + 1);
    match authority[host_end..].find(':') {
        None => Ok((authority, None)),
        Some(colon) => {
            let (host, port) = authority.split_at(host_end + colon);
            let bad = "has a port that is not a number from 1 to 65535";
            let port: u16 = port[1..].parse().map_err(|_| bad)?;
            if port == 0 { Err(bad) } else { Ok((host, Some(port))) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, host, port, loopback) in [
            ("http://localhost:5000", "localhost", 5000, true),
            ("https://localhost", "localhost", 443, true),
            ("http://127.0.0.1/x?y", "127.0.0.1", 80, true),
            ("http://[::1]:8080/", "[::1]", 8080, true),
            ("https://helm.example.org:8443/a:b", "helm.example.org", 8443, false),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                (&*address.host, address.port, address.is_loopback()),
                (host, port, loopback),
                "{text}"
            );
        }
        for bad in [
            "",
            "localhost:5000",
            "ftp://x",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:99999",
            "http://a:b",
            "http://a b",
            "http://u:p@h",
            "http://a\0",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
