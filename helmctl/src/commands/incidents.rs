//! `why`, `incidents`

use helm_client::Client;
use helm_proto::v1::{Incident, ListIncidentsRequest};
use helm_shapes::incident as json;

use super::{alerts, range, timestamp};
use crate::cli::{IncidentsArgs, IncidentsVerb};
use crate::failure::Failure;
use crate::render::{self, Printer, Sheet, warn};

/// Incidents of one answer, at most.
const PAGE: u32 = 200;

/// `why`
pub(super) async fn why(client: &mut Client, name: &str, printer: &mut Printer) -> Result<(), Failure> {
    let why = match client.why(name).await {
        Ok(why) => why,
        Err(unknown) => {
            // It may be in files by which helmd does not run.
            alerts(client).await?;
            return Err(unknown.into());
        }
    };
    if printer.wants_json() {
        return printer.value(&json::Why::from(why), true);
    }
    printer.block(&render::incident::why(&why, Sheet::stdout()))
}

/// `incidents`
pub(super) async fn run(
    client: &mut Client,
    args: IncidentsArgs,
    printer: &mut Printer,
) -> Result<(), Failure> {
    if let Some(IncidentsVerb::Show { number }) = args.verb {
        return show(client, number, printer).await;
    }
    let [since, _] = range(args.since.as_deref(), None)?;
    let request =
        ListIncidentsRequest { names: args.names, since: since.map(timestamp), ..Default::default() };
    let found = match args.last {
        // 0 is the answer's own number of them.
        Some(0) => Vec::new(),
        Some(last) => pages(client, request, last).await?,
        None if request.since.is_some() => pages(client, request, u32::MAX).await?,
        None => {
            let answer = client.incidents(request).await?;
            told(answer.incomplete, answer.incidents)
        }
    };
    if printer.wants_json() {
        let found: Vec<json::Incident> = found.into_iter().map(json::Incident::from).collect();
        return printer.value(&found, true);
    }
    if found.is_empty() {
        return printer.line("no incident: nothing ended that was not asked to");
    }
    printer.block(&render::incident::list(&found, Sheet::stdout()))
}

async fn show(client: &mut Client, number: u64, printer: &mut Printer) -> Result<(), Failure> {
    let incident = client.incident(number).await?;
    if printer.wants_json() {
        return printer.value(&json::Incident::from(incident), true);
    }
    printer.block(&render::incident::whole(&incident, Sheet::stdout()))
}

/// So many at most, page by page.
async fn pages(
    client: &mut Client,
    request: ListIncidentsRequest,
    mut missing: u32,
) -> Result<Vec<Incident>, Failure> {
    let mut found: Vec<Incident> = Vec::new();
    while missing > 0 {
        let (limit, before) = (missing.min(PAGE), found.last().map(|oldest| oldest.number));
        let answer = client.incidents(ListIncidentsRequest { limit, before, ..request.clone() }).await?;
        let page = told(answer.incomplete, answer.incidents);
        let came = u32::try_from(page.len()).unwrap_or(u32::MAX);
        found.extend(page);
        if came < limit {
            break;
        }
        missing -= limit;
    }
    Ok(found)
}

/// With what is to be known of them.
fn told(incomplete: String, incidents: Vec<Incident>) -> Vec<Incident> {
    if !incomplete.is_empty() {
        warn(&incomplete);
    }
    incidents
}
