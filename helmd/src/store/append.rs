//! The one way by which what others send comes into the store.

use std::time::Duration;

use helm_store::writer::{Append, AppendError, Receipt};

use super::Store;

/// When a sender comes again who came before the store was open.
const AGAIN: Duration = Duration::from_secs(2);

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The writer's word; without ids where it is queued.
    pub receipt: Receipt,
    /// It is in the local queue; the database gets it later.
    pub queued: bool,
}

/// Keeps what was sent; answers after the commit that holds it, be it the database's or the local queue's.
pub async fn append(store: &Store, append: Append) -> Result<Appended, AppendError> {
    let opened = store.opened();
    if let Some(queue) = store.queue() {
        let kept = queue.keep(append, opened.as_ref().ok().map(|opened| &opened.writer)).await?;
        return Ok(Appended { receipt: kept.receipt, queued: kept.queued });
    }
    let opened = opened.map_err(|why| AppendError::Later { after: AGAIN, why })?;
    Ok(Appended { receipt: opened.writer.append(append).await?, queued: false })
}
