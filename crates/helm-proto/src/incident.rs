//! Incidents, and why a service is as it is, as messages.

use helm_core::incident::why::{Fact, Why};
use helm_core::incident::{Incident, Oom, OutputLine, ProbeAnswer, Sample, Told, What};

use crate::convert::timestamp;
use crate::v1;

/// An incident, with what came of it where that was asked for.
pub fn incident(incident: &Incident, aftermath: &[Told]) -> v1::Incident {
    let Incident { number, mishap, evidence } = incident;
    let ran = match &mishap.what {
        What::Ended { ran, .. } | What::Unwell { ran, .. } => Some(ran.as_secs_f64()),
        What::NotStarted { .. } | What::NotInstalled { .. } => None,
    };
    let (oom, oom_detail) = match &evidence.oom {
        Oom::Counted(0) | Oom::No => ("no", String::new()),
        Oom::Counted(processes) => ("yes", format!("its cgroup counts {processes} killed for memory")),
        Oom::Logged(line) => ("yes", line.clone()),
        Oom::Unknown => ("unknown", String::new()),
    };
    v1::Incident {
        number: *number,
        service: mishap.service.to_string(),
        at: Some(timestamp(mishap.at)),
        run: mishap.run.to_string(),
        kind: mishap.kind().to_owned(),
        cause: incident.cause(),
        exit: mishap.exit().map(|exit| exit.to_string()),
        ran_seconds: ran,
        follows: mishap.follows.words(),
        oom: oom.to_owned(),
        oom_detail,
        memory_limit: evidence.memory_limit,
        peak_bytes: evidence.peak,
        cpu_seconds: evidence.cpu.map(|cpu| cpu.as_secs_f64()),
        samples: evidence.samples.iter().map(sample).collect(),
        lines: evidence.lines.iter().map(line).collect(),
        probes: evidence.answers.iter().map(probe).collect(),
        before: evidence.before.iter().map(told).collect(),
        aftermath: aftermath.iter().map(told).collect(),
    }
}

fn sample(sample: &Sample) -> v1::IncidentSample {
    let Sample { at, memory, cpu_percent } = *sample;
    v1::IncidentSample { at: Some(timestamp(at)), memory_bytes: memory, cpu_percent }
}

fn line(line: &OutputLine) -> v1::IncidentLine {
    let stream = if line.stderr { "stderr" } else { "stdout" };
    v1::IncidentLine { at: Some(timestamp(line.at)), stream: stream.to_owned(), text: line.text.clone() }
}

fn probe(answer: &ProbeAnswer) -> v1::IncidentProbe {
    v1::IncidentProbe {
        at: Some(timestamp(answer.at)),
        probe: answer.probe.as_str().to_owned(),
        health: answer.health.as_str().to_owned(),
        message: answer.message.clone(),
        latency_us: u64::try_from(answer.latency.as_micros()).unwrap_or(u64::MAX),
    }
}

fn told(told: &Told) -> v1::IncidentTold {
    v1::IncidentTold {
        at: Some(timestamp(told.at)),
        service: told.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        text: told.text.clone(),
    }
}

/// Why a service is as it is.
pub fn why(why: Why) -> v1::WhyResponse {
    let fact = |fact: Fact| v1::WhyFact { label: fact.label, at: fact.at.map(timestamp), text: fact.text };
    v1::WhyResponse {
        service: why.service.to_string(),
        well: why.well,
        verdict: why.verdict,
        at: why.at.map(timestamp),
        cause: why.cause,
        facts: why.facts.into_iter().map(fact).collect(),
        next: why.next,
        incident: why.incident.unwrap_or(0),
    }
}
