//! The audit trail, read.

use helm_core::name::AUDIT;
use helm_proto::v1::{AuditRequest, AuditResponse};
use helm_store::query::{Cursor, Filter, Page};

use super::convert::{self, bad};
use super::{LIMIT, READ_WITHIN, fitting, read_error};
use crate::audit;
use crate::rpc::{Api, Result};

impl Api {
    /// The audit trail, newest first.
    pub(in crate::rpc) async fn trail_page(&self, request: AuditRequest) -> Result<AuditResponse> {
        let AuditRequest { limit, cursor, since, until } = request;
        if limit > LIMIT.1 {
            return bad(format!("a page has at most {} entries, {limit} were asked for", LIMIT.1));
        }
        let limit = if limit == 0 { LIMIT.0 } else { limit };
        let after = convert::cursor(&cursor)?;
        let opened = self.opened().await?;
        // Helmds that share a database have a trail each.
        let instances = vec![opened.engine.instance()];
        let services = vec![AUDIT.to_owned()];
        let filter = Filter { services, since, until, instances, ..Filter::default() };
        let page = Page { filter, order: convert::order(false), after, limit };
        let read = opened.reader.page(&page, READ_WITHIN).await;
        let mut found = read.map_err(|e| read_error(&self.store, &e))?;
        let fits = fitting(&found.entries);
        if fits < found.entries.len() {
            found.entries.truncate(fits);
            found.next = found.entries.last().map(Cursor::of);
        }
        let waits = self.trail.waiting();
        let note = format!(
            "some of what came last waits for the store ({waits} bytes in instance/audit-waiting.jsonl)"
        );
        Ok(AuditResponse {
            entries: found.entries.into_iter().map(audit::told).collect(),
            cursor: found.next.map(Cursor::token).unwrap_or_default(),
            notes: (waits > 0).then_some(note).into_iter().collect(),
        })
    }
}
