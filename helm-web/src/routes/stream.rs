//! What happens, as it happens: server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::input::Params;
use crate::app::App;
use crate::auth::Person;
use crate::auth::credential::Credential;
use crate::live::asked::StreamQuery;
use crate::live::places::MOST;
use crate::live::stream::{FRAMES, Stream};
use crate::problem::{PlainBody, Problem, ProblemBody, Result};
use crate::serve::Client;

/// What happens, as it happens: states, events, log, numbers and jobs in one stream (`text/event-stream`). Each `id:` is a place to go
/// on behind, also at the next helm-web. At most 8 streams a user.
#[utoipa::path(get, path = "/api/v1/stream", tag = "helm", params(StreamQuery,
        ("last-event-id" = Option<String>, Header, description = "Go on behind this; a browser sends it by itself")), responses(
    (status = 200, content_type = "text/event-stream", body = String), (status = 400, body = ProblemBody), (status = 401, body = ProblemBody),
    (status = 403, body = PlainBody, description = "For users only; as problem+json where the role may not"), (status = 429, body = ProblemBody), (status = 503, body = ProblemBody)))]
pub async fn stream(
    State(app): State<App>,
    Person(caller): Person,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    Params(query): Params<StreamQuery>,
) -> Result<Response> {
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let asked = query.understood(last.filter(|last| !last.is_empty()))?;
    let credential = Credential::of(&app, caller, headers, client).await?;
    if !credential.rights.any("services") {
        return Err(Problem::forbidden("this credential may see no service: there would be nothing to tell"));
    }
    let principal = &credential.caller.principal;
    let user = format!("{}/{}", principal.via, principal.subject);
    let place = app.places.take(user).ok_or_else(|| {
        let words = format!(
            "this user has {MOST} streams open already: close one (another tab of the dashboard, perhaps)"
        );
        Problem::too_many(words, std::time::Duration::from_secs(10))
    })?;
    let (sink, frames) = mpsc::channel(FRAMES);
    let stream = Stream { credential, asked, place, sink };
    let stop = app.stop.clone();
    app.tasks.spawn(async move {
        stop.run_until_cancelled(stream.run()).await;
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::new(Frames(frames))).into_response())
}

/// The body of a stream.
struct Frames(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }
}
