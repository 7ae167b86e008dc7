//! The one way by which what others send comes into the store.

use helm_store::writer::{Append, AppendError, Receipt};

use super::Store;

/// What became of it.
#[derive(Debug)]
pub struct Kept {
    /// The writer's word; without ids where it is queued.
    pub receipt: Receipt,
    /// It is in the local queue; the database gets it later.
    pub queued: bool,
}

/// Why it was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// The store is not open.
    #[error("not kept, the store is not open: {0}")]
    Closed(String),
    /// The writer refused.
    #[error(transparent)]
    Refused(#[from] AppendError),
}

impl Store {
    /// Keeps what was sent; answers after the commit that holds it, be it the database's or the local queue's.
    pub async fn append(&self, append: Append) -> Result<Kept, NotKept> {
        if let Some(queue) = self.queue().await.map_err(NotKept::Closed)? {
            let opened = self.opened().ok();
            let kept = queue.keep(append, opened.as_ref().map(|opened| &opened.writer)).await?;
            return Ok(Kept { receipt: kept.receipt, queued: kept.queued });
        }
        let opened = self.ready().await.map_err(NotKept::Closed)?;
        Ok(Kept { receipt: opened.writer.append(append).await?, queued: false })
    }
}
