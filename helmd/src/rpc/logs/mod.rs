//! `helm.v1.Logs`: what is kept, for whoever asks.

mod append;
mod convert;
mod narrow;
mod stream;
mod trail;

use std::sync::Arc;
use std::time::Duration;

use helm_core::access::Action;
use helm_proto::reason;
use helm_proto::v1::logs_server::Logs;
use helm_proto::v1::{
    AppendRequest, AppendResponse, FollowLogsRequest, FollowLogsResponse, GetLogRequest, LogContextRequest,
    LogContextResponse, LogEntry, LogFacetsRequest, LogFacetsResponse, LogHistogramRequest,
    LogHistogramResponse, QueryLogsRequest, QueryLogsResponse, SearchLogsRequest, SearchLogsResponse,
    VerifyLogsRequest, VerifyLogsResponse,
};
use helm_store::counts::MINUTE;
use helm_store::entry::Entry;
use helm_store::id::EntryId;
use helm_store::query::{Cursor, Page};
use helm_store::reader::{Budget, From, PAGE, ReadError};
use helm_store::verify::Anchor;
use helm_store::writer::Health;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::caller::Caller;
use super::{Api, Result, Streaming};
use crate::store::{Opened, Store, in_words};
use convert::bad;
use narrow::is_shown;

/// Largest request: a batch may have 16 MiB, which is more than gRPC's usual 4.
pub const LARGEST_REQUEST: usize = 17 << 20;
/// Entries of a page: default and most.
const LIMIT: (u32, u32) = (100, 1000);
/// Most entries to pass over, and most on each side of an entry.
const OFFSET: u32 = 10_000;
const AROUND: u32 = 1000;
/// Most steps of a histogram; shortest step.
const STEPS: i64 = 10_000;
/// Most anchors of a proof.
const ANCHORS: usize = 1000;
/// How long a page may take; beyond it is short, and its cursor goes on.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// What an answer, and a piece of a stream, may weigh: below gRPC's usual 4 MiB.
const ANSWER_BYTES: usize = 3 << 20;
const PIECE_BYTES: usize = 1 << 20;

impl Api {
    /// Streams from a store while it is open. Who asks again gets the one that is opened anew; of the old one nothing would come any more.
    fn while_open<T, F, W>(&self, ended: CancellationToken, work: F) -> Streaming<T>
    where
        T: Send + 'static,
        F: FnOnce(mpsc::Sender<Result<T>>) -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        self.stream(|sink| {
            let (last, work) = (sink.clone(), work(sink));
            async move {
                if ended.run_until_cancelled(work).await.is_none() {
                    let why = "the store is closed and opened anew: ask again";
                    // Who left does not want to know.
                    let _ = last.send(Err(reason::store_away(why))).await;
                }
            }
        })
    }

    async fn opened(&self) -> Result<Arc<Opened>> {
        let waits = || self.store.meanwhile();
        let away = |why: String| reason::store_away(&format!("the log cannot be used: {why}. {}", waits()));
        self.store.ready().await.map_err(away)
    }

    /// An entry that may be seen.
    async fn entry(&self, opened: &Opened, caller: &Caller, id: i64) -> Result<Entry> {
        let scope = caller.scope(Action::Logs);
        let found = opened.reader.get(EntryId(id)).await.map_err(|e| read_error(&self.store, &e))?;
        let found = found.filter(|entry| scope.holds(&entry.body.service) && is_shown(caller, entry));
        found.ok_or_else(|| unknown(id))
    }
}

/// Why there is no answer, and where that is which waits.
fn read_error(store: &Store, error: &ReadError) -> Status {
    match error {
        ReadError::Filter(error) => reason::bad_request(&error.to_string()),
        ReadError::Engine(engine) if engine.passes() => {
            reason::store_away(&format!("{}. {}", in_words(error), store.meanwhile()))
        }
        // No waiting mends it: whoever follows ends, and says why.
        ReadError::Engine(_) => Status::internal(in_words(error)),
    }
}

fn unknown(id: i64) -> Status {
    reason::unknown_entry(&format!("there is no log entry {id}: it never was, or retention has removed it"))
}

/// Whether the log holds what there is: what waits while it cannot be written is in no count.
fn is_written(opened: &Opened) -> bool {
    !matches!(*opened.writer.health().borrow(), Health::Stalled { .. })
}

/// As many of the first as fit an answer.
fn fitting(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&Entry| {
        bytes += entry.body.weight();
        bytes <= ANSWER_BYTES
    };
    entries.iter().take_while(fits).count().max(1).min(entries.len())
}

#[tonic::async_trait]
impl Logs for Api {
    type SearchLogsStream = ReceiverStream<Result<SearchLogsResponse>>;
    type FollowLogsStream = ReceiverStream<Result<FollowLogsResponse>>;
    type VerifyLogsStream = ReceiverStream<Result<VerifyLogsResponse>>;

    async fn append(&self, request: Request<AppendRequest>) -> Result<Response<AppendResponse>> {
        let caller = Caller::of(&request)?;
        append::append(self, &caller, request.into_inner()).await.map(Response::new)
    }

    async fn query_logs(&self, request: Request<QueryLogsRequest>) -> Result<Response<QueryLogsResponse>> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let limit = if request.limit == 0 { LIMIT.0 } else { request.limit };
        if limit > LIMIT.1 {
            return bad(format!(
                "a page has at most {} entries, {limit} were asked for: use SearchLogs",
                LIMIT.1
            ));
        }
        if request.offset > OFFSET {
            return bad(format!("at most {OFFSET} entries are passed over: go on with the cursor"));
        }
        let after = convert::cursor(&request.cursor)?;
        if after.is_some() && request.after_id.is_some() {
            return bad("a page begins behind a cursor or behind an entry, not both".to_owned());
        }
        let (opened, filter) = self.asked(&caller, request.filter).await?;
        let after = match request.after_id {
            None => after,
            Some(id) => Some(Cursor::of(&self.entry(&opened, &caller, id).await?)),
        };
        let page = Page { filter, order: convert::order(request.oldest_first), after, limit };
        let reader = &opened.reader;
        let read = match request.offset {
            0 => reader.page(&page, READ_WITHIN).await,
            offset => reader.offset(&page, u64::from(offset), READ_WITHIN).await,
        };
        let mut found = read.map_err(|e| read_error(&self.store, &e))?;
        let mut notes: Vec<String> = self.store.unstored().into_iter().collect();
        let fits = fitting(&found.entries);
        if fits < found.entries.len() {
            found.entries.truncate(fits);
            found.next = found.entries.last().map(Cursor::of);
        } else if found.next.is_some() && found.entries.len() < limit as usize {
            notes.push("not everything could be looked at in time: the cursor goes on".to_owned());
        }
        let total = match request.total {
            true => Some(reader.total(&page.filter).await.map_err(|e| read_error(&self.store, &e))?),
            false => None,
        };
        Ok(Response::new(QueryLogsResponse {
            entries: convert::log_entries(found.entries),
            cursor: found.next.map(Cursor::token).unwrap_or_default(),
            total: total.map(|total| total.count),
            total_exact: total.is_some_and(|total| total.exact),
            notes,
        }))
    }

    async fn search_logs(
        &self,
        request: Request<SearchLogsRequest>,
    ) -> Result<Streaming<SearchLogsResponse>> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let after = convert::cursor(&request.cursor)?;
        let (opened, filter) = self.asked(&caller, request.filter).await?;
        let place = convert::places(&request.place, opened.engine.instance())?;
        let budget = Budget {
            time: (request.time_limit_ms > 0)
                .then(|| Duration::from_millis(request.time_limit_ms.min(86_400_000))),
            limit: (request.limit > 0).then_some(request.limit),
        };
        let order = convert::order(request.oldest_first);
        let search =
            opened.reader.search(filter, order, after, budget).map_err(|e| read_error(&self.store, &e))?;
        let place = place.map(|place| stream::UpTo::new(&opened, place));
        Ok(self
            .while_open(opened.ended.clone(), |sink| stream::search(self.store.clone(), search, place, sink)))
    }

    async fn follow_logs(
        &self,
        request: Request<FollowLogsRequest>,
    ) -> Result<Streaming<FollowLogsResponse>> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        if request.last > PAGE {
            return bad(format!("at most {PAGE} entries from the past: use SearchLogs for more"));
        }
        let (opened, filter) = self.asked(&caller, request.filter).await?;
        let (instance, store) = (opened.engine.instance(), self.store.clone());
        let after = convert::places(&request.cursor, instance)?;
        if let Some(until) = convert::places(&request.until, instance)? {
            let after = after.unwrap_or_default();
            let ended = opened.ended.clone();
            return Ok(
                self.while_open(ended, |sink| stream::between(store, opened, filter, after, until, sink))
            );
        }
        let last = if after.is_some() { 0 } else { request.last };
        let from = after.map_or(From::Now, From::After);
        let follow = opened.reader.follow(filter.clone(), from).map_err(|e| read_error(&self.store, &e))?;
        let ended = opened.ended.clone();
        Ok(self.while_open(ended, |sink| stream::follow(store, opened, follow, filter, last, sink)))
    }

    async fn get_log(&self, request: Request<GetLogRequest>) -> Result<Response<LogEntry>> {
        let caller = Caller::of(&request)?;
        let opened = self.opened().await?;
        let entry = self.entry(&opened, &caller, request.into_inner().id).await?;
        Ok(Response::new(convert::log_entry(entry)))
    }

    async fn log_context(&self, request: Request<LogContextRequest>) -> Result<Response<LogContextResponse>> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope(Action::Logs);
        let LogContextRequest { id, before, after } = request.into_inner();
        if before > AROUND || after > AROUND {
            return bad(format!("at most {AROUND} entries before and {AROUND} after"));
        }
        let opened = self.opened().await?;
        let found = opened.reader.context_around(EntryId(id), before, after).await;
        let (mut entries, place) =
            found.map_err(|e| read_error(&self.store, &e))?.ok_or_else(|| unknown(id))?;
        if entries.iter().any(|entry| !scope.holds(&entry.body.service) || !is_shown(&caller, entry)) {
            return Err(unknown(id));
        }
        // The nearest ones, if all together are too much for one answer.
        entries.truncate(place + fitting(entries.get(place..).unwrap_or_default()));
        if fitting(&entries) < entries.len() {
            entries.drain(..place);
        }
        Ok(Response::new(LogContextResponse { entries: convert::log_entries(entries) }))
    }

    async fn log_histogram(
        &self,
        request: Request<LogHistogramRequest>,
    ) -> Result<Response<LogHistogramResponse>> {
        let caller = Caller::of(&request)?;
        let LogHistogramRequest { filter, from, to, step } = request.into_inner();
        if from >= to {
            return bad("a histogram needs a `from` before its `to`, in nanoseconds since 1970".to_owned());
        }
        if step < MINUTE || step % MINUTE != 0 || to.saturating_sub(from) / step > STEPS {
            return bad(format!(
                "a step of a histogram is a multiple of a minute ({MINUTE} ns), and there are at most {STEPS} of them"
            ));
        }
        let (opened, filter) = self.counted(&caller, filter).await?;
        let found = opened
            .reader
            .histogram(&filter, from, to, step)
            .await
            .map_err(|e| read_error(&self.store, &e))?;
        let buckets = found.buckets.into_iter().map(convert::bucket).collect();
        Ok(Response::new(LogHistogramResponse { buckets, exact: found.exact && is_written(&opened) }))
    }

    async fn log_facets(&self, request: Request<LogFacetsRequest>) -> Result<Response<LogFacetsResponse>> {
        let caller = Caller::of(&request)?;
        let (opened, filter) = self.counted(&caller, request.into_inner().filter).await?;
        let (from, to) = (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
        let found = opened.reader.facets(&filter, from, to).await.map_err(|e| read_error(&self.store, &e))?;
        let services =
            found.services.into_iter().map(|(name, counts)| convert::facet(name, &counts)).collect();
        Ok(Response::new(LogFacetsResponse { services, exact: found.exact && is_written(&opened) }))
    }

    async fn verify_logs(
        &self,
        request: Request<VerifyLogsRequest>,
    ) -> Result<Streaming<VerifyLogsResponse>> {
        let anchors = request.into_inner().anchors;
        if anchors.len() > ANCHORS {
            return bad(format!("at most {ANCHORS} anchors at once"));
        }
        let anchors =
            anchors.iter().map(|text| text.parse::<Anchor>()).collect::<std::result::Result<_, _>>();
        let anchors = anchors.or_else(|e| bad(e.to_string()))?;
        let opened = self.opened().await?;
        Ok(self.while_open(opened.ended.clone(), |sink| stream::prove(opened, anchors, sink)))
    }
}
