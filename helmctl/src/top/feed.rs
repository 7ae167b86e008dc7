//! What helmd tells, as events of the model; and what the model wants of helmd. Each part is a task of its own.

use helm_client::resume::Feed as Source;
use helm_client::{Client, ClientError, Home, News, Resuming};
use helm_proto::v1::{
    EventRecord, EventsRequest, FollowLogsRequest, FollowLogsResponse, LogEntry, LogFilter, OutputChunk,
    OutputRequest, Progress, QueryMetricsRequest, RestartRequest, StartRequest, StopRequest,
    WatchStatusRequest,
};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_stream::StreamExt;

use super::history::{Point, Points, SPAN};
use super::model::{Event, Helmd, Order, Verb};
use super::pane::{Line, Tab, Tone};
use crate::failure::Failure;
use crate::render::{Sheet, list, log, time};

/// Lines of the past that a pane begins with.
const PAST: u32 = 300;
/// Points of a curve of the past.
const POINTS: u32 = 120;

/// Everything that is followed.
pub(super) struct Feed {
    home: Home,
    sink: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    pane: Option<AbortHandle>,
}

impl Feed {
    /// Follows states. No helmd is an error at first; later ones are waited for.
    pub(super) async fn start(home: Home, sink: mpsc::Sender<Event>) -> Result<Self, Failure> {
        let states = Resuming::open(&home, WatchStatusRequest { names: Vec::new(), numbers: true }).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(follow_states(home.clone(), states, sink.clone()));
        Ok(Self { home, sink, tasks, pane: None })
    }

    /// Follows this for the pane, and what was followed before no more.
    pub(super) fn pane(&mut self, pane: u64, service: String, tab: Tab) {
        if let Some(former) = self.pane.take() {
            former.abort();
        }
        let (home, sink) = (self.home.clone(), self.sink.clone());
        if tab != Tab::Overview {
            self.pane = Some(self.tasks.spawn(async move {
                let ended = follow_pane(&home, pane, service, tab, &sink).await;
                if let Err(why) = ended {
                    // Nobody listens any more when this fails.
                    let _ = sink.send(Event::Ended { pane, why: why.to_string() }).await;
                }
            }));
        }
        // Those that are over are forgotten.
        while self.tasks.try_join_next().is_some() {}
    }

    /// Asks for an operation, and tells its end.
    pub(super) fn operate(&mut self, order: Order) {
        let (home, sink) = (self.home.clone(), self.sink.clone());
        self.tasks.spawn(async move {
            let what = format!("{} {}", order.verb.word(), order.names.join(", "));
            let (words, ill) = match operate(&home, order).await {
                Ok((words, ill)) => (format!("{what}: {words}"), ill),
                Err(e) => (format!("{what}: {e}"), true),
            };
            let _ = sink.send(Event::Done { words, ill }).await;
        });
    }
}

/// States, for as long as somebody listens; with each helmd what it says of itself, and what it remembers.
async fn follow_states(home: Home, mut states: Resuming<WatchStatusRequest>, sink: mpsc::Sender<Event>) {
    while let Some(news) = states.next().await {
        let event = match news {
            Ok(News::Message(message)) => {
                let known =
                    message.complete.then(|| message.services.iter().map(|s| s.name.clone()).collect());
                if sink.send(Event::Status(message)).await.is_err() {
                    return;
                }
                if let Some(names) = known {
                    // A helmd that leaves just now is told by the stream.
                    let _ = introduce(&home, names, &sink).await;
                }
                continue;
            }
            Ok(News::Away(_)) => Event::Away,
            Ok(News::Back) => Event::Back,
            Err(e) => Event::Lost { why: e.to_string() },
        };
        if sink.send(event).await.is_err() {
            return;
        }
    }
}

async fn introduce(home: &Home, names: Vec<String>, sink: &mpsc::Sender<Event>) -> Result<(), ClientError> {
    let mut client = Client::of(home).await?;
    let info = client.info().await?;
    let services = client.list().await?;
    let helmd = Helmd { home: info.home, alerts: info.alerts, services };
    let _ = sink.send(Event::Helmd(Box::new(helmd))).await;
    for service in names {
        let points = Points {
            cpu: past(&mut client, &service, "cpu_percent").await?,
            memory: past(&mut client, &service, "memory_bytes").await?,
        };
        if !points.cpu.is_empty() || !points.memory.is_empty() {
            let _ = sink.send(Event::History { service, points }).await;
        }
    }
    Ok(())
}

async fn past(client: &mut Client, service: &str, metric: &str) -> Result<Vec<Point>, ClientError> {
    let now = time::now();
    let request = QueryMetricsRequest {
        service: service.to_owned(),
        metric: metric.to_owned(),
        from: now.saturating_sub(SPAN),
        to: now,
        points: POINTS,
        ..Default::default()
    };
    let found = client.query_metrics(request).await?;
    Ok(found.points.into_iter().map(|point| (point.at, point.avg)).collect())
}

async fn follow_pane(
    home: &Home,
    pane: u64,
    service: String,
    tab: Tab,
    sink: &mpsc::Sender<Event>,
) -> Result<(), ClientError> {
    match tab {
        Tab::Overview => Ok(()),
        Tab::Events => {
            let request = EventsRequest {
                names: vec![service],
                last: Some(PAST),
                follow: true,
                mark: true,
                ..Default::default()
            };
            each(Resuming::later(home, request), pane, sink, event).await
        }
        Tab::Output => {
            let request =
                OutputRequest { name: service, lines: Some(PAST), follow: true, ..Default::default() };
            each(Resuming::later(home, request), pane, sink, output).await
        }
        Tab::Log => {
            let filter = LogFilter { services: vec![service.clone()], ..Default::default() };
            let request = FollowLogsRequest { filter: Some(filter), last: PAST, ..Default::default() };
            let mut columns = log::Columns::default();
            let lines = move |message| entries(&mut columns, message);
            each(Resuming::later(home, request), pane, sink, lines).await
        }
    }
}

/// Hands over the lines of each message; says where helmd was away.
async fn each<F: Source>(
    mut stream: Resuming<F>,
    pane: u64,
    sink: &mpsc::Sender<Event>,
    mut lines: impl FnMut(F::Message) -> Vec<Line>,
) -> Result<(), ClientError> {
    let mut away = false;
    while let Some(news) = stream.next().await {
        let lines = match news? {
            News::Message(message) => lines(message),
            News::Away(lacks) => {
                away = true;
                let lacks = lacks.as_deref().unwrap_or("helmd is not reachable");
                vec![Line::new(&format!("-- {lacks}; waiting"), Tone::Warn)]
            }
            News::Back if away => vec![Line::new("-- reconnected", Tone::Warn)],
            News::Back => Vec::new(),
        };
        if !lines.is_empty() && sink.send(Event::Lines { pane, lines }).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn output(chunk: OutputChunk) -> Vec<Line> {
    let line = |line: helm_proto::v1::OutputLine| {
        let tone = if line.stream == "stderr" { Tone::Warn } else { Tone::Plain };
        Line::new(&String::from_utf8_lossy(&line.text), tone)
    };
    chunk.lines.into_iter().map(line).collect()
}

/// All of a pane are of one service: its name is not repeated.
fn event(record: EventRecord) -> Vec<Line> {
    // Where following begins is no event.
    if record.kind.is_empty() {
        return Vec::new();
    }
    vec![Line::new(&list::event(&record, 0, Sheet::stdout(), false), Tone::Plain)]
}

fn entries(columns: &mut log::Columns, message: FollowLogsResponse) -> Vec<Line> {
    let mut lines = Vec::new();
    if !message.gap_to.is_empty() {
        lines.push(Line::new("-- entries were passed over: helmctl logs shows them", Tone::Warn));
    }
    for entry in message.entries {
        let tone = log::level_style(&entry.level).into();
        let nameless = LogEntry { service: String::new(), ..entry };
        lines.extend(columns.entry(&nameless).split('\n').map(|text| Line::new(text, tone)));
    }
    lines
}

/// How an operation ended, in words, and whether that is ill.
async fn operate(home: &Home, order: Order) -> Result<(String, bool), ClientError> {
    let client = Client::of(home).await?;
    let names = order.names;
    let mut progress = match order.verb {
        Verb::Start => client.start(StartRequest { names, ..Default::default() }).await?,
        Verb::Stop => client.stop(StopRequest { names, ..Default::default() }).await?,
        Verb::Restart => client.restart(RestartRequest { names, ..Default::default() }).await?,
    };
    let mut last = None;
    while let Some(message) = progress.next().await {
        let Progress { outcome, .. } = message?;
        last = outcome.or(last);
    }
    Ok(match last {
        Some(outcome) if outcome.result == "done" => ("done".to_owned(), false),
        Some(outcome) => (outcome.message, true),
        None => ("helmd has gone before this was done; the next one goes on with it".to_owned(), true),
    })
}
