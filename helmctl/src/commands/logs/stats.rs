//! `logs stats`

use helm_client::{Client, Home, Logs};
use helm_proto::v1::{LogFacetsRequest, LogHistogramRequest};

use super::filter;
use crate::cli::What;
use crate::failure::Failure;
use crate::render::{Printer, log_stats, time};

/// Nanoseconds of a bar, and how many there are.
const HOUR: i64 = 3_600_000_000_000;
const HOURS: i64 = 24;

pub(super) async fn run(home: &Home, what: What, printer: &mut Printer) -> Result<(), Failure> {
    let mut logs = Logs::of(&Client::of(home).await?).await?;
    let filter = filter(what);
    let facets = logs.facets(LogFacetsRequest { filter: Some(filter.clone()) }).await?;
    // Whole hours: the last one is under way.
    let to = (time::now().div_euclid(HOUR) + 1) * HOUR;
    let from = to - HOURS * HOUR;
    let histogram =
        logs.histogram(LogHistogramRequest { filter: Some(filter), from, to, step: HOUR }).await?;
    let exact = facets.exact && histogram.exact;
    if printer.wants_json() {
        return printer.value(&log_stats::Stats::new(&facets.services, &histogram.buckets, exact), true);
    }
    printer.block(&log_stats::stats(&facets.services, &histogram.buckets, from, HOUR, exact))
}
