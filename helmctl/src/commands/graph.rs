//! `graph`

use helm_client::Client;

use crate::failure::Failure;
use crate::render::Printer;
use crate::render::graph::Graph;

pub(super) async fn run(
    client: &mut Client,
    mermaid: bool,
    svg: bool,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let graph = Graph::of(client.list().await?);
    if printer.wants_json() {
        return printer.value(&graph, true);
    }
    printer.block(&match (mermaid, svg) {
        (true, _) => graph.mermaid(),
        (false, true) => graph.svg(),
        (false, false) => graph.text(),
    })
}
