//! The simplified `services.json` that each service's directory receives.

use super::Config;
use super::json::Json;
use crate::name::ServiceName;

/// What the directory of `service` receives before its start (contract 3.3, 7.6). Every service gets the same: the flags,
/// which only Nexus reads, are harmless to the others. Entries without a url are left out; the order is kept, because it
/// is the order of Nexus's side panel.
pub fn own_services_json(config: &Config, _service: &ServiceName) -> String {
    let entries = config.directory.iter().filter_map(|entry| {
        let mut members = vec![("url", Json::text(entry.url.as_ref()?.as_str()))];
        members.extend(entry.port.map(|port| ("port", Json::number(port))));
        members.push(("visible", Json::Bool(entry.visible)));
        members.push(("admin_only", Json::Bool(entry.admin_only)));
        members.push(("billing_or_admin_only", Json::Bool(entry.billing_or_admin_only)));
        Some((entry.name.as_str(), Json::map(members)))
    });
    Json::map(entries).pretty()
}
