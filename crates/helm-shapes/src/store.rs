//! The store, and what it keeps how long.

use helm_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::utc_nanos;

/// `db status --json`
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoreStatus)]
pub struct Status {
    engine: String,
    address: String,
    version: String,
    instance: u32,
    available: bool,
    state: String,
    entries: u64,
    bytes: u64,
    partitions: Vec<Partition>,
    queued_appends: u64,
    queued_bytes: u64,
    capture: Vec<Lag>,
    protection: String,
    advice: Vec<String>,
    hosts: Vec<Host>,
    dropped: Vec<Dropped>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DroppedLines)]
struct Dropped {
    service: String,
    health_probes: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoreHost)]
struct Host {
    instance: u32,
    host: String,
    home: String,
    seen: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Partition {
    id: String,
    class: String,
    opened: String,
    closed: Option<String>,
    entries: u32,
    bytes: u64,
    oldest: Option<String>,
    newest: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaptureLag)]
struct Lag {
    service: String,
    bytes: u64,
    segment: u64,
    offset: u64,
}

impl From<v1::PartitionInfo> for Partition {
    fn from(p: v1::PartitionInfo) -> Self {
        Self {
            id: p.id,
            class: p.class,
            opened: utc_nanos(p.opened),
            closed: p.closed.map(utc_nanos),
            entries: p.entries,
            bytes: p.bytes,
            oldest: p.oldest.map(utc_nanos),
            newest: p.newest.map(utc_nanos),
        }
    }
}

impl From<v1::StoreStatusResponse> for Status {
    fn from(s: v1::StoreStatusResponse) -> Self {
        let host = |host: v1::HostInfo| {
            let v1::HostInfo { instance, host, home, seen } = host;
            Host { instance, host, home, seen: utc_nanos(seen) }
        };
        let lag = |lag: v1::CaptureLag| {
            let v1::CaptureLag { service, bytes, segment, offset } = lag;
            Lag { service, bytes, segment, offset }
        };
        let dropped = |dropped: v1::DroppedLines| {
            let v1::DroppedLines { service, health_probes } = dropped;
            Dropped { service, health_probes }
        };
        Self {
            engine: s.engine,
            address: s.address,
            version: s.version,
            instance: s.instance,
            available: s.available,
            state: s.state,
            entries: s.entries,
            bytes: s.bytes,
            partitions: s.partitions.into_iter().map(Partition::from).collect(),
            queued_appends: s.queued_appends,
            queued_bytes: s.queued_bytes,
            capture: s.capture.into_iter().map(lag).collect(),
            protection: s.protection,
            advice: s.advice,
            hosts: s.hosts.into_iter().map(host).collect(),
            dropped: s.dropped.into_iter().map(dropped).collect(),
        }
    }
}

/// `retention … --json`
#[derive(Debug, Serialize, ToSchema)]
pub struct Retention {
    classes: Vec<Class>,
    removals: Vec<Removal>,
    free_floor: u64,
    free: u64,
    notes: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetentionClass)]
struct Class {
    class: String,
    age_seconds: Option<u64>,
    max_bytes: Option<u64>,
    bytes: u64,
    entries: u64,
    oldest: Option<String>,
    forecast: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetentionRemoval)]
struct Removal {
    partition: Option<Partition>,
    reason: String,
}

impl From<v1::RetentionResponse> for Retention {
    fn from(r: v1::RetentionResponse) -> Self {
        let class = |c: v1::RetentionClass| Class {
            class: c.class,
            age_seconds: Some(c.age).filter(|age| *age > 0),
            max_bytes: Some(c.max_bytes).filter(|most| *most > 0),
            bytes: c.bytes,
            entries: c.entries,
            oldest: c.oldest.map(utc_nanos),
            forecast: c.forecast,
        };
        let removal =
            |r: v1::Removal| Removal { partition: r.partition.map(Partition::from), reason: r.reason };
        Self {
            classes: r.classes.into_iter().map(class).collect(),
            removals: r.removals.into_iter().map(removal).collect(),
            free_floor: r.free_floor,
            free: r.free,
            notes: r.notes,
        }
    }
}
