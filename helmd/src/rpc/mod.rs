//! The `helm.v1` API. Handlers hold handles; status is answered from memory.

mod access;
mod caller;
pub mod config;
mod gate;
pub mod incidents;
pub mod inside;
mod jobs;
mod limits;
pub mod logs;
pub mod metrics;
pub mod operate;
pub mod output;
pub mod peer;
mod seen;
pub mod store;
pub mod watch;

use std::sync::{Arc, OnceLock};

use helm_core::access::{Action, Rules, Scope};
use helm_core::ask::{Ask, Refusal};
use helm_core::name::ServiceName;
use helm_core::secret;
use helm_core::spec::{self, Check, Program, ServiceSpec, WebSettings};
use helm_core::wish::Mode;
use helm_proto::v1::access_server::AccessServer;
use helm_proto::v1::configuration_server::ConfigurationServer;
use helm_proto::v1::helm_server::{Helm, HelmServer};
use helm_proto::v1::incidents_server::IncidentsServer;
use helm_proto::v1::jobs_server::JobsServer;
use helm_proto::v1::logs_server::LogsServer;
use helm_proto::v1::metrics_server::MetricsServer;
use helm_proto::v1::store_server::StoreServer;
use helm_proto::v1::{
    CheckConfigRequest, CheckConfigResponse, DependencyInfo, DownRequest, EventRecord, EventsRequest,
    InfoRequest, InfoResponse, LaunchRequest, LaunchResponse, ListRequest, ListResponse, OutputChunk,
    OutputRequest, Progress, ReexecRequest, ReexecResponse, RestartRequest, ResumeRequest, ServiceInfo,
    ShutdownRequest, ShutdownResponse, SignalRequest, SignalResponse, StartRequest, StatusRequest,
    StatusResponse, StopRequest, TreeRequest, TreeResponse, UpRequest, Wait, WatchStatusRequest,
    WatchStatusResponse,
};
use helm_proto::{convert, reason};
use helm_store::entry::HELM;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::codegen::http;
use tonic::service::interceptor::InterceptorLayer;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tower::util::MapRequestLayer;

use crate::access::Access;
use crate::app::replace::Successor;
use crate::audit::{Deed, Intent, Outcome, Trail};
use crate::cgroup::Cgroups;
use crate::changes::Changes;
use crate::clock;
use crate::config as files;
use crate::drift::Drift;
use crate::home::Home;
use crate::incident::answers::Answers;
use crate::jobs::Jobs;
use crate::journal::Journal;
use crate::leave::{Leave, Then};
use crate::programs;
use crate::reload::Reloads;
use crate::sample::Sampler;
use crate::store::Store;
use crate::store::keep::Retention;
use crate::supervisor::{FleetView, Supervisor};
use crate::work;
use caller::Caller;
use gate::{Gate, Method};
use peer::{Door, Incoming};
use seen::Sight;

/// Messages that wait for a reader of a stream; the producer waits when it is full.
const STREAM: usize = 1;

type Result<T> = std::result::Result<T, Status>;
type Streaming<T> = Response<ReceiverStream<Result<T>>>;

/// Facts that do not change while helmd runs, once they are known.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The home.
    pub home: Home,
    /// The socket.
    pub socket: String,
    /// Boot.
    pub boot_id: String,
    /// When helmd started.
    pub started: helm_core::time::Wall,
    /// Mode of starts without one.
    pub default_mode: Mode,
    /// The cgroups of services.
    pub cgroups: Cgroups,
    /// What an operator should know.
    pub warnings: Vec<String>,
    /// What services name and what is not there; empty until it was looked for.
    pub missing: Arc<OnceLock<Vec<String>>>,
    /// Who may do what.
    pub rules: Arc<Rules>,
    /// For helm-web.
    pub web: WebSettings,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Api {
    /// Fleet.
    pub supervisor: Supervisor,
    /// Events.
    pub journal: Journal,
    /// Tells of new output.
    pub changes: Changes,
    /// What is kept.
    pub store: Store,
    /// What of it is kept how long.
    pub retention: Retention,
    /// What probes found.
    pub answers: Answers,
    /// Numbers.
    pub sampler: Sampler,
    /// Definitions in the order of services.json.
    pub specs: Arc<Vec<Arc<ServiceSpec>>>,
    /// Facts.
    pub facts: Arc<Facts>,
    /// Whether helmd runs by the files as they are.
    pub drift: Arc<Drift>,
    /// Owns the streams.
    pub tasks: TaskTracker,
    /// Told when this life of helmd ends.
    pub stop: CancellationToken,
    /// Ends it.
    pub leave: Leave,
    /// Applies configurations.
    pub reloads: Reloads,
    /// The program that may take the place of this one.
    pub successor: Successor,
    /// Tokens, sessions and codes.
    pub access: Access,
    /// Who changed what.
    pub trail: Trail,
    /// What was begun, and is not waited for.
    pub jobs: Jobs,
}

impl Api {
    /// Runs `work` until it is done or helmd leaves, and streams what it sends.
    fn stream<T, F, W>(&self, work: F) -> Streaming<T>
    where
        T: Send + 'static,
        F: FnOnce(mpsc::Sender<Result<T>>) -> W,
        W: Future<Output = ()> + Send + 'static,
    {
        let (sink, messages) = mpsc::channel(STREAM);
        let (work, stop) = (work(sink), self.stop.clone());
        self.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
        Response::new(ReceiverStream::new(messages))
    }

    /// Carries it out, between two entries of the audit trail; a caller that leaves ends nothing.
    fn operate(&self, caller: &Caller, ask: Ask, wait: Option<Wait>) -> Streaming<Progress> {
        let (sink, messages) = mpsc::channel(STREAM);
        let (supervisor, stop, by) = (self.supervisor.clone(), self.stop.clone(), caller.describe());
        let (trail, deed) = (self.trail.clone(), Deed::of(caller.by(), &ask));
        self.tasks.spawn(async move {
            let intent = trail.intend(deed).await;
            let done = operate::operate(supervisor, ask, wait, by, sink);
            let (outcome, message) = match stop.run_until_cancelled(done).await {
                Some(ended) => ended,
                None => (Outcome::Done, "begun; helmd left before its end".to_owned()),
            };
            intent.came_now(outcome, &message).await;
        });
        Response::new(ReceiverStream::new(messages))
    }

    /// Before a change that is no operation of the fleet.
    async fn intend(&self, caller: &Caller, what: &'static str, target: &str) -> Intent {
        let targets = if target.is_empty() { Vec::new() } else { vec![target.to_owned()] };
        self.trail.intend(Deed { by: caller.by(), what, targets }).await
    }

    /// What somebody may not change is in the trail as well.
    fn allowed(&self, caller: &Caller, what: &'static str, names: &[String], may: Result<()>) -> Result<()> {
        if let Err(why) = may.as_ref().map_err(Status::message)
            && caller.principal().is_some()
        {
            let deed = Deed { by: caller.by(), what, targets: names.to_vec() };
            self.trail.note(deed, Outcome::Refused, why.to_owned());
        }
        may
    }

    /// The names must be known; the first that is not is answered with the nearest.
    fn known(&self, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| self.spec(name).map(drop))
    }

    /// Those that are named must be known to whoever asks. Of what they may not see they are not told whether it is there.
    fn seen(&self, sight: &Sight, names: &[String]) -> Result<()> {
        if let Some(name) = names.iter().find(|name| !sight.holds(name)) {
            return Err(reason::permission_denied(&format!("you may not see the state of `{name}`")));
        }
        self.known(names)
    }

    /// Those that are named (none: all) may be operated by whoever asks.
    fn operable(&self, caller: &Caller, what: &'static str, names: &[String]) -> Result<()> {
        self.allowed(caller, what, names, caller.may_each(Action::Operate, names))?;
        self.known(names)
    }

    /// A start starts what it needs as well: what is down, and not theirs to start, stays so.
    fn with_what_they_need(&self, caller: &Caller, names: &[String]) -> Result<()> {
        let (scope, view) = (caller.scope(Action::Operate), self.supervisor.view());
        let Scope::Only(_) = scope else { return Ok(()) };
        let mut needed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut at = 0;
        while let Some(name) = needed.get(at).copied() {
            at += 1;
            if !scope.holds(name) && view.get(name).is_some_and(|status| !status.wanted) {
                return Err(reason::permission_denied(&format!(
                    "{} needs `{name}`, which is stopped and not yours to start",
                    names.join(", ")
                )));
            }
            let spec = self.specs.iter().find(|spec| spec.name.as_str() == name);
            let further =
                spec.into_iter().flat_map(|spec| &spec.depends_on).map(|edge| edge.service.as_str());
            needed.extend(further.filter(|name| !needed.contains(name)).collect::<Vec<_>>());
        }
        Ok(())
    }

    /// The definition of a service.
    fn spec(&self, name: &str) -> Result<Arc<ServiceSpec>> {
        let found = self.specs.iter().find(|spec| spec.name.as_str() == name).cloned();
        found.ok_or_else(|| {
            let nearest = spec::nearest(name, self.specs.iter().map(|spec| spec.name.as_str()));
            let nearest = nearest.and_then(|n| ServiceName::new(n).ok());
            reason::refused(&Refusal::UnknownService { name: name.to_owned(), nearest })
        })
    }
}

fn mode(text: &str) -> Result<Option<Mode>> {
    convert::mode(text).map_err(|why| reason::bad_mode(&why))
}

#[tonic::async_trait]
impl Helm for Api {
    type WatchStatusStream = ReceiverStream<Result<WatchStatusResponse>>;
    type StartStream = ReceiverStream<Result<Progress>>;
    type StopStream = ReceiverStream<Result<Progress>>;
    type RestartStream = ReceiverStream<Result<Progress>>;
    type UpStream = ReceiverStream<Result<Progress>>;
    type DownStream = ReceiverStream<Result<Progress>>;
    type ResumeStream = ReceiverStream<Result<Progress>>;
    type OutputStream = ReceiverStream<Result<OutputChunk>>;
    type EventsStream = ReceiverStream<Result<EventRecord>>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>> {
        let caller = Caller::of(&request)?;
        let facts = &self.facts;
        let view = self.supervisor.view();
        let drift = self.drift.alert().await.into_iter().chain(view.alert.clone());
        let alerts: Vec<String> = drift.chain(self.store.alerts()).collect();
        let missing = facts.missing.get().into_iter().flatten();
        let info = InfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            home: facts.home.path().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started_at: Some(convert::timestamp(facts.started)),
            containment: if facts.cgroups.tree.is_some() { "cgroup" } else { "subreaper" }.to_owned(),
            containment_detail: facts.cgroups.detail.clone(),
            hold: view.hold,
            warnings: alerts.iter().chain(&facts.warnings).chain(missing).cloned().collect(),
            alerts,
            default_mode: facts.default_mode.as_str().to_owned(),
            boot_id: facts.boot_id.clone(),
            socket: facts.socket.clone(),
        };
        Ok(Response::new(seen::info(info, &caller)))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>> {
        let sight = Sight::of(&*Caller::of(&request)?);
        let configured = self.specs.iter().filter(|spec| !spec.is_removed());
        let services = configured.filter_map(|spec| sight.info(info(spec))).collect();
        Ok(Response::new(ListResponse { services }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>> {
        let sight = Sight::of(&*Caller::of(&request)?);
        let names = request.into_inner().names;
        self.seen(&sight, &names)?;
        let (view, now) = (self.supervisor.view(), clock::mono());
        let all = names.is_empty();
        let wanted = view.services.iter().filter(|s| all || names.iter().any(|n| n == s.name.as_str()));
        let mut services: Vec<_> = wanted.map(|s| watch::shown(s, now, &self.sampler)).collect();
        limits::tell(&mut services, &view, &self.specs, &self.facts.cgroups).await;
        let services = services.into_iter().filter_map(|status| sight.status(status)).collect();
        Ok(Response::new(StatusResponse { services, hold: view.hold }))
    }

    async fn watch_status(
        &self,
        request: Request<WatchStatusRequest>,
    ) -> Result<Streaming<WatchStatusResponse>> {
        let sight = Sight::of(&*Caller::of(&request)?);
        let WatchStatusRequest { names, numbers } = request.into_inner();
        self.seen(&sight, &names)?;
        let asked = watch::Asked { names, numbers, sight };
        let sampler = self.sampler.clone();
        let fleet: tokio::sync::watch::Receiver<Arc<FleetView>> = self.supervisor.subscribe();
        Ok(self.stream(|sink| watch::statuses(fleet, sampler, asked, sink)))
    }

    async fn start(&self, request: Request<StartRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let StartRequest { names, mode: text, wait } = request.into_inner();
        self.operable(&caller, "start", &names)?;
        self.allowed(&caller, "start", &names, self.with_what_they_need(&caller, &names))?;
        let mode = mode(&text)?;
        Ok(self.operate(&caller, Ask::Start { names, mode }, wait))
    }

    async fn stop(&self, request: Request<StopRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let StopRequest { names, wait } = request.into_inner();
        self.operable(&caller, "stop", &names)?;
        Ok(self.operate(&caller, Ask::Stop { names }, wait))
    }

    async fn restart(&self, request: Request<RestartRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let RestartRequest { names, mode: text, wait } = request.into_inner();
        self.operable(&caller, "restart", &names)?;
        self.allowed(&caller, "restart", &names, self.with_what_they_need(&caller, &names))?;
        let mode = mode(&text)?;
        Ok(self.operate(&caller, Ask::Restart { names, mode }, wait))
    }

    async fn up(&self, request: Request<UpRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let UpRequest { names, mode: text, as_wanted, wait } = request.into_inner();
        self.operable(&caller, "up", &names)?;
        self.allowed(&caller, "up", &names, self.with_what_they_need(&caller, &names))?;
        let mode = mode(&text)?;
        Ok(self.operate(&caller, Ask::Up { names, mode, as_wanted }, wait))
    }

    async fn down(&self, request: Request<DownRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let DownRequest { names, wait } = request.into_inner();
        self.operable(&caller, "down", &names)?;
        Ok(self.operate(&caller, Ask::Down { names }, wait))
    }

    async fn output(&self, request: Request<OutputRequest>) -> Result<Streaming<OutputChunk>> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        caller.may(Action::Output, Some(&request.name))?;
        self.known(std::slice::from_ref(&request.name))?;
        let stream = output::Stream::parse(&request.stream)?;
        let dir = self.facts.home.logs().join(&request.name);
        let follow = request.follow.then(|| self.changes.clone());
        Ok(self.stream(|sink| output::send(dir, stream, request, follow, sink)))
    }

    async fn events(&self, request: Request<EventsRequest>) -> Result<Streaming<EventRecord>> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        let named = request.names.clone();
        request.names = caller.narrow(Action::Events, request.names)?;
        // What becomes of the store is told under Helm's own name.
        let services = named.into_iter().filter(|name| name != HELM);
        self.known(&services.collect::<Vec<_>>())?;
        let journal = self.journal.clone();
        if request.since.is_some() || request.until.is_some() || request.before.is_some() {
            let store = self.store.clone();
            return Ok(self.stream(|sink| watch::past(journal, store, request, sink)));
        }
        Ok(self.stream(|sink| watch::events(journal, request, sink)))
    }

    async fn check_config(&self, _: Request<CheckConfigRequest>) -> Result<Response<CheckConfigResponse>> {
        let home = self.facts.home.clone();
        let read = work::CHECKS.run(move || Ok(files::read(&home))).await;
        let files::Read { config, mut faults, .. } = read.map_err(|e| Status::internal(e.to_string()))?;
        let ok = !files::faulty(&faults);
        if let Some(config) = config {
            let base_env = Arc::new(files::own_environment());
            faults.extend(limits::not_in_force(&config, self.facts.cgroups.controllers));
            faults.extend(programs::looked_for(Arc::new(config), base_env).await);
        }
        let faults = faults.iter().map(convert::fault).collect();
        Ok(Response::new(CheckConfigResponse { ok, faults }))
    }

    async fn resume(&self, request: Request<ResumeRequest>) -> Result<Streaming<Progress>> {
        let caller = Caller::of(&request)?;
        let ResumeRequest { operation, wait } = request.into_inner();
        let pursuits = operate::waited(&operation, &self.supervisor.view())?;
        let mut names = pursuits.iter().map(|pursuit| pursuit.name.as_str());
        names.try_for_each(|name| caller.may(Action::Operate, Some(name)))?;
        let fleet = self.supervisor.subscribe();
        Ok(self.stream(|sink| operate::resume(fleet, pursuits, wait, sink)))
    }

    async fn reexec(&self, request: Request<ReexecRequest>) -> Result<Response<ReexecResponse>> {
        let caller = Caller::of(&request)?;
        let (by, program) = (caller.describe(), self.successor.program.display().to_string());
        let intent = self.intend(&caller, "reexec", &program).await;
        let version = match self.successor.check().await {
            Ok(version) => version,
            Err(why) => {
                intent.came(Outcome::Refused, why.as_str());
                let why = format!("the program on disk is not taken, helmd goes on as it is: {why}");
                return Err(reason::not_taken(&why));
            }
        };
        intent.came_now(Outcome::Done, &version).await;
        tracing::info!("asked by {by} to give way to {program} ({version}); services stay");
        self.leave.to(Then::Replace);
        Ok(Response::new(ReexecResponse { program, version }))
    }

    async fn launch(&self, request: Request<LaunchRequest>) -> Result<Response<LaunchResponse>> {
        let caller = Caller::of(&request)?;
        let LaunchRequest { name, mode: text, show_secrets } = request.into_inner();
        caller.may(Action::Environment, Some(&name))?;
        let spec = self.spec(&name)?;
        let status = self.supervisor.view();
        let mode = mode(&text)?.or_else(|| status.get(&name).map(|s| s.mode));
        let mode = mode.unwrap_or(self.facts.default_mode);
        Ok(Response::new(inside::launch(spec, mode, &caller, show_secrets).await?))
    }

    async fn tree(&self, request: Request<TreeRequest>) -> Result<Response<TreeResponse>> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        caller.may(Action::Output, Some(&name))?;
        self.known(std::slice::from_ref(&name))?;
        Ok(Response::new(inside::processes(self.supervisor.view(), &name).await?))
    }

    async fn signal(&self, request: Request<SignalRequest>) -> Result<Response<SignalResponse>> {
        let caller = Caller::of(&request)?;
        let by = caller.describe();
        let SignalRequest { name, signal } = request.into_inner();
        let spec = self.spec(&name)?;
        let signal = inside::signal_number(&signal)?;
        let intent = self.intend(&caller, "signal", &name).await;
        let sent = self.supervisor.signal(spec.name.clone(), signal, by.clone()).await;
        match &sent {
            Ok(pid) => intent.came(Outcome::Done, format!("signal {signal} to pid {pid}")),
            Err(e) => intent.came(Outcome::Failed, e.to_string()),
        }
        let pid = sent.map_err(|e| operate::refusal(&e))?;
        tracing::info!(service.name = %spec.name, "signal {signal} sent to pid {pid}, asked for by {by}");
        Ok(Response::new(inside::signalled(&spec, pid, signal)))
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<ShutdownResponse>> {
        let caller = Caller::of(&request)?;
        let intent = self.intend(&caller, "shutdown", "").await;
        tracing::info!("asked to leave by {}; services stay", caller.describe());
        intent.came_now(Outcome::Done, "services stay").await;
        self.leave.to(Then::Nothing);
        Ok(Response::new(ShutdownResponse {}))
    }
}

/// Serves the API, `grpc.health.v1` and reflection until helmd leaves.
pub async fn serve(
    api: Api,
    doors: Vec<Door>,
    stop: CancellationToken,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<HelmServer<Api>>().await;
    health.set_serving::<ConfigurationServer<Api>>().await;
    health.set_serving::<IncidentsServer<Api>>().await;
    health.set_serving::<LogsServer<Api>>().await;
    health.set_serving::<MetricsServer<Api>>().await;
    health.set_serving::<StoreServer<Api>>().await;
    health.set_serving::<AccessServer<Api>>().await;
    health.set_serving::<JobsServer<Api>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(helm_proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
    let gate = Gate { rules: api.facts.rules.clone(), access: api.access.clone() };
    let server = Server::builder()
        .layer(MapRequestLayer::new(with_method))
        .layer(InterceptorLayer::new(move |request| gate.pass(request)))
        .add_service(HelmServer::new(api.clone()))
        .add_service(ConfigurationServer::new(api.clone()))
        .add_service(IncidentsServer::new(api.clone()))
        .add_service(LogsServer::new(api.clone()).max_decoding_message_size(logs::LARGEST_REQUEST))
        .add_service(MetricsServer::new(api.clone()))
        .add_service(StoreServer::new(api.clone()))
        .add_service(AccessServer::new(api.clone()))
        .add_service(JobsServer::new(api))
        .add_service(health_service)
        .add_service(v1)
        .add_service(v1alpha);
    Ok(server.serve_with_incoming_shutdown(Incoming::at(doors), stop.cancelled_owned()).await?)
}

/// An interceptor is not told which method is called.
fn with_method(mut request: http::Request<Body>) -> http::Request<Body> {
    let method = Method(request.uri().path().to_owned());
    request.extensions_mut().insert(method);
    request
}

fn info(spec: &ServiceSpec) -> ServiceInfo {
    let kind = match &spec.program {
        None => "directory",
        Some(Program::Python { .. }) => "python",
        Some(Program::StartCommand(_)) => "start_command",
        Some(Program::Command(_)) => "command",
        Some(Program::Shell(_)) => "shell",
        Some(Program::HelmWeb { .. }) => "helm-web",
        Some(Program::Removed) => "removed",
    };
    let dependency = |d: &helm_core::spec::Dependency| DependencyInfo {
        service: d.service.to_string(),
        condition: d.condition.as_str().to_owned(),
    };
    ServiceInfo {
        name: spec.name.to_string(),
        kind: kind.to_owned(),
        path: spec.path.clone(),
        url: spec.url.clone(),
        port: spec.port.map(u32::from),
        visible: spec.visible,
        admin_only: spec.admin_only,
        billing_or_admin_only: spec.billing_or_admin_only,
        depends_on: spec.depends_on.iter().map(dependency).collect(),
        restart: spec.restart.as_str().to_owned(),
        probes: probes(spec),
    }
}

/// "readiness: http http://localhost:5000/health every 15 s"
fn probes(spec: &ServiceSpec) -> Vec<String> {
    let all = [
        ("startup", &spec.probes.startup),
        ("readiness", &spec.probes.readiness),
        ("liveness", &spec.probes.liveness),
    ];
    let line = |(kind, probe): (&str, &Option<helm_core::spec::Probe>)| {
        let probe = probe.as_ref()?;
        let what = match &probe.check {
            Check::Http { url, .. } => format!("http {url}"),
            Check::Tcp { host, port } => format!("tcp {host}:{port}"),
            Check::Exec { command } => format!("exec {}", command.join(" ")),
            Check::Log { pattern } => format!("log {pattern}"),
            Check::Notify => "notify".to_owned(),
        };
        Some(format!("{kind}: {} every {:?}", secret::without_passwords(&what), probe.interval))
    };
    all.into_iter().filter_map(line).collect()
}
