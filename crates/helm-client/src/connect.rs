//! Connections.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use helm_proto::access::{self, PRINCIPAL};
use helm_proto::v1::configuration_client::ConfigurationClient;
use helm_proto::v1::helm_client::HelmClient;
use helm_proto::v1::incidents_client::IncidentsClient;
use helm_proto::v1::metrics_client::MetricsClient;
use helm_proto::v1::{
    AppendMetricsRequest, AppendMetricsResponse, Certificate, CertificatesRequest, CheckConfigRequest,
    CheckConfigResponse, ConfigDiffRequest, ConfigHistoryRequest, ConfigRollbackRequest, ConfigVersion,
    DownRequest, EventRecord, EventsRequest, FollowReloadRequest, GetIncidentRequest, Incident, InfoRequest,
    InfoResponse, LaunchRequest, LaunchResponse, ListIncidentsRequest, ListIncidentsResponse,
    ListMetricsRequest, ListMetricsResponse, ListRequest, OutputChunk, OutputRequest, PlanRequest,
    PlanResponse, Principal, Progress, QueryMetricsRequest, QueryMetricsResponse, ReexecRequest,
    ReexecResponse, ReloadProgress, ReloadRequest, ReloadResponse, RestartRequest, ResumeRequest,
    ServiceInfo, ShutdownRequest, SignalRequest, SignalResponse, StartRequest, StatusRequest, StatusResponse,
    StopRequest, TreeRequest, TreeResponse, UpRequest, WatchStatusRequest, WatchStatusResponse, WhyRequest,
    WhyResponse,
};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tonic::metadata::BinaryMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};
use tower::service_fn;

use crate::error::ClientError;
use crate::home::{Home, LockInfo, Presence};
use crate::stream::Stream;

/// A Unix socket connects at once; a helmd that does not accept for this long is stuck.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Calls are answered from memory; a helmd that does not answer one for this long is stuck.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// helm-web, for which many wait, looks so often whether helmd lives while a call is under way, and takes it for stuck when it does not answer
/// for so long: what waits for it is told, and the next call connects anew.
const PULSE_EVERY: Duration = Duration::from_secs(1);
const PULSE_WITHIN: Duration = Duration::from_secs(2);

/// A connection on which each call says for whom it is, where that is to be said.
pub type Link = InterceptedService<Channel, ForWhom>;

/// Puts the principal of helm-web into each call.
#[derive(Debug, Clone, Default)]
pub struct ForWhom(Option<BinaryMetadataValue>);

impl Interceptor for ForWhom {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(principal) = &self.0 {
            request.metadata_mut().insert_bin(PRINCIPAL, principal.clone());
        }
        Ok(request)
    }
}

/// A client of one helmd.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    /// Whether it is looked at while calls are under way.
    pulse: bool,
    channel: Channel,
    for_whom: ForWhom,
    calls: HelmClient<Link>,
    metrics: MetricsClient<Link>,
    configuration: ConfigurationClient<Link>,
    incidents: IncidentsClient<Link>,
}

impl Client {
    /// Connects to the helmd of this home.
    pub async fn of(home: &Home) -> Result<Self, ClientError> {
        match home.presence()? {
            Presence::Running(Some(info)) => Self::to(&info, false).await,
            Presence::Running(None) => Err(ClientError::Starting { home: home.path().to_owned() }),
            // systemd may listen for one that is not there (helmd.socket): the first connection starts it.
            Presence::Absent => Self::at(&home.socket())
                .await
                .map_err(|_| ClientError::NotRunning { home: home.path().to_owned() }),
        }
    }

    /// Connects to the socket at which helm-web asks the helmd of this home for others: see [`Client::acting`].
    pub async fn web(home: &Home) -> Result<Self, ClientError> {
        match home.presence()? {
            Presence::Running(Some(info)) => match info.web.clone() {
                Some(socket) => Self::to(&LockInfo { socket, ..info }, true).await,
                None => Err(ClientError::NotAnswering {
                    pid: info.pid,
                    socket: home.socket().with_file_name("web.sock"),
                    cause: format!("helmd {} has no such socket: helmctl daemon reexec", info.version),
                }),
            },
            Presence::Running(None) => Err(ClientError::Starting { home: home.path().to_owned() }),
            Presence::Absent => Err(ClientError::NotRunning { home: home.path().to_owned() }),
        }
    }

    async fn to(info: &LockInfo, pulse: bool) -> Result<Self, ClientError> {
        match Self::with_pulse(&info.socket, pulse).await {
            Ok(client) => Ok(client),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                Err(ClientError::Denied { socket: info.socket.clone() })
            }
            Err(e) => Err(ClientError::NotAnswering {
                pid: info.pid,
                socket: info.socket.clone(),
                cause: e.to_string(),
            }),
        }
    }

    /// Connects to a socket.
    pub async fn at(socket: &Path) -> io::Result<Self> {
        Self::with_pulse(socket, false).await
    }

    async fn with_pulse(socket: &Path, pulse: bool) -> io::Result<Self> {
        let channel = channel(socket, Some(CALL_WITHIN), pulse).await?;
        Ok(Self::over(socket.to_owned(), pulse, channel, ForWhom::default()))
    }

    fn over(socket: PathBuf, pulse: bool, channel: Channel, for_whom: ForWhom) -> Self {
        let link = || InterceptedService::new(channel.clone(), for_whom.clone());
        Self {
            calls: HelmClient::new(link()),
            metrics: MetricsClient::new(link()),
            configuration: ConfigurationClient::new(link()),
            incidents: IncidentsClient::new(link()),
            socket,
            pulse,
            channel,
            for_whom,
        }
    }

    /// The same connection; its calls and streams are for this principal. Only web.sock listens to that.
    #[must_use]
    pub fn acting(&self, principal: &Principal) -> Self {
        let for_whom = ForWhom(Some(access::encode(principal)));
        Self::over(self.socket.clone(), self.pulse, self.channel.clone(), for_whom)
    }

    /// For whom calls over another connection are.
    pub(crate) fn link(&self, channel: Channel) -> Link {
        InterceptedService::new(channel, self.for_whom.clone())
    }

    /// A connection of its own for a stream that may be read slowly.
    async fn streams(&self) -> Result<HelmClient<Link>, ClientError> {
        Ok(HelmClient::new(self.connection(None).await?))
    }

    /// One more connection; `limit`: of each call over it.
    pub(crate) async fn connection(&self, limit: Option<Duration>) -> Result<Link, ClientError> {
        Ok(self.link(self.channel(limit).await?))
    }

    /// The same, for whoever is to be named by [`Client::link`].
    pub(crate) async fn channel(&self, limit: Option<Duration>) -> Result<Channel, ClientError> {
        channel(&self.socket, limit, self.pulse).await.map_err(|e| ClientError::Broken(e.to_string()))
    }

    /// The address.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `Info`
    pub async fn info(&mut self) -> Result<InfoResponse, ClientError> {
        Ok(self.calls.info(InfoRequest {}).await?.into_inner())
    }

    /// `List`
    pub async fn list(&mut self) -> Result<Vec<ServiceInfo>, ClientError> {
        Ok(self.calls.list(ListRequest {}).await?.into_inner().services)
    }

    /// `Status`; no names: all.
    pub async fn status(&mut self, names: Vec<String>) -> Result<StatusResponse, ClientError> {
        Ok(self.calls.status(StatusRequest { names }).await?.into_inner())
    }

    /// `CheckConfig`
    pub async fn check_config(&mut self) -> Result<CheckConfigResponse, ClientError> {
        Ok(self.calls.check_config(CheckConfigRequest {}).await?.into_inner())
    }

    /// `Launch`
    pub async fn launch(&mut self, request: LaunchRequest) -> Result<LaunchResponse, ClientError> {
        Ok(self.calls.launch(request).await?.into_inner())
    }

    /// `Tree`
    pub async fn tree(&mut self, name: &str) -> Result<TreeResponse, ClientError> {
        Ok(self.calls.tree(TreeRequest { name: name.to_owned() }).await?.into_inner())
    }

    /// `Signal`
    pub async fn signal(&mut self, request: SignalRequest) -> Result<SignalResponse, ClientError> {
        Ok(self.calls.signal(request).await?.into_inner())
    }

    /// `Shutdown`
    pub async fn shutdown(&mut self) -> Result<(), ClientError> {
        self.calls.shutdown(ShutdownRequest {}).await?;
        Ok(())
    }

    /// `Reexec`
    ///
    /// The program on disk checks itself before the answer comes: that may take longer than what is answered from memory.
    pub async fn reexec(&self) -> Result<ReexecResponse, ClientError> {
        Ok(self.streams().await?.reexec(ReexecRequest {}).await?.into_inner())
    }

    /// `Plan`
    pub async fn plan(&mut self, request: PlanRequest) -> Result<PlanResponse, ClientError> {
        Ok(self.configuration.plan(request).await?.into_inner())
    }

    /// `Reload`
    pub async fn reload(&mut self, request: ReloadRequest) -> Result<ReloadResponse, ClientError> {
        Ok(self.configuration.reload(request).await?.into_inner())
    }

    /// `FollowReload`
    pub async fn follow_reload(
        &self,
        request: FollowReloadRequest,
    ) -> Result<Stream<ReloadProgress>, ClientError> {
        let mut streams = ConfigurationClient::new(self.connection(None).await?);
        Ok(Stream(streams.follow_reload(request).await?.into_inner()))
    }

    /// `ConfigHistory`
    pub async fn config_history(&mut self) -> Result<Vec<ConfigVersion>, ClientError> {
        Ok(self.configuration.config_history(ConfigHistoryRequest {}).await?.into_inner().versions)
    }

    /// `Certificates`
    pub async fn certificates(&mut self) -> Result<Vec<Certificate>, ClientError> {
        Ok(self.configuration.certificates(CertificatesRequest {}).await?.into_inner().certificates)
    }

    /// `ConfigDiff`
    pub async fn config_diff(&mut self, from: u64, to: u64) -> Result<PlanResponse, ClientError> {
        Ok(self.configuration.config_diff(ConfigDiffRequest { from, to }).await?.into_inner())
    }

    /// `ConfigRollback`
    pub async fn config_rollback(
        &mut self,
        request: ConfigRollbackRequest,
    ) -> Result<ReloadResponse, ClientError> {
        Ok(self.configuration.config_rollback(request).await?.into_inner())
    }

    /// `ListIncidents`
    pub async fn incidents(
        &mut self,
        request: ListIncidentsRequest,
    ) -> Result<ListIncidentsResponse, ClientError> {
        Ok(self.incidents.list_incidents(request).await?.into_inner())
    }

    /// `GetIncident`
    pub async fn incident(&mut self, number: u64) -> Result<Incident, ClientError> {
        Ok(self.incidents.get_incident(GetIncidentRequest { number }).await?.into_inner())
    }

    /// `Why`
    pub async fn why(&mut self, name: &str) -> Result<WhyResponse, ClientError> {
        Ok(self.incidents.why(WhyRequest { name: name.to_owned() }).await?.into_inner())
    }

    /// `Resume`
    pub async fn resume(&self, request: ResumeRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.resume(request).await?.into_inner()))
    }

    /// `WatchStatus`
    pub async fn watch_status(&self, names: Vec<String>) -> Result<Stream<WatchStatusResponse>, ClientError> {
        self.watch(WatchStatusRequest { names, numbers: false }).await
    }

    /// Likewise, with everything that can be asked.
    pub(crate) async fn watch(
        &self,
        request: WatchStatusRequest,
    ) -> Result<Stream<WatchStatusResponse>, ClientError> {
        Ok(Stream(self.streams().await?.watch_status(request).await?.into_inner()))
    }

    /// `Start`
    pub async fn start(&self, request: StartRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.start(request).await?.into_inner()))
    }

    /// `Stop`
    pub async fn stop(&self, request: StopRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.stop(request).await?.into_inner()))
    }

    /// `Restart`
    pub async fn restart(&self, request: RestartRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.restart(request).await?.into_inner()))
    }

    /// `Up`
    pub async fn up(&self, request: UpRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.up(request).await?.into_inner()))
    }

    /// `Down`
    pub async fn down(&self, request: DownRequest) -> Result<Stream<Progress>, ClientError> {
        Ok(Stream(self.streams().await?.down(request).await?.into_inner()))
    }

    /// `Output`
    pub async fn output(&self, request: OutputRequest) -> Result<Stream<OutputChunk>, ClientError> {
        Ok(Stream(self.streams().await?.output(request).await?.into_inner()))
    }

    /// `ListMetrics`; an empty name: all.
    pub async fn list_metrics(&mut self, service: &str) -> Result<ListMetricsResponse, ClientError> {
        let request = ListMetricsRequest { service: service.to_owned() };
        Ok(self.metrics.list_metrics(request).await?.into_inner())
    }

    /// `QueryMetrics`
    pub async fn query_metrics(
        &mut self,
        request: QueryMetricsRequest,
    ) -> Result<QueryMetricsResponse, ClientError> {
        Ok(self.metrics.query_metrics(request).await?.into_inner())
    }

    /// `AppendMetrics`
    pub async fn append_metrics(
        &mut self,
        request: AppendMetricsRequest,
    ) -> Result<AppendMetricsResponse, ClientError> {
        Ok(self.metrics.append_metrics(request).await?.into_inner())
    }

    /// `Events`
    pub async fn events(&self, request: EventsRequest) -> Result<Stream<EventRecord>, ClientError> {
        Ok(Stream(self.streams().await?.events(request).await?.into_inner()))
    }
}

async fn channel(socket: &Path, limit: Option<Duration>, pulse: bool) -> io::Result<Channel> {
    // A first connection by hand: its error is the plain one of the operating system.
    let first = connect(socket).await?;
    let mut first = Some(first);
    let path = socket.to_owned();
    let connector = service_fn(move |_: Uri| {
        let (given, path) = (first.take(), path.clone());
        async move {
            let stream = match given {
                Some(stream) => stream,
                None => connect(&path).await?,
            };
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    // The authority must be `localhost`: others fail against a Unix socket.
    let mut endpoint = Endpoint::from_static("http://localhost");
    if let Some(limit) = limit {
        endpoint = endpoint.timeout(limit);
    }
    if pulse {
        endpoint = endpoint.http2_keep_alive_interval(PULSE_EVERY).keep_alive_timeout(PULSE_WITHIN);
    }
    endpoint.connect_timeout(CONNECT_WITHIN).connect_with_connector(connector).await.map_err(io::Error::other)
}

/// Connects through a descriptor of the directory: a path may be longer than a socket address allows.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (dir, name) = socket.parent().zip(socket.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    tokio::time::timeout(CONNECT_WITHIN, UnixStream::connect(short)).await?
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use rustix::fs::{FlockOperation, flock};
    use tokio::net::UnixListener;

    use super::*;

    /// A home whose lock is held, as by a helmd that says this.
    fn held(text: &str) -> (tempfile::TempDir, Home, File) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("instance")).unwrap();
        let path = dir.path().join("instance/helmd.lock");
        fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let home = Home::find(Some(dir.path())).unwrap();
        (dir, home, file)
    }

    fn lock_text(socket: &Path) -> String {
        serde_json::json!({"pid": 7, "boot_id": "b", "socket": socket, "version": "1", "started": 0})
            .to_string()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn nobody_there_is_told_with_the_way_out() {
        let (_dir, home, lock) = held(&lock_text(Path::new("/nowhere/helmd.sock")));
        drop(lock);
        // What a dead helmd wrote is no address.
        let error = run(Client::of(&home)).unwrap_err();
        assert!(matches!(error, ClientError::NotRunning { .. }) && error.is_away());
        assert!(error.to_string().contains("daemon start"), "{error}");
    }

    #[test]
    fn a_helmd_on_its_way_up_or_without_its_socket_is_waited_for() {
        let (_dir, home, _lock) = held("");
        let error = run(Client::of(&home)).unwrap_err();
        assert!(error.to_string().contains("still starting") && error.is_away(), "{error}");
        let (_dir, home, _lock) = held(&lock_text(Path::new("/nowhere/helmd.sock")));
        let error = run(Client::of(&home)).unwrap_err();
        assert!(matches!(error, ClientError::NotAnswering { pid: 7, .. }) && error.is_away(), "{error}");
    }

    /// The lock alone names the socket: no variable of the environment has a part in it, and its path may be longer than
    /// an address.
    #[test]
    fn the_socket_is_where_the_lock_says() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        run(async {
            // Bound by its short name: a bound path is limited, one that is connected to is not.
            let short = dir.path().join("s");
            std::os::unix::fs::symlink(&deep, &short).unwrap();
            let listener = UnixListener::bind(short.join("helmd.sock")).unwrap();
            let (_dir, home, _lock) = held(&lock_text(&deep.join("helmd.sock")));
            let (client, accepted) = tokio::join!(Client::of(&home), listener.accept());
            accepted.unwrap();
            assert_eq!(client.unwrap().socket(), deep.join("helmd.sock"));
        });
    }
}
