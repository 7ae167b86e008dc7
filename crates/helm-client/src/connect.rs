//! Connections.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use helm_proto::v1::helm_client::HelmClient;
use helm_proto::v1::{
    CheckConfigRequest, CheckConfigResponse, DownRequest, EventRecord, EventsRequest, InfoRequest,
    InfoResponse, ListRequest, OutputChunk, OutputRequest, Progress, RestartRequest, ServiceInfo,
    ShutdownRequest, StartRequest, StatusRequest, StatusResponse, StopRequest, UpRequest, WatchStatusRequest,
    WatchStatusResponse,
};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::error::ClientError;
use crate::home::{Home, LockInfo, Presence};
use crate::stream::Stream;

/// A Unix socket connects at once; a helmd that does not accept for this long is stuck.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Calls are answered from memory; a helmd that does not answer one for this long is stuck.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// A client of one helmd.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    calls: HelmClient<Channel>,
}

impl Client {
    /// Connects to the helmd of this home.
    pub async fn of(home: &Home) -> Result<Self, ClientError> {
        match home.presence()? {
            Presence::Running(Some(info)) => Self::to(&info).await,
            Presence::Running(None) => Err(ClientError::NotAnswering {
                pid: 0,
                socket: PathBuf::new(),
                cause: "it is still starting".into(),
            }),
            Presence::Absent => Err(ClientError::NotRunning { home: home.path().to_owned() }),
        }
    }

    async fn to(info: &LockInfo) -> Result<Self, ClientError> {
        match Self::at(&info.socket).await {
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
        Ok(Self {
            socket: socket.to_owned(),
            calls: HelmClient::new(channel(socket, Some(CALL_WITHIN)).await?),
        })
    }

    /// A connection of its own for a stream that may be read slowly.
    async fn streams(&self) -> Result<HelmClient<Channel>, ClientError> {
        let channel = channel(&self.socket, None).await.map_err(|e| ClientError::Broken(e.to_string()))?;
        Ok(HelmClient::new(channel))
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

    /// `Shutdown`
    pub async fn shutdown(&mut self) -> Result<(), ClientError> {
        self.calls.shutdown(ShutdownRequest {}).await?;
        Ok(())
    }

    /// `WatchStatus`
    pub async fn watch_status(&self, names: Vec<String>) -> Result<Stream<WatchStatusResponse>, ClientError> {
        Ok(Stream(self.streams().await?.watch_status(WatchStatusRequest { names }).await?.into_inner()))
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

    /// Number of the newest event.
    pub(crate) async fn newest_event(&mut self) -> Result<u64, ClientError> {
        let request = EventsRequest { last: Some(1), ..Default::default() };
        let newest = self.calls.events(request).await?.into_inner().message().await?;
        Ok(newest.map_or(0, |event| event.id))
    }

    /// `Events`
    pub async fn events(&self, request: EventsRequest) -> Result<Stream<EventRecord>, ClientError> {
        Ok(Stream(self.streams().await?.events(request).await?.into_inner()))
    }
}

async fn channel(socket: &Path, limit: Option<Duration>) -> io::Result<Channel> {
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
    endpoint.connect_timeout(CONNECT_WITHIN).connect_with_connector(connector).await.map_err(io::Error::other)
}

/// Connects through a descriptor of the directory: a path may be longer than a socket address allows.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    let (dir, name) = socket.parent().zip(socket.file_name()).ok_or(io::ErrorKind::InvalidInput)?;
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    tokio::time::timeout(CONNECT_WITHIN, UnixStream::connect(short)).await?
}
