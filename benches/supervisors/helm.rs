//! The rows that only Helm has: status over gRPC, and adoption.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use helm_client::{Client, Home, Presence};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::place::Place;
use crate::procs;
use crate::rows::seconds;
use crate::{Error, Result};

/// Longest wait for a helmd.
const BOUND: Duration = Duration::from_secs(30);

/// Helm in a place, as a client sees it.
#[derive(Debug)]
pub(crate) struct Helm<'a> {
    place: &'a Place,
    home: Home,
    runtime: Runtime,
}

impl<'a> Helm<'a> {
    pub(crate) fn of(place: &'a Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let home = Home::find(Some(place.dir())).map_err(|error| Error::Helm(error.to_string()))?;
        Ok(Self { place, home, runtime: runtime.map_err(Error::at("tokio"))? })
    }

    /// Milliseconds of one status call for all services after the other: half of them, and 99 of 100, are below.
    pub(crate) fn status(&self, calls: usize) -> Result<(f64, f64)> {
        let helm = |error: helm_client::ClientError| Error::Helm(error.to_string());
        let mut took: Vec<f64> = self.runtime.block_on(async {
            let mut client = Client::of(&self.home).await.map_err(helm)?;
            let mut took = Vec::with_capacity(calls);
            for _ in 0..calls {
                let before = Instant::now();
                client.status(Vec::new()).await.map_err(helm)?;
                took.push(before.elapsed().as_secs_f64() * 1000.0);
            }
            Ok::<_, Error>(took)
        })?;
        took.sort_by(f64::total_cmp);
        let at = |share: usize| took.get(took.len() * share / 100).copied().ok_or(Error::Nothing);
        Ok((at(50)?, at(99)?))
    }

    /// Seconds from the start of a helmd, whose predecessor was killed, until it knows every running service.
    pub(crate) fn adopt(&self, helmd: &Path, times: usize) -> Result<Vec<f64>> {
        (0..times).map(|_| self.adopt_once(helmd)).collect()
    }

    fn adopt_once(&self, helmd: &Path) -> Result<f64> {
        let Some(holder) = self.holder() else { return Err(Error::Helm("no helmd to kill".to_owned())) };
        procs::signal(holder, Signal::KILL);
        let begin = Instant::now();
        while self.holder().is_some() {
            waited(begin, "the killed helmd to be gone")?;
        }
        let before = procs::now();
        let mut command = Command::new(helmd);
        command.arg("--home").arg(self.place.dir()).arg("--detach");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The place ends it; until then it is nobody's but ours, and reaped when this program ends.
        command.spawn().map_err(Error::at(helmd))?;
        let begin = Instant::now();
        while !self.runtime.block_on(self.knows_all()) {
            waited(begin, "helmd to know its services")?;
        }
        Ok(seconds(before, procs::now()))
    }

    fn holder(&self) -> Option<i32> {
        match self.home.presence() {
            Ok(Presence::Running(info)) => i32::try_from(info?.pid).ok(),
            Ok(Presence::Absent) | Err(_) => None,
        }
    }

    /// Whether helmd names the very processes that were there before.
    async fn knows_all(&self) -> bool {
        let Ok(mut client) = Client::of(&self.home).await else { return false };
        let Ok(answer) = client.status(Vec::new()).await else { return false };
        let marks = self.place.marks();
        answer.services.len() == marks.len()
            && answer.services.iter().all(|service| {
                let pid = marks.get(&service.name).and_then(|mark| u32::try_from(mark.pid).ok());
                service.state == "running" && pid.is_some() && service.pid == pid
            })
    }
}

fn waited(begin: Instant, what: &str) -> Result<()> {
    if begin.elapsed() > BOUND {
        return Err(Error::Late { what: what.to_owned(), bound: BOUND, said: String::new() });
    }
    procs::pause(Duration::from_millis(1));
    Ok(())
}
