//! What helm-web has to know of the home, told by helmd and asked for again and again: its settings, and where Core is.

use std::sync::Arc;
use std::time::Duration;

use helm_client::ClientError;
use helm_core::spec::WebSettings;
use helm_proto::v1::{Principal, ServiceInfo, ServiceStatus, WebSettingsResponse};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::auth::core::{PORT, Place};
use crate::backend::Backend;

/// Between two questions: an applied configuration is known so soon.
const ASK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    settings: Arc<WebSettings>,
    core: Place,
    /// What of Helm and its ecosystem was looked at, by name.
    checks: Vec<(&'static str, Option<Fault>)>,
}

/// Why something is away, and the command that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For everybody: names no file.
    pub brief: String,
    /// For those who may know more.
    pub whole: String,
}

/// The newest that was told; before helmd was heard, the defaults.
#[derive(Debug, Clone)]
pub struct Situation(watch::Receiver<Told>);

/// Asks helmd.
#[derive(Debug)]
pub struct Asking {
    backend: Backend,
    told: watch::Sender<Told>,
}

/// The situation, and what keeps it true.
#[must_use]
pub fn of(backend: Backend) -> (Situation, Asking) {
    let first = Told { settings: Arc::default(), core: Place { port: PORT, key: None }, checks: Vec::new() };
    let (told, newest) = watch::channel(first);
    (Situation(newest), Asking { backend, told })
}

impl Situation {
    /// `[web]` of instance/helm.conf.
    #[must_use]
    pub fn settings(&self) -> Arc<WebSettings> {
        self.0.borrow().settings.clone()
    }

    /// What was looked at last, and what is wrong with it.
    #[must_use]
    pub fn checks(&self) -> Vec<(&'static str, Option<Fault>)> {
        self.0.borrow().checks.clone()
    }

    /// Where Core is.
    #[must_use]
    pub fn core(&self) -> Place {
        self.0.borrow().core.clone()
    }
}

/// What the ecosystem needs for people to sign in, where it is configured.
const NEIGHBOURS: [&str; 3] = ["keycloak", "core", "nexus"];

fn neighbours(services: &[ServiceStatus]) -> Vec<(&'static str, Option<Fault>)> {
    let one = |name: &'static str| {
        let service = services.iter().find(|service| service.name == name)?;
        let well = service.status == "running"
            && matches!(service.health.as_str(), "healthy" | "degraded" | "unknown");
        let fault = Fault {
            brief: format!("{}; helmctl why {name}", service.state),
            whole: format!("{}: {}; helmctl why {name}", service.state, service.reason),
        };
        Some((name, (!well).then_some(fault)))
    };
    NEIGHBOURS.into_iter().filter_map(one).collect()
}

fn read(told: WebSettingsResponse) -> WebSettings {
    WebSettings {
        allowed_hosts: told.allowed_hosts,
        public_url: Some(told.public_url).filter(|url| !url.is_empty()),
        trusted_uids: told.trusted_uids,
        open_ingest: told.open_ingest,
        prefixes: told.prefixes,
    }
}

/// helm-web as a principal of its own.
#[must_use]
pub fn ourselves() -> Principal {
    Principal { via: "web".to_owned(), ..Principal::default() }
}

impl Asking {
    /// Asks once; where helmd is away, what was told before holds.
    pub async fn ask(&self) {
        let whom = ourselves();
        let answer = async {
            let mut client = self.backend.client(&whom).await?;
            let settings = self.backend.access(&whom).await?.web_settings().await?;
            Ok::<_, ClientError>((client.list().await?, client.status(Vec::new()).await?, settings))
        };
        let (core, settings, checks) = match answer.await {
            Ok((services, status, settings)) => {
                let mut checks = vec![("helmd", None)];
                checks.extend(neighbours(&status.services));
                (Some(self.place(&services)), Some(read(settings)), checks)
            }
            Err(e) => {
                let brief = "helmd does not answer; on the host: helmctl daemon status".to_owned();
                (None, None, vec![("helmd", Some(Fault { brief, whole: e.to_string() }))])
            }
        };
        self.told.send_if_modified(|told| {
            let next = Told {
                core: core.unwrap_or_else(|| told.core.clone()),
                settings: settings.map_or_else(|| told.settings.clone(), Arc::new),
                checks,
            };
            let changed = *told != next;
            *told = next;
            changed
        });
    }

    /// Asks until it is dropped.
    pub async fn keep(self) {
        loop {
            self.ask().await;
            sleep_until(Instant::now() + ASK_EVERY).await;
        }
    }

    fn place(&self, services: &[ServiceInfo]) -> Place {
        let core = services.iter().find(|service| service.name == "core");
        let port = core.and_then(|core| u16::try_from(core.port?).ok());
        let key = core
            .filter(|core| !core.path.is_empty())
            .map(|core| self.backend.home().path().join(&core.path).join("keys/jwt_public.pem"));
        Place { port: port.unwrap_or(PORT), key }
    }
}
