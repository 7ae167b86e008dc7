//! Section `[web]` of `instance/helm.conf`: what helm-web asks helmd for.

use super::address::{Address, split_port};
use super::fault::{Doc, Severity, quoted};
use super::plain::Whole;
use super::shape::{At, Reader, Shape, fields};
use super::tree::Node;

/// Settings of helm-web, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// Names in `Host` beside those of this host itself, in lower case; with a port where only that one is meant.
    pub allowed_hosts: Vec<String>,
    /// Where people find Helm, behind a proxy of their own: without a `/` at its end.
    pub public_url: Option<String>,
    /// Users of this host whose direct requests count like those of Helm's own user.
    pub trusted_uids: Vec<u32>,
    /// Direct requests may send log entries without a token.
    pub open_ingest: bool,
    /// What `X-Forwarded-Prefix` may say.
    pub prefixes: Vec<String>,
}

impl Default for WebSettings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            public_url: None,
            trusted_uids: Vec::new(),
            open_ingest: true,
            prefixes: vec!["/helm".to_owned()],
        }
    }
}

/// Uids beyond it are none: the last one stands for "nobody is named".
const HIGHEST_UID: u64 = 0xffff_fffe;

fields! {
    /// Section `[web]`.
    RawWeb {
        /// Host names under which helm-web is asked, beside localhost. Default: none.
        allowed_hosts: Vec<At<String>>,
        /// Where people find Helm behind a proxy of their own. Default: as they asked.
        public_url: String,
        /// Users whose direct requests count like those of Helm's own. Default: none.
        trusted_uids: Vec<At<Whole<0, HIGHEST_UID>>>,
        /// Direct requests may send log entries without a token. Default: yes.
        open_ingest: bool,
        /// What `X-Forwarded-Prefix` may say. Default: `/helm`.
        prefixes: Vec<At<String>>,
    }
}

/// Reads the section; what is missing or bad has its default.
pub(super) fn read(doc: &mut Doc<'_>, section: &str, node: &Node) -> WebSettings {
    let mut web = WebSettings::default();
    let Some(raw) = RawWeb::read(node, &mut Reader::new(doc, section, Severity::Error)) else { return web };
    let mut each = |field: &str, given: Vec<At<String>>, check: Check| -> Vec<String> {
        let checked = given.into_iter().filter_map(|At { at, it }| match check(&it) {
            Ok(checked) => Some(checked),
            Err((why, hint)) => {
                doc.error(at, &format!("{section}.{field}"), format!("{} {why}", quoted(&it)), hint);
                None
            }
        });
        checked.collect()
    };
    if let Some(hosts) = raw.allowed_hosts {
        web.allowed_hosts = each("allowed_hosts", hosts.it, host);
    }
    if let Some(prefixes) = raw.prefixes {
        web.prefixes = each("prefixes", prefixes.it, prefix);
    }
    if let Some(url) = raw.public_url {
        web.public_url = each("public_url", vec![url], public_url).pop();
    }
    if let Some(uids) = raw.trusted_uids {
        web.trusted_uids = uids.it.iter().map(|uid| uid.it.into_u32()).collect();
    }
    web.open_ingest = raw.open_ingest.map_or(web.open_ingest, |yes| yes.it);
    web
}

/// What is meant, or why it is nothing, and how it is written.
type Check = fn(&str) -> Result<String, (&'static str, &'static str)>;

fn host(text: &str) -> Result<String, (&'static str, &'static str)> {
    const HINT: &str = "like helm.example.org, or helm.example.org:8443";
    let (name, _) = split_port(text).map_err(|why| (why, HINT))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let six = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == ':');
    let good = match name.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(six),
        None => !name.is_empty() && name.len() <= 253 && name.chars().all(plain),
    };
    if good { Ok(text.to_ascii_lowercase()) } else { Err(("is no host name", HINT)) }
}

fn prefix(text: &str) -> Result<String, (&'static str, &'static str)> {
    let plain = |part: &str| {
        let known = part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~".contains(c));
        known && !matches!(part, "" | "." | "..")
    };
    let good = text.len() <= 200 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain));
    if good { Ok(text.to_owned()) } else { Err(("is no prefix of a path", "like /helm")) }
}

fn public_url(text: &str) -> Result<String, (&'static str, &'static str)> {
    const HINT: &str = "like https://helm.example.org, or https://example.org/helm";
    if text.contains(['?', '#']) {
        return Err(("must not hold a query or a fragment", HINT));
    }
    Address::parse(text).map(|address| address.text).map_err(|why| (why, HINT))
}
