//! A line of this run's output that matches.

use std::path::{Path, PathBuf};
use std::time::Duration;

use helm_core::event::Answer;
use helm_core::name::ServiceName;
use helm_core::status::Health;
use helm_core::time::Wall;
use regex::bytes::Regex;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::follow::{self, Follower};
use crate::work;

/// Longest part of a line that is shown.
const SHOWN: usize = 120;

/// Waits until a line that was captured at or after `since` matches. Ends only with an answer.
pub(super) async fn wait_for(
    logs: &Path,
    changes: &Changes,
    service: &ServiceName,
    since: Wall,
    pattern: &str,
) -> Answer {
    let began = Instant::now();
    let (health, message) = match search(logs.join(service.as_str()), changes.clone(), since, pattern).await {
        Ok(line) => (Health::Healthy, format!("printed: {line}")),
        Err(e) => (Health::Unhealthy, format!("its output cannot be read: {e}")),
    };
    Answer { health, message, latency: Duration::min(began.elapsed(), Duration::from_secs(3600)) }
}

async fn search(dir: PathBuf, changes: Changes, since: Wall, pattern: &str) -> std::io::Result<String> {
    let pattern = Regex::new(pattern).map_err(std::io::Error::other)?;
    let begin = move || {
        follow::ensure(&dir)?;
        let changes = changes.of(&dir)?;
        let first = follow::segment_since(&dir, since)?;
        Ok((changes, Follower::from_segment(dir, first)))
    };
    let (mut changes, mut follower) = work::PROBES.run(begin).await?;
    loop {
        let (back, lines) = work::PROBES.run(move || follower.read().map(|lines| (follower, lines))).await?;
        follower = back;
        if lines.is_empty() {
            changes.next().await?;
        }
        if let Some(line) = lines.iter().find(|l| l.at >= since && pattern.is_match(&l.text)) {
            return Ok(String::from_utf8_lossy(&line.text).chars().take(SHOWN).collect());
        }
    }
}
