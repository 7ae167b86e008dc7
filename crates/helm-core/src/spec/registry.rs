//! `apps_registry.json`: what the services of an ecosystem are, and what they need by default.
//!
//! The seed's keys stand as they are; Helm's own stand in an object `helm` beside them. Names of services are data here
//! and nowhere in the code.

use std::collections::BTreeMap;

use super::fault::{Doc, Severity};
use super::group::{Edge, Edges, Named, Texts, Variables};
use super::plain::Whole;
use super::shape::{At, Reader, Shape, fields};
use super::table::Port;
use super::{Condition, tree};

fields! {
    /// The registry of an ecosystem.
    RawRegistry {
        /// Apps that every installation has.
        core_apps: Named<RawApp>,
        /// Apps that may be installed.
        default_apps: Named<RawApp>,
        /// What apps need and Helm may or may not run.
        system_dependencies: Named<RawApp>,
        /// Defaults of every app.
        helm: RawDefaults,
    }
}

fields! {
    /// An app, or a system dependency. Helm uses `port`, `dependencies` and `helm`.
    RawApp {
        /// For people.
        name: String,
        /// For people.
        description: String,
        /// Where it comes from.
        git_url: String,
        /// Its usual port; of a system dependency the one that is checked before a start.
        port: Port,
        /// An installation cannot do without.
        required: bool,
        /// Apps and system dependencies that it needs.
        dependencies: Vec<At<String>>,
        /// Order of installation.
        install_order: Whole<0, 1_000_000>,
        /// Shown to billing and admins only.
        billing_or_admin_only: bool,
        /// Version of a system dependency.
        version: String,
        /// Where a system dependency comes from.
        download_url: String,
        /// Debian package of a system dependency.
        apt_package: String,
        /// Script that installs a system dependency.
        install_script: String,
        /// What Helm needs to know about it.
        helm: RawDefaults,
    }
}

fields! {
    /// Defaults for a service, beneath what its own files say. In values `${name}`, `${port}` and `${url}` are those of the
    /// service, `${core.url}` and `${core.port}` those of another one; a variable that cannot be filled in is left out.
    RawDefaults {
        /// Dependencies beside `dependencies`, in the form of services.json.
        depends_on: Edges,
        /// Variables.
        env: Variables,
        /// Variables in production only.
        env_production: Variables,
        /// Variables in development only.
        env_development: Variables,
        /// Variables that are `true` in development and `false` in production, above everything else.
        mode_flags: Vec<At<String>>,
        /// Path of the health check beneath the url, instead of `/health`; more paths are tried in order.
        health: Texts,
    }
}

/// The registry, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Registry {
    known: BTreeMap<String, Known>,
    common: RawDefaults,
    /// It is there, and could not be read: nothing may be concluded from what it does not name.
    pub(super) unread: bool,
}

/// One app or system dependency.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) edges: Vec<Edge>,
    pub(super) port: Option<u16>,
    pub(super) billing_or_admin_only: Option<bool>,
    pub(super) defaults: RawDefaults,
    is_app: bool,
}

impl Registry {
    pub(super) fn read(doc: &mut Doc<'_>) -> Self {
        let unread = || Self { unread: true, ..Self::default() };
        let Some(node) = tree::parse(doc) else { return unread() };
        // Others write this file too: a key that Helm does not know is worth a word, but not a refusal.
        let mut reader = Reader::new(doc, "registry", Severity::Warning);
        let Some(raw) = RawRegistry::read(&node, &mut reader) else { return unread() };
        let mut registry = Self::default();
        let apps = [(raw.core_apps, true), (raw.default_apps, true), (raw.system_dependencies, false)];
        for (group, is_app) in apps {
            for (name, app) in group.map(|g| g.it.0).unwrap_or_default() {
                check_templates(doc, &name.it, &app.it.helm);
                registry.known.insert(name.it, known(app.it, is_app));
            }
        }
        check_templates(doc, "helm", &raw.helm);
        registry.common = raw.helm.map(|h| h.it).unwrap_or_default();
        registry
    }

    /// What is known about a service of this name; if nothing, about its `type`.
    pub(super) fn get(&self, name: &str, kind: Option<&str>) -> Option<&Known> {
        self.known.get(name).or_else(|| self.known.get(kind?))
    }

    /// The port of an outside service of this name.
    pub(super) fn outside(&self, name: &str) -> Option<u16> {
        self.known.get(name).filter(|k| !k.is_app)?.port
    }

    /// All names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.known.keys().map(String::as_str)
    }

    /// The defaults of a service, those of every app first.
    pub(super) fn defaults<'a>(&'a self, known: Option<&'a Known>) -> impl Iterator<Item = &'a RawDefaults> {
        let common = known.filter(|k| k.is_app).map(|_| &self.common);
        common.into_iter().chain(known.map(|k| &k.defaults))
    }
}

fn known(app: RawApp, is_app: bool) -> Known {
    let dependencies = app.dependencies.map(|d| d.it).unwrap_or_default();
    let plain =
        dependencies.into_iter().map(|d| Edge { at: d.at, name: d.it, condition: Condition::default() });
    let defaults = app.helm.map(|h| h.it).unwrap_or_default();
    let own: Vec<Edge> = defaults.depends_on.as_ref().map(|e| e.it.0.clone()).unwrap_or_default();
    // An edge with a condition says more than the same one of the seed's list.
    let plain = plain.filter(|p| own.iter().all(|o| o.name != p.name)).collect::<Vec<_>>();
    Known {
        edges: plain.into_iter().chain(own).collect(),
        port: app.port.and_then(|p| u16::try_from(p.it.0).ok()),
        billing_or_admin_only: app.billing_or_admin_only.map(|b| b.it),
        defaults,
        is_app,
    }
}

fn check_templates(doc: &mut Doc<'_>, name: &str, defaults: &Option<At<RawDefaults>>) {
    let Some(defaults) = defaults else { return };
    let groups = [&defaults.it.env, &defaults.it.env_production, &defaults.it.env_development];
    for (variable, value) in groups.into_iter().flatten().flat_map(|g| &g.it.0) {
        let unknown = fill(&value.it, |key| is_key(key).then(String::new)).is_none();
        if unknown {
            let field = format!("registry.{name}.helm.{variable}");
            doc.error(
                value.at,
                &field,
                "holds a `${…}` that Helm cannot fill in",
                "known: name, port, url, NAME.port, NAME.url",
            );
        }
    }
}

fn is_key(key: &str) -> bool {
    let field = key.split_once('.').map_or(key, |(_, field)| field);
    field == "url" || field == "port" || key == "name"
}

/// `template` with each `${key}` replaced; `None` if one of them has no value.
pub(super) fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let (key, behind) = after.split_once('}')?;
        filled.push_str(before);
        filled.push_str(&value(key)?);
        rest = behind;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let value = |key: &str| (key == "port").then(|| "5000".to_owned());
        assert_eq!(fill("a${port}b${port}", value).as_deref(), Some("a5000b5000"));
        assert_eq!(fill("$port $", value).as_deref(), Some("$port $"));
        assert_eq!(fill("${url}", value), None);
        assert_eq!(fill("${port", value), None);
        for good in ["name", "url", "core.url", "core.port"] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "path", "core.name", "a.b.url"] {
            assert!(!is_key(bad), "{bad}");
        }
    }
}
