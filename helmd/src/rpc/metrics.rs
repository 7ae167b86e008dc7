//! Numbers over time, for clients.

use std::collections::BTreeSet;

use helm_core::access::Action;
use helm_core::name::ServiceName;
use helm_proto::reason;
use helm_proto::v1::metrics_server::Metrics;
use helm_proto::v1::{
    AppendMetricsRequest, AppendMetricsResponse, ListMetricsRequest, ListMetricsResponse, MetricPoint,
    MetricSeries, NewMetric, QueryMetricsRequest, QueryMetricsResponse, RejectedMetric,
};
use helm_store::metrics::MetricsHandle;
use helm_store::metrics::block::Sample;
use helm_store::metrics::engine::SeriesKey;
use tonic::{Request, Response};

use super::caller::Caller;
use super::{Api, Result};
use crate::clock;
use crate::sample::series::{HELMD, HOST, MEASURED, unit};

/// Points where the caller does not say.
const POINTS: u32 = 500;
/// Numbers of one request.
const MOST: usize = 10_000;

impl Api {
    fn numbers(&self) -> Result<MetricsHandle> {
        self.sampler.metrics().ok_or_else(|| {
            let why = self.store.opened().err().unwrap_or_else(|| "it has just been opened".to_owned());
            reason::store_away(&format!("numbers cannot be reached: {why}; try again in a moment"))
        })
    }

    /// Configured, or a name that a service could have.
    fn nameable(service: &str) -> Result<()> {
        ServiceName::new(service).map(drop).map_err(|e| reason::bad_request(&e.to_string()))
    }
}

#[tonic::async_trait]
impl Metrics for Api {
    async fn list_metrics(
        &self,
        request: Request<ListMetricsRequest>,
    ) -> Result<Response<ListMetricsResponse>> {
        let caller = Caller::of(&request)?;
        let scope = caller.scope(Action::Metrics).union(&caller.scope(Action::Scrape));
        let service = request.into_inner().service;
        if !service.is_empty() && !scope.holds(&service) {
            caller.may(Action::Metrics, Some(&service))?;
        }
        let numbers = self.numbers()?;
        let mut services: BTreeSet<String> =
            if service.is_empty() { numbers.services() } else { BTreeSet::from([service]) };
        services.retain(|service| scope.holds(service));
        let mut series = Vec::new();
        for service in services {
            let latest = numbers.latest(&service);
            let known: BTreeSet<SeriesKey> =
                numbers.list(&service).into_iter().chain(latest.iter().map(|(key, _)| key.clone())).collect();
            series.extend(known.into_iter().map(|key| {
                let last = latest.iter().find(|(k, _)| *k == key).map(|(_, sample)| *sample);
                listed(key, last)
            }));
        }
        let source = if self.facts.cgroups.tree.is_some() { "cgroup" } else { "tree" }.to_owned();
        Ok(Response::new(ListMetricsResponse { series, source }))
    }

    async fn query_metrics(
        &self,
        request: Request<QueryMetricsRequest>,
    ) -> Result<Response<QueryMetricsResponse>> {
        let caller = Caller::of(&request)?;
        let QueryMetricsRequest { service, metric, tags, from, to, points } = request.into_inner();
        caller.may(Action::Metrics, Some(&service))?;
        if from >= to {
            return Err(reason::bad_request("`from` must be before `to`, in nanoseconds since 1970"));
        }
        let key = SeriesKey { service, metric, tags: tags.into_iter().collect() };
        let points = if points == 0 { POINTS } else { points };
        let curve = self.numbers()?.query(&key, from, to, points).await;
        let point = |p: helm_store::metrics::Point| MetricPoint {
            at: p.at,
            avg: p.avg,
            min: p.min,
            max: p.max,
            last: p.last,
        };
        Ok(Response::new(QueryMetricsResponse {
            points: curve.points.into_iter().map(point).collect(),
            step: curve.step,
            missing: curve.missing.unwrap_or_default(),
        }))
    }

    async fn append_metrics(
        &self,
        request: Request<AppendMetricsRequest>,
    ) -> Result<Response<AppendMetricsResponse>> {
        let caller = Caller::of(&request)?;
        let AppendMetricsRequest { service, metrics } = request.into_inner();
        caller.may(Action::IngestMetrics, Some(&service))?;
        Self::nameable(&service)?;
        if [HOST, HELMD].contains(&service.as_str()) {
            return Err(reason::bad_request(&format!(
                "`{service}` is what helmd measures; use another name"
            )));
        }
        if metrics.len() > MOST {
            return Err(reason::bad_request(&format!(
                "{} numbers at once; send at most {MOST}",
                metrics.len()
            )));
        }
        let (numbers, now) = (self.numbers()?, clock::wall().0);
        let mut answer = AppendMetricsResponse::default();
        for (index, metric) in metrics.into_iter().enumerate() {
            match take(&numbers, &service, metric, now) {
                Ok(()) => answer.kept += 1,
                Err(reason) => {
                    let index = u32::try_from(index).unwrap_or(u32::MAX);
                    answer.rejected.push(RejectedMetric { index, reason });
                }
            }
        }
        Ok(Response::new(answer))
    }
}

fn take(
    numbers: &MetricsHandle,
    service: &str,
    metric: NewMetric,
    now: i64,
) -> std::result::Result<(), String> {
    let NewMetric { metric, value, at, tags } = metric;
    if tags.is_empty() && MEASURED.iter().any(|(own, _)| *own == metric) {
        return Err(format!("helmd itself measures `{metric}`: use another name, or a tag"));
    }
    let key = SeriesKey { service: service.to_owned(), metric, tags: tags.into_iter().collect() };
    numbers.sample(&key, Sample { at: at.unwrap_or(now), value }).map_err(|why| why.to_string())
}

fn listed(key: SeriesKey, last: Option<Sample>) -> MetricSeries {
    MetricSeries {
        unit: unit(&key.metric).to_owned(),
        last: last.map(|sample| sample.value),
        at: last.map(|sample| sample.at),
        tags: key.tags.into_iter().collect(),
        service: key.service,
        metric: key.metric,
    }
}
