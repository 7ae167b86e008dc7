//! Ends that nobody asked for, and why a service is as it is.

use helm_proto::v1;
use serde::Serialize;
use utoipa::ToSchema;

use crate::time::optional as time;

/// `why --json`
#[derive(Debug, Serialize, ToSchema)]
pub struct Why {
    service: String,
    well: bool,
    verdict: String,
    at: Option<String>,
    cause: String,
    facts: Vec<Fact>,
    next: Vec<String>,
    incident: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhyFact)]
struct Fact {
    label: String,
    at: Option<String>,
    text: String,
}

impl From<v1::WhyResponse> for Why {
    fn from(w: v1::WhyResponse) -> Self {
        let fact = |f: v1::WhyFact| Fact { label: f.label, at: time(f.at), text: f.text };
        Self {
            service: w.service,
            well: w.well,
            verdict: w.verdict,
            at: time(w.at),
            cause: w.cause,
            facts: w.facts.into_iter().map(fact).collect(),
            next: w.next,
            incident: Some(w.incident).filter(|number| *number > 0),
        }
    }
}

/// `incidents --json`: one of its values; `incidents show --json`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incident {
    number: u64,
    service: String,
    at: Option<String>,
    run: String,
    kind: String,
    cause: String,
    exit: Option<String>,
    ran_seconds: Option<f64>,
    follows: String,
    oom: String,
    oom_detail: Option<String>,
    memory_limit: Option<u64>,
    peak_bytes: Option<u64>,
    cpu_seconds: Option<f64>,
    samples: Vec<Sample>,
    lines: Vec<Line>,
    probes: Vec<Probe>,
    before: Vec<Told>,
    aftermath: Vec<Told>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IncidentSample)]
struct Sample {
    at: Option<String>,
    memory_bytes: u64,
    cpu_percent: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IncidentLine)]
struct Line {
    at: Option<String>,
    stream: String,
    text: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IncidentProbe)]
struct Probe {
    at: Option<String>,
    probe: String,
    health: String,
    message: String,
    latency_us: u64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IncidentTold)]
struct Told {
    at: Option<String>,
    service: Option<String>,
    text: String,
}

impl From<v1::Incident> for Incident {
    fn from(i: v1::Incident) -> Self {
        let sample = |s: v1::IncidentSample| Sample {
            at: time(s.at),
            memory_bytes: s.memory_bytes,
            cpu_percent: s.cpu_percent,
        };
        let line = |l: v1::IncidentLine| Line { at: time(l.at), stream: l.stream, text: l.text };
        let probe = |p: v1::IncidentProbe| Probe {
            at: time(p.at),
            probe: p.probe,
            health: p.health,
            message: p.message,
            latency_us: p.latency_us,
        };
        let told = |t: v1::IncidentTold| Told {
            at: time(t.at),
            service: Some(t.service).filter(|name| !name.is_empty()),
            text: t.text,
        };
        Self {
            number: i.number,
            service: i.service,
            at: time(i.at),
            run: i.run,
            kind: i.kind,
            cause: i.cause,
            exit: i.exit,
            ran_seconds: i.ran_seconds,
            follows: i.follows,
            oom: i.oom,
            oom_detail: Some(i.oom_detail).filter(|text| !text.is_empty()),
            memory_limit: i.memory_limit,
            peak_bytes: i.peak_bytes,
            cpu_seconds: i.cpu_seconds,
            samples: i.samples.into_iter().map(sample).collect(),
            lines: i.lines.into_iter().map(line).collect(),
            probes: i.probes.into_iter().map(probe).collect(),
            before: i.before.into_iter().map(told).collect(),
            aftermath: i.aftermath.into_iter().map(told).collect(),
        }
    }
}
