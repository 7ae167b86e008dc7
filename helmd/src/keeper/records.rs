//! What the records in a service's run directory say of its runs. Blocking.

use std::io;

use helm_core::status::RunId;
use helm_shim::record::RunRecord;
use helm_shim::rundir::ServiceDir;
use helm_shim::wire::RunState;

/// The newest run of this boot whose program was forked.
pub(crate) fn last_record(place: &ServiceDir) -> io::Result<Option<RunState>> {
    for run in place.runs()?.into_iter().rev() {
        if let Some(state) = record(place, run)? {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// The runs of this boot after `told` and before `last`, oldest first.
pub(super) fn former_records(
    place: &ServiceDir,
    last: RunId,
    told: Option<RunId>,
) -> io::Result<Vec<RunState>> {
    let former = place.runs()?.into_iter().filter(|run| Some(*run) > told && *run < last);
    former.filter_map(|run| record(place, run).transpose()).collect()
}

/// Of a run whose program was forked.
fn record(place: &ServiceDir, run: RunId) -> io::Result<Option<RunState>> {
    match RunRecord::read(&place.run(run).record()) {
        Ok(record) => Ok(record.map(|record| record.state).filter(|state| state.pid != 0)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
