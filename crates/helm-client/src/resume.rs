//! Streams that outlive the helmd they come from: where one ends, they wait for the next helmd of the home and go on
//! behind the last message.
//!
//! A request is its own cursor: [`Feed::note`] moves it behind what was received.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use helm_proto::v1::{
    EventRecord, EventsRequest, FollowReloadRequest, OutputChunk, OutputRequest, Principal, Progress,
    ReloadProgress, ResumeRequest, WatchJobsRequest, WatchJobsResponse, WatchStatusRequest,
    WatchStatusResponse,
};
use tokio::time::interval;

use crate::connect::Client;
use crate::error::ClientError;
use crate::home::Home;
use crate::jobs::Jobs;
use crate::stream::Stream;

/// Between two looks for the next helmd.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A request that is answered by a stream without an end, and can be asked again from where it broke.
pub trait Feed: Clone + Send + Sync + Unpin + 'static {
    /// One message.
    type Message: Send + 'static;

    /// Asks.
    fn open(&self, client: Client)
    -> impl Future<Output = Result<Stream<Self::Message>, ClientError>> + Send;

    /// Moves the request behind a message.
    fn note(&mut self, message: &Self::Message);
}

impl Feed for WatchStatusRequest {
    type Message = WatchStatusResponse;

    async fn open(&self, client: Client) -> Result<Stream<WatchStatusResponse>, ClientError> {
        client.watch(self.clone()).await
    }

    /// The first message of each stream is complete.
    fn note(&mut self, _: &WatchStatusResponse) {}
}

impl Feed for EventsRequest {
    type Message = EventRecord;

    async fn open(&self, client: Client) -> Result<Stream<EventRecord>, ClientError> {
        client.events(self.clone()).await
    }

    fn note(&mut self, message: &EventRecord) {
        self.after = Some(message.id);
    }
}

impl Feed for OutputRequest {
    type Message = OutputChunk;

    async fn open(&self, client: Client) -> Result<Stream<OutputChunk>, ClientError> {
        client.output(self.clone()).await
    }

    fn note(&mut self, message: &OutputChunk) {
        self.after = message.cursor.or(self.after);
    }
}

impl Feed for FollowReloadRequest {
    type Message = ReloadProgress;

    async fn open(&self, client: Client) -> Result<Stream<ReloadProgress>, ClientError> {
        client.follow_reload(self.clone()).await
    }

    /// Each stream begins with how far it is.
    fn note(&mut self, _: &ReloadProgress) {}
}

impl Feed for ResumeRequest {
    type Message = Progress;

    async fn open(&self, client: Client) -> Result<Stream<Progress>, ClientError> {
        client.resume(self.clone()).await
    }

    /// Each stream begins with how far it is.
    fn note(&mut self, _: &Progress) {}
}

impl Feed for WatchJobsRequest {
    type Message = WatchJobsResponse;

    async fn open(&self, client: Client) -> Result<Stream<WatchJobsResponse>, ClientError> {
        Jobs::of(&client).await?.watch_all().await
    }

    /// The first message of each stream is complete.
    fn note(&mut self, _: &WatchJobsResponse) {}
}

/// Goes on with an operation whose stream broke, by what its first message said: asks the next helmd, which is waited for
/// within a bound. `None`: none came.
pub async fn operation(
    home: &Home,
    request: ResumeRequest,
    within: Duration,
) -> Result<Option<Stream<Progress>>, ClientError> {
    tokio::time::timeout(within, reopen(Place::own(home), request)).await.ok().transpose()
}

/// What a resuming stream tells.
#[derive(Debug)]
pub enum News<T> {
    /// A message.
    Message(T),
    /// The stream broke, and waits until it can go on: for the next helmd, or for what this one says that it lacks.
    Away(Option<String>),
    /// The next helmd answers.
    Back,
}

type Opening<T> = Pin<Box<dyn Future<Output = Result<Stream<T>, ClientError>> + Send>>;

enum State<T> {
    Open(Box<Stream<T>>),
    Opening(Opening<T>),
    Over,
}

/// Where a stream is asked for: at the helmd of a home, whichever that is by then.
#[derive(Debug, Clone)]
struct Place {
    home: Home,
    /// At web.sock, for this one.
    acting: Option<Box<Principal>>,
}

impl Place {
    fn own(home: &Home) -> Self {
        Self { home: home.clone(), acting: None }
    }

    async fn connect(&self) -> Result<Client, ClientError> {
        match &self.acting {
            Some(principal) => Ok(Client::web(&self.home).await?.acting(principal)),
            None => Client::of(&self.home).await,
        }
    }
}

/// A stream that resumes by itself. It ends only with an error that waiting does not mend.
#[must_use = "streams do nothing unless polled"]
pub struct Resuming<F: Feed> {
    place: Place,
    feed: F,
    state: State<F::Message>,
}

impl<F: Feed> Resuming<F> {
    /// Asks the helmd that is there now: where none is, that is an error.
    pub async fn open(home: &Home, feed: F) -> Result<Self, ClientError> {
        Self::at(Place::own(home), feed).await
    }

    /// The same over web.sock, for this principal.
    pub async fn acting(home: &Home, principal: Principal, feed: F) -> Result<Self, ClientError> {
        Self::at(Place { home: home.clone(), acting: Some(Box::new(principal)) }, feed).await
    }

    async fn at(place: Place, feed: F) -> Result<Self, ClientError> {
        let stream = feed.open(place.connect().await?).await?;
        Ok(Self { place, feed, state: State::Open(Box::new(stream)) })
    }

    /// Asks the helmd that is there, or comes; [`News::Back`] comes first.
    pub fn later(home: &Home, feed: F) -> Self {
        Self::later_at(Place::own(home), feed)
    }

    /// The same over web.sock, for this principal.
    pub fn acting_later(home: &Home, principal: Principal, feed: F) -> Self {
        Self::later_at(Place { home: home.clone(), acting: Some(Box::new(principal)) }, feed)
    }

    fn later_at(place: Place, feed: F) -> Self {
        let opening = Box::pin(reopen(place.clone(), feed.clone()));
        Self { place, feed, state: State::Opening(opening) }
    }
}

/// Follows events. Where following begins is told behind those that are first fetched, by a record without a `kind`: what
/// happens from then on is not missed, also where no event came before the stream broke.
pub async fn events(home: &Home, request: EventsRequest) -> Result<Resuming<EventsRequest>, ClientError> {
    Resuming::open(home, EventsRequest { follow: true, mark: true, ..request }).await
}

/// Waits for a helmd, and asks it.
async fn reopen<F: Feed>(place: Place, feed: F) -> Result<Stream<F::Message>, ClientError> {
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let opened = match place.connect().await {
            Ok(client) => feed.open(client).await,
            Err(e) => Err(e),
        };
        match opened {
            Err(e) if e.may_pass() => {}
            settled => return settled,
        }
    }
}

impl<F: Feed> tokio_stream::Stream for Resuming<F> {
    type Item = Result<News<F::Message>, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let told = match &mut this.state {
            State::Open(stream) => match ready!(Pin::new(&mut **stream).poll_next(cx)) {
                Some(Ok(message)) => {
                    this.feed.note(&message);
                    return Poll::Ready(Some(Ok(News::Message(message))));
                }
                Some(Err(e)) if !e.may_pass() => Err(e),
                broken => {
                    let lacks = broken.and_then(Result::err).filter(|e| !e.is_away()).map(|e| e.to_string());
                    this.state = State::Opening(Box::pin(reopen(this.place.clone(), this.feed.clone())));
                    return Poll::Ready(Some(Ok(News::Away(lacks))));
                }
            },
            State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                Ok(stream) => {
                    this.state = State::Open(Box::new(stream));
                    return Poll::Ready(Some(Ok(News::Back)));
                }
                Err(e) => Err(e),
            },
            State::Over => return Poll::Ready(None),
        };
        this.state = State::Over;
        Poll::Ready(Some(told))
    }
}

#[cfg(test)]
mod tests {
    use helm_proto::v1::Cursor;

    use super::*;

    #[test]
    fn events_go_on_behind_the_last_one() {
        let mut request = EventsRequest { last: Some(50), follow: true, ..Default::default() };
        request.note(&EventRecord { id: 7, ..Default::default() });
        assert_eq!((request.after, request.follow), (Some(7), true));
    }

    #[test]
    fn output_goes_on_behind_the_last_chunk_also_an_empty_one() {
        let mut request = OutputRequest { name: "web".into(), follow: true, ..Default::default() };
        let cursor = Cursor { segment: 3, offset: 120 };
        request.note(&OutputChunk { lines: Vec::new(), cursor: Some(cursor) });
        assert_eq!(request.after, Some(cursor));
        // A helmd that does not know cursors takes nothing away.
        request.note(&OutputChunk::default());
        assert_eq!(request.after, Some(cursor));
    }
}
