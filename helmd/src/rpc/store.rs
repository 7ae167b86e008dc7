//! `helm.v1.Store`: the database behind the log, and what it keeps how long.

use std::collections::BTreeMap;
use std::time::Duration;

use helm_core::access::{Action, Scope};
use helm_core::name::{self, AUDIT};
use helm_core::spec::Keep;
use helm_proto::reason;
use helm_proto::v1::store_server::Store as StoreRpc;
use helm_proto::v1::{
    CaptureLag, DroppedLines, HostInfo, PartitionInfo, Removal, RetentionClass, RetentionRequest,
    RetentionResponse, SetRetentionRequest, StoreStatusRequest, StoreStatusResponse,
};
use helm_store::live::Manifest;
use helm_store::partition::{Class, Partition};
use helm_store::postgres::Registered;
use helm_store::retention::{self, DAY, Forecast, Policy, Reason};
use helm_store::writer::Health;
use tokio::time::timeout;
use tonic::{Request, Response};

use super::caller::Caller;
use super::{Api, Result};
use crate::audit::Outcome;
use crate::home::{Home, replace_durably};
use crate::store::keep::{self, Rules};
use crate::store::place::Place;
use crate::store::told::stamp;
use crate::store::{Opened, State, in_words, lag};
use crate::versions::{Author, Versions};
use crate::{clock, ini, work};

/// A database that does not answer in this time is not waited for: the status tells what is known without it.
const ASKED: Duration = Duration::from_secs(3);

#[tonic::async_trait]
impl StoreRpc for Api {
    async fn store_status(
        &self,
        request: Request<StoreStatusRequest>,
    ) -> Result<Response<StoreStatusResponse>> {
        let whole = Caller::of(&request)?.scope(Action::Configuration) == Scope::All;
        if matches!(self.store.state(), State::Closed { why: None, .. }) {
            // Just being opened: whatever comes of it is told below.
            let _ = self.store.ready().await;
        }
        let mut status = match self.store.state() {
            State::Closed { since, why } => {
                let why = why.map_or_else(
                    || "it is being opened".to_owned(),
                    |why| format!("not open since {}: {why}", stamp(since)),
                );
                StoreStatusResponse { state: why, ..self.configured().await }
            }
            State::Open(opened) => of_opened(&opened).await,
        };
        if let Some(waiting) = self.store.waiting() {
            (status.queued_appends, status.queued_bytes) = (waiting.appends, waiting.bytes);
            status.advice.extend(waiting.full);
            status.advice.extend(self.store.unreadable());
        }
        status.capture = self.lags().await;
        let dropped = self.store.dropped().all().into_iter();
        status.dropped =
            dropped.map(|(service, health_probes)| DroppedLines { service, health_probes }).collect();
        if !whole {
            status = numbers_of(status);
        }
        Ok(Response::new(status))
    }

    async fn retention(&self, request: Request<RetentionRequest>) -> Result<Response<RetentionResponse>> {
        let RetentionRequest { dry_run, rules: given } = request.into_inner();
        let mut rules = self.retention.rules();
        if !dry_run && !given.is_empty() {
            return Err(reason::bad_request("rules are only tried with dry_run; SetRetention sets one"));
        }
        for rule in &given {
            let (class, keep) = rule.split_once('=').ok_or_else(|| {
                reason::bad_request(&format!("`{rule}` is no rule: say CLASS=RULE, like default=\"30d 20G\""))
            })?;
            rules.classes.insert(class_name(class)?, keep_of(keep)?);
        }
        self.kept(&rules, dry_run).await.map(Response::new)
    }

    async fn set_retention(
        &self,
        request: Request<SetRetentionRequest>,
    ) -> Result<Response<RetentionResponse>> {
        let caller = Caller::of(&request)?;
        let who = caller.describe();
        let SetRetentionRequest { class, rule } = request.into_inner();
        let (class, keep) = (class_name(&class)?, keep_of(&rule)?);
        let (home, name) = (self.facts.home.clone(), class.clone());
        let author = Author { by: who.clone(), why: format!("retention of {name} set to {keep}") };
        let intent = self.intend(&caller, "set_retention", &class).await;
        let written = work::STORE.run(move || write_rule(&home, &name, &keep.to_string(), author)).await;
        match &written {
            Ok(()) => intent.came(Outcome::Done, keep.to_string()),
            Err(e) => intent.came(Outcome::Failed, e.to_string()),
        }
        written.map_err(|e| {
            reason::not_recorded(&format!("instance/helm.conf cannot be written, nothing was changed: {e}"))
        })?;
        self.retention.set(&class, keep);
        tracing::info!("retention: class {class} is kept {keep} from now on, set by {who}");
        self.kept(&self.retention.rules(), false).await.map(Response::new)
    }
}

/// What a graph needs: where the database is, and what is odd about it, is for those who look after it.
fn numbers_of(status: StoreStatusResponse) -> StoreStatusResponse {
    StoreStatusResponse {
        address: String::new(),
        state: String::new(),
        advice: Vec::new(),
        hosts: Vec::new(),
        ..status
    }
}

fn class_name(text: &str) -> Result<String> {
    name::class(text.trim()).map(str::to_owned).map_err(|e| reason::bad_request(&e.to_string()))
}

fn keep_of(text: &str) -> Result<Keep> {
    let unquoted = text.trim().trim_matches('"');
    Keep::parse(unquoted).map_err(|why| reason::bad_request(&why.to_string()))
}

/// One key of `[retention]`; everything else of the file stays as it is.
fn write_rule(home: &Home, class: &str, rule: &str, author: Author) -> std::io::Result<()> {
    // Two that set rules at the same time must not lose one of them, nor who writes former files back.
    let turn = Versions::writing();
    let path = home.instance().join("helm.conf");
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let edit = |text: &str| ini::set(text, "retention", class, rule);
    replace_durably(&path, edit(&text).as_bytes(), 0o600)?;
    // The file says it already; that there is no way back to it is no reason to refuse it.
    Versions::of(home).amend(&turn, author, edit).or_else(|e| {
        tracing::warn!("the rule of retention could not be kept in instance/config-history: {e}");
        Ok(())
    })
}

impl Api {
    /// What can be said of a store that is not open.
    async fn configured(&self) -> StoreStatusResponse {
        let home = self.facts.home.clone();
        match timeout(ASKED, work::STORE.run(move || Ok(Place::of(&home)))).await {
            Ok(Ok(Ok(place))) => StoreStatusResponse {
                engine: engine(&place).to_owned(),
                address: place.describe(),
                ..StoreStatusResponse::default()
            },
            // The reason why it is not open says it.
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => StoreStatusResponse::default(),
        }
    }

    /// In one piece of work: a directory that hangs must not cost a thread for each service.
    async fn lags(&self) -> Vec<CaptureLag> {
        let (stored, logs) = (self.store.stored().all(), self.facts.home.logs());
        let count = move || {
            let of = |(service, place): (String, crate::follow::Place)| {
                let bytes = lag::behind(&logs.join(&service), place).unwrap_or(0);
                CaptureLag { service, bytes, segment: place.segment, offset: place.offset }
            };
            Ok(stored.into_iter().map(of).collect())
        };
        match timeout(ASKED, work::STORE.run(count)).await {
            Ok(Ok(lags)) => lags,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Rules of classes that nothing belongs to.
    fn unused(&self, rules: &Rules, manifest: &Manifest) -> Vec<String> {
        let used = |class: &&String| {
            [Class::DEFAULT, AUDIT].contains(&class.as_str())
                || self.specs.iter().any(|spec| spec.log.class == **class)
                || manifest.values().any(|partition| partition.class.0 == **class)
        };
        let classes = rules.classes.keys().filter(|class| !used(class));
        let note = |class: &String| {
            format!(
                "no service belongs to class {class}: say \"log\": {{\"class\": \"{class}\"}} in services.json"
            )
        };
        classes.map(note).collect()
    }

    async fn kept(&self, rules: &Rules, dry_run: bool) -> Result<RetentionResponse> {
        let away = |why: String| reason::store_away(&format!("the store cannot be used: {why}"));
        let opened = self.store.ready().await.map_err(away)?;
        let disk = keep::disk(&opened.place, rules).await.map_err(away)?;
        let (policies, now, own) = (rules.policies(), clock::wall().0, opened.engine.instance());
        let manifest = keep::measured(&opened).await;
        let former = keep::former_whole(&opened).await;
        let mut forecasts: BTreeMap<Class, Option<Forecast>> =
            rules.classes.keys().map(|class| (Class(class.clone()), None)).collect();
        let found = retention::forecast(manifest.values().map(|p| &**p), own, &policies, now);
        forecasts.extend(found.into_iter().map(|(class, forecast)| (class, Some(forecast))));
        let mut removals = keep::removals(&manifest, own, former, &policies, disk, now);
        if !dry_run {
            removals.clear();
        }
        Ok(RetentionResponse {
            classes: forecasts
                .into_iter()
                .map(|(class, found)| retained(class.clone(), policies.of(&class), found))
                .collect(),
            removals: removals.iter().filter_map(|removal| removal_of(&manifest, removal)).collect(),
            free_floor: disk.floor,
            free: disk.free,
            notes: [stalled(&opened), self.unused(rules, &manifest)].concat(),
        })
    }
}

/// What is known of a database that cannot be asked is of before.
fn stalled(opened: &Opened) -> Vec<String> {
    match &*opened.writer.health().borrow() {
        Health::Stalled { since, stall, why } => vec![format!(
            "the log is {} since {}, sizes are those of before: {why}",
            stall.word(),
            stamp(*since)
        )],
        Health::Starting | Health::Well => Vec::new(),
    }
}

fn removal_of(manifest: &Manifest, removal: &retention::Removal) -> Option<Removal> {
    let reason = match removal.reason {
        Reason::Age => "age",
        Reason::Bytes => "bytes",
        Reason::Disk => "disk",
    };
    let partition = manifest.get(&removal.partition)?;
    Some(Removal { partition: Some(partition_info(partition)), reason: reason.to_owned() })
}

fn retained(class: Class, policy: Policy, found: Option<Forecast>) -> RetentionClass {
    let seconds = policy.age.map_or(0, |age| u64::try_from(age / 1_000_000_000).unwrap_or(0));
    RetentionClass {
        class: class.0,
        age: seconds,
        max_bytes: policy.bytes.unwrap_or(0),
        bytes: found.as_ref().map_or(0, |f| f.bytes),
        entries: found.as_ref().map_or(0, |f| f.rows),
        oldest: found.as_ref().map(|f| f.oldest),
        forecast: found.map_or_else(|| "nothing is there".to_owned(), |f| in_words_of(&f)),
    }
}

/// "12 MiB a day: kept 90 days, grows to 1080 MiB"
fn in_words_of(forecast: &Forecast) -> String {
    if forecast.young {
        return "too young to tell".to_owned();
    }
    let days = |age: i64| match age / DAY {
        0 => format!("{} h", age / (DAY / 24)),
        days => format!("{days} d"),
    };
    let keeps = forecast.keeps.map_or_else(|| "for ever".to_owned(), days);
    let grows = forecast
        .grows_to
        .map_or_else(|| "grows without end".to_owned(), |bytes| format!("grows to {}", mebibytes(bytes)));
    format!("{} a day: kept {keeps}, {grows}", mebibytes(forecast.rate))
}

fn mebibytes(bytes: u64) -> String {
    if bytes < 10 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn engine(place: &Place) -> &'static str {
    match place {
        Place::Sqlite(_) => "sqlite",
        Place::Postgres(_) => "postgresql",
    }
}

fn partition_info(partition: &Partition) -> PartitionInfo {
    PartitionInfo {
        id: partition.id.to_string(),
        class: partition.class.0.clone(),
        opened: partition.opened,
        closed: partition.seal.map(|seal| seal.closed),
        entries: partition.contents.rows,
        bytes: retention::size(partition),
        oldest: partition.contents.at.map(|(oldest, _)| oldest),
        newest: partition.contents.at.map(|(_, newest)| newest),
    }
}

fn host_info(registered: Registered) -> HostInfo {
    let Registered { instance, host, home, seen } = registered;
    HostInfo { instance: u32::from(instance.0), host, home, seen }
}

async fn of_opened(opened: &Opened) -> StoreStatusResponse {
    let health = opened.writer.health().borrow().clone();
    let (available, state) = match health {
        Health::Well => (true, "ok".to_owned()),
        Health::Starting => (false, "its contents are being read".to_owned()),
        Health::Stalled { since, stall, why } => {
            (false, format!("{} since {}: {why}", stall.word(), stamp(since)))
        }
    };
    let measured = timeout(ASKED, keep::measured(opened));
    let manifest = match available {
        true => measured.await.unwrap_or_else(|_| opened.writer.live().manifest()),
        false => opened.writer.live().manifest(),
    };
    let partitions: Vec<PartitionInfo> = manifest.values().map(|p| partition_info(p)).collect();
    let mut advice = opened.lost.told();
    advice.extend(opened.notes.iter().cloned());
    let mut hosts = Vec::new();
    let protection = match available {
        true => {
            let asked = timeout(ASKED, look(opened, &mut advice, &mut hosts)).await;
            asked.unwrap_or_else(|_| "not known: the database does not answer".to_owned())
        }
        false => "not known while the database is away".to_owned(),
    };
    StoreStatusResponse {
        engine: engine(&opened.place).to_owned(),
        address: opened.place.describe(),
        version: opened.version.clone(),
        instance: u32::from(opened.engine.instance().0),
        available,
        state,
        entries: partitions.iter().map(|p| u64::from(p.entries)).sum(),
        bytes: partitions.iter().map(|p| p.bytes).sum(),
        partitions,
        protection,
        advice,
        hosts,
        ..StoreStatusResponse::default()
    }
}

/// What protects the log; what to do better goes to `advice`.
async fn look(opened: &Opened, advice: &mut Vec<String>, hosts: &mut Vec<HostInfo>) -> String {
    if let Some(postgres) = &opened.postgres {
        if let Ok(Some(rows)) = postgres.taking_over().await {
            advice.push(format!("the log of the Python Helm is being taken over: {rows} entries are here"));
        }
        match postgres.registered().await {
            Ok(registered) => hosts.extend(registered.into_iter().map(host_info)),
            Err(e) => advice.push(format!("who shares it cannot be read: {}", in_words(&e))),
        }
        match postgres.advice().await {
            Ok(settings) => advice.extend(settings),
            Err(e) => advice.push(format!("its settings cannot be read: {}", in_words(&e))),
        }
    }
    match opened.engine.protection().await {
        Ok(protection) => {
            advice.extend(protection.advice());
            protection.word().to_owned()
        }
        Err(e) => format!("not known: {}", in_words(&e)),
    }
}
