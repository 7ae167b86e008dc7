//! Giving a removed partition's room back, a piece at a time.
//!
//! A file system that frees hundreds of megabytes at once does so in one transaction of its own journal, and every commit that asks for its data to be
//! on disk waits for that. Pieces keep the wait short. What a crash leaves is taken away when the store is next opened.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::{Instant, sleep_until};

/// Bytes that are given back at once.
const PIECE: u64 = 8 << 20;
/// Pause between two pieces: commits come through.
const PAUSE: Duration = Duration::from_millis(20);

/// Gives back what `gone` takes, once nobody reads it any more.
pub(super) async fn run(gone: PathBuf, using: Arc<RwLock<()>>) {
    let _alone = using.write_owned().await;
    loop {
        let path = gone.clone();
        match tokio::task::spawn_blocking(move || shorten(&path)).await {
            Ok(Ok(true)) => sleep_until(Instant::now() + PAUSE).await,
            Ok(Ok(false)) | Err(_) => return,
            // It was removed before.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => return,
            Ok(Err(error)) => {
                let place = gone.display();
                tracing::warn!(
                    "`{place}` is no longer part of the log, and could not be deleted: {error}; the next start tries again"
                );
                return;
            }
        }
    }
}

/// Takes a piece off a file, or the whole of a short one. Whether something is left.
fn shorten(path: &Path) -> io::Result<bool> {
    let left = fs::metadata(path)?.len().saturating_sub(PIECE);
    if left == 0 {
        return fs::remove_file(path).map(|()| false);
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(left)?;
    // Now, not together with the next pieces.
    file.sync_data()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_goes_in_pieces_and_only_when_nobody_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gone");
        fs::File::create(&path).unwrap().set_len(3 * PIECE + 1).unwrap();
        let using: Arc<RwLock<()>> = Arc::default();
        let reader = using.clone().read_owned().await;
        let work = tokio::spawn(run(path.clone(), using.clone()));
        tokio::task::yield_now().await;
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * PIECE + 1);
        drop(reader);
        work.await.unwrap();
        assert!(!path.exists());
    }
}
