//! What may be asked of the log by whom: a filter is narrowed to what they may see, before anything is looked for.

use std::sync::Arc;

use helm_core::access::{Action, Scope};
use helm_core::ask::Refusal;
use helm_core::name::{AUDIT, ServiceName};
use helm_core::spec;
use helm_proto::reason;
use helm_proto::v1::LogFilter;
use helm_store::entry::Entry;
use helm_store::id::Instance;
use helm_store::postgres::Registered;
use helm_store::query::Filter;

use super::convert::{self, bad};
use crate::rpc::caller::Caller;
use crate::rpc::{Api, Result};
use crate::store::{Opened, in_words};

impl Api {
    /// The open store, and the filter for what may be seen; each service that it names must be configured or have entries.
    pub(super) async fn asked(
        &self,
        caller: &Caller,
        filter: Option<LogFilter>,
    ) -> Result<(Arc<Opened>, Filter)> {
        self.narrowed(&caller.scope(Action::Logs), caller, Action::Logs, filter).await
    }

    /// The same for what only counts: who may not read entries may not find out by counts what is in them.
    pub(super) async fn counted(
        &self,
        caller: &Caller,
        filter: Option<LogFilter>,
    ) -> Result<(Arc<Opened>, Filter)> {
        let logs = caller.scope(Action::Logs);
        let counts = caller.scope(Action::Counts).union(&caller.scope(Action::Scrape));
        if counts == logs {
            return self.narrowed(&logs, caller, Action::Logs, filter).await;
        }
        if filter.as_ref().is_some_and(|filter| !is_plain(filter)) {
            let why = "counts are by service, level and time for those who may not read the log";
            return Err(reason::permission_denied(why));
        }
        self.narrowed(&counts, caller, Action::Counts, filter).await
    }

    async fn narrowed(
        &self,
        scope: &Scope,
        caller: &Caller,
        action: Action,
        filter: Option<LogFilter>,
    ) -> Result<(Arc<Opened>, Filter)> {
        let hosts = filter.as_ref().map(|filter| filter.hosts.clone()).unwrap_or_default();
        let mut filter = convert::filter(filter)?;
        let asked = filter.services.clone();
        if asked.iter().any(|name| name == AUDIT) {
            caller.may(Action::Audit, None)?;
        }
        filter.services = scope.narrow(filter.services).or_else(|outside| {
            caller.may(action, Some(&outside.0))?;
            Err(reason::permission_denied("nothing of the log may be seen"))
        })?;
        let opened = self.opened().await?;
        filter.instances = instances(&opened, hosts).await?;
        let manifest = opened.writer.live().manifest();
        for name in &asked {
            let kept = || manifest.values().any(|p| p.contents.services.contains_key(name));
            if name == AUDIT || self.specs.iter().any(|spec| spec.name.as_str() == name) || kept() {
                continue;
            }
            if let Some(waits) = self.store.unstored() {
                let why = format!("the log has no entry of a service `{name}` so far: {waits}");
                return Err(reason::store_away(&why));
            }
            let configured = self.specs.iter().map(|spec| spec.name.as_str());
            let stored = manifest.values().flat_map(|p| p.contents.services.keys().map(String::as_str));
            let nearest =
                spec::nearest(name, configured.chain(stored)).and_then(|n| ServiceName::new(n).ok());
            return Err(reason::refused(&Refusal::UnknownService { name: name.clone(), nearest }));
        }
        Ok((opened, filter))
    }
}

/// The audit trail is not for everybody who may read the log.
pub(super) fn is_shown(caller: &Caller, entry: &Entry) -> bool {
    entry.body.service != AUDIT || caller.scope(Action::Audit) == Scope::All
}

/// It names services, a level and a range of time at most.
fn is_plain(filter: &LogFilter) -> bool {
    let LogFilter {
        services: _,
        level: _,
        level_exact: _,
        since: _,
        until: _,
        twins: _,
        trace_id,
        user_id,
        context,
        texts,
        source,
        hosts,
    } = filter;
    let words = [trace_id, user_id, source];
    context.is_empty() && texts.is_empty() && hosts.is_empty() && words.iter().all(|word| word.is_empty())
}

/// The helmds that are meant by names of hosts, paths of homes or numbers.
async fn instances(opened: &Opened, hosts: Vec<String>) -> Result<Vec<Instance>> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let away = |e| reason::store_away(&in_words(&e));
    let known = match &opened.postgres {
        Some(postgres) => postgres.registered().await.map_err(away)?,
        None => Vec::new(),
    };
    let mut instances = Vec::new();
    for name in hosts {
        let named = |all: &&Registered| all.host == name || all.home == name;
        let before = instances.len();
        instances.extend(known.iter().filter(named).map(|registered| registered.instance));
        let number = name.parse().ok().map(Instance);
        instances.extend(number.filter(|n| n.0 == 0 || known.iter().any(|all| all.instance == *n)));
        if instances.len() == before {
            return bad(format!(
                "no helmd of `{name}` shares this database: `helmctl db status` names those that do"
            ));
        }
    }
    Ok(instances)
}
