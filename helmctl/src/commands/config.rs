//! `config check`

use helm_client::{Client, ClientError, Home, config};

use crate::failure::Failure;
use crate::render::json::{Checked, Fault};
use crate::render::{Printer, list};

pub(super) async fn check(home: &Home, printer: &mut Printer) -> Result<(), Failure> {
    let checked = match Client::of(home).await {
        Ok(mut client) => {
            let answer = client.check_config().await?;
            Checked { ok: answer.ok, faults: answer.faults.into_iter().map(Fault::from).collect() }
        }
        // Without helmd its program checks: the same code, and no second reader.
        Err(ClientError::NotRunning { .. }) => {
            let answer = config::check_without_helmd(home).await?;
            Checked { ok: answer.ok, faults: answer.faults.into_iter().map(Fault::from).collect() }
        }
        Err(e) => return Err(e.into()),
    };
    if printer.wants_json() {
        printer.value(&checked, true)?;
    } else {
        printer.block(&list::faults(&checked.faults))?;
    }
    if checked.ok {
        Ok(())
    } else {
        Err(Failure::Failed("the configuration has faults; nothing was changed".into()))
    }
}
