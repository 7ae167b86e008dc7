//! `logs -f`: entries from the past, then what comes.

use helm_client::{Home, Logs, Resuming};
use helm_proto::v1::{FollowLogsRequest, LogFilter, SearchLogsRequest};
use tokio_stream::StreamExt;

use super::screen::Screen;
use super::show::{as_found, newest, search};
use crate::commands::follow::Following;
use crate::failure::Failure;
use crate::render::note;

/// What a follower may ask of the past.
const MOST_BEFORE: u32 = 10_000;

pub(super) async fn run(
    home: &Home,
    logs: &Logs,
    filter: LogFilter,
    last: Option<u32>,
    screen: &mut Screen<'_>,
) -> Result<(), Failure> {
    let few = last.filter(|last| *last <= MOST_BEFORE);
    let request =
        FollowLogsRequest { filter: Some(filter.clone()), last: few.unwrap_or(0), ..Default::default() };
    let mut following = Following::new(Resuming::open(home, request).await?)?;
    if few.is_none() {
        // The first message is the place behind which the follower begins.
        let Some(first) = following.next().await? else { return Ok(()) };
        let request = SearchLogsRequest { place: first.cursor, ..search(filter.clone(), last) };
        tokio::select! {
            done = before(logs, request, screen) => done?,
            () = following.interrupted() => return Ok(()),
        }
        screen.entries(&first.entries)?;
    }
    while let Some(message) = following.next().await? {
        screen.entries(&message.entries)?;
        message.notes.iter().for_each(|text| note(text));
        if message.gap_to.is_empty() {
            continue;
        }
        // Too slow for what came: it is read from the store, late and whole.
        let gap = FollowLogsRequest {
            filter: Some(filter.clone()),
            cursor: message.gap_from,
            until: message.gap_to,
            last: 0,
        };
        let mut missed = logs.follow(gap).await?;
        while let Some(piece) = missed.next().await {
            match piece {
                Ok(piece) => screen.entries(&piece.entries)?,
                Err(e) => note(&format!("entries are left out here: {e}")),
            }
        }
    }
    Ok(())
}

/// All that lies before the place, or as many as are wanted of it.
async fn before(logs: &Logs, request: SearchLogsRequest, screen: &mut Screen<'_>) -> Result<(), Failure> {
    if request.limit == 0 {
        return as_found(logs, SearchLogsRequest { oldest_first: true, ..request }, screen).await.map(drop);
    }
    let (entries, _) = newest(logs, request, screen).await?;
    screen.entries(&entries)
}
