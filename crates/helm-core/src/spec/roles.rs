//! Section `[roles]` of `instance/helm.conf`: the services that each role sees and operates.

use super::fault::{Doc, Severity, nearest, quoted};
use super::shape::{At, Reader, Shape, fields};
use super::tree::Node;
use crate::access::{Rights, Roles, Scope};
use crate::name::ServiceName;

/// What stands for every service.
const EVERY: &str = "*";

fields! {
    /// Section `[roles]`.
    RawRoles {
        /// Services that a technician sees; `*`: all. Default: `*`.
        technician: Vec<At<String>>,
        /// Services that a technician starts, stops and restarts. Default: none.
        technician_operate: Vec<At<String>> = "technician.operate",
        /// Services whose status and log billing sees. Default: none.
        billing: Vec<At<String>>,
        /// Services that billing starts, stops and restarts. Default: none.
        billing_operate: Vec<At<String>> = "billing.operate",
        /// Services whose name and state a client sees. Default: none.
        client: Vec<At<String>>,
        /// Services that a client starts, stops and restarts. Default: none.
        client_operate: Vec<At<String>> = "client.operate",
    }
}

/// Reads the section. `configured`: to look names up in.
pub(super) fn read(
    doc: &mut Doc<'_>,
    section: &str,
    node: &Node,
    configured: Option<&[&ServiceName]>,
) -> Roles {
    let usual = Roles::default();
    let Some(raw) = RawRoles::read(node, &mut Reader::new(doc, section, Severity::Error)) else {
        return usual;
    };
    let mut listed = |key: &str, given: Option<At<Vec<At<String>>>>, usual: Scope| match given {
        Some(given) => scope(doc, &format!("{section}.{key}"), given, configured),
        None => usual,
    };
    Roles {
        technician: Rights {
            sees: listed("technician", raw.technician, usual.technician.sees),
            operates: listed("technician.operate", raw.technician_operate, usual.technician.operates),
        },
        billing: Rights {
            sees: listed("billing", raw.billing, usual.billing.sees),
            operates: listed("billing.operate", raw.billing_operate, usual.billing.operates),
        },
        client: Rights {
            sees: listed("client", raw.client, usual.client.sees),
            operates: listed("client.operate", raw.client_operate, usual.client.operates),
        },
    }
}

fn scope(
    doc: &mut Doc<'_>,
    field: &str,
    given: At<Vec<At<String>>>,
    configured: Option<&[&ServiceName]>,
) -> Scope {
    let At { at, it: names } = given;
    if names.iter().any(|name| name.it == EVERY) {
        if names.len() > 1 {
            doc.error(at, field, "names services beside `*`, which is all of them", "leave one of both out");
        }
        return Scope::All;
    }
    let mut scope = Vec::with_capacity(names.len());
    for name in names {
        match ServiceName::new(&name.it) {
            Ok(name) => {
                look_up(doc, (at, field), &name, configured);
                scope.push(name);
            }
            Err(_) => {
                let message = format!("{} is no name of a service", quoted(&name.it));
                doc.error(at, field, message, "names of services, parted by commas, or `*` for all of them");
            }
        }
    }
    scope.into_iter().collect()
}

/// What is not configured may have entries in the log: it is a warning.
fn look_up(
    doc: &mut Doc<'_>,
    (at, field): (usize, &str),
    name: &ServiceName,
    configured: Option<&[&ServiceName]>,
) {
    let Some(configured) = configured.filter(|all| !all.contains(&name)) else { return };
    let hint = match nearest(name.as_str(), configured.iter().map(|name| name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "only its log can be meant".to_owned(),
    };
    doc.warn(at, field, format!("{} is not configured", quoted(name.as_str())), hint);
}
