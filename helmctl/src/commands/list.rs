//! `list`

use helm_client::Client;
use helm_shapes::fleet::Service;
use serde::Serialize;

use crate::failure::Failure;
use crate::render::{Printer, Sheet, list};

#[derive(Serialize)]
struct Services {
    services: Vec<Service>,
}

pub(super) async fn run(client: &mut Client, printer: &mut Printer) -> Result<(), Failure> {
    let services = client.list().await?;
    if printer.wants_json() {
        return printer.value(&Services { services: services.into_iter().map(Into::into).collect() }, true);
    }
    printer.block(&list::services(&services, Sheet::stdout()))
}
