//! `helmd doctor`: looks at a home, its services and its host, for helmctl, which knows alone what a running helmd says of
//! itself and tells it on standard input. Each check has a thread and a bound of its own: what hangs is a finding, and
//! keeps nothing else from being looked at. What facts mean is decided in `helm_core::doctor`.

mod certificate;
mod daemon;
mod database;
mod ecosystem;
mod fix;
mod host;
mod port;
mod running;
mod scene;
mod service;
mod units;

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use helm_core::doctor::{Finding, Fix, Id, Line};
use helm_core::name::ServiceName;
use helm_core::spec::{ServiceSpec, nearest};

use scene::Scene;

/// What takes longer hangs.
const WITHIN: Duration = Duration::from_secs(2);
/// A server that is far away may be asked three times.
const DATABASE_WITHIN: Duration = Duration::from_secs(15);

/// What makes a look hang.
const PERHAPS: &str = "a file system that does not answer, or a pipe in the place of a file";

type Look = Box<dyn FnOnce(&Scene) -> Vec<Finding> + Send>;

/// One thing to look at.
struct Check {
    /// What is shown while it lasts.
    words: String,
    service: Option<ServiceName>,
    within: Duration,
    look: Look,
}

impl Check {
    fn of_home(words: &str, look: fn(&Scene) -> Vec<Finding>) -> Self {
        Self { words: words.to_owned(), service: None, within: WITHIN, look: Box::new(look) }
    }

    fn of(words: &str, spec: &Arc<ServiceSpec>, look: fn(&Scene, &ServiceSpec) -> Vec<Finding>) -> Self {
        let spec = spec.clone();
        Self {
            words: format!("{}: {words}", spec.name),
            service: Some(spec.name.clone()),
            within: WITHIN,
            look: Box::new(move |scene| look(scene, &spec)),
        }
    }

    /// Looks.
    fn run(self, scene: &Arc<Scene>) -> Vec<Finding> {
        let Self { words, service, within, look } = self;
        let scene = scene.clone();
        let why = match bounded(within, move || look(&scene)) {
            Ok(found) => return found,
            Err(why) => why,
        };
        let finding = Finding::fault(Id::Hangs, format!("{words} could not be looked at")).seen(why);
        let finding = finding.seen(PERHAPS);
        vec![match service {
            Some(name) => finding.of(&name),
            None => finding,
        }]
    }
}

/// What comes of work on a thread of its own, which nobody waits for beyond the bound; or why nothing does.
fn bounded<T: Send + 'static>(
    within: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (tell, told) = sync_channel(1);
    thread::Builder::new().spawn(move || tell.send(work())).map_err(|e| format!("no thread for it: {e}"))?;
    told.recv_timeout(within).map_err(|e| match e {
        RecvTimeoutError::Timeout => format!("no answer within {} s", within.as_secs()),
        RecvTimeoutError::Disconnected => "it broke off".to_owned(),
    })
}

/// All that there is to look at; of one service only what is its own.
fn checks(scene: &Scene, only: Option<&ServiceName>) -> Vec<Check> {
    let mut checks = Vec::new();
    if only.is_none() {
        checks.extend([
            Check::of_home("helmd", daemon::look),
            Check::of_home("configuration", scene::configuration),
            Check::of_home("files of the home", scene::files),
            Check { within: DATABASE_WITHIN, ..Check::of_home("database", database::look) },
            Check::of_home("disks", host::disks),
            Check::of_home("clock", host::clock),
            Check::of_home("units of systemd", units::look),
        ]);
    }
    for spec in scene.services() {
        if only.is_some_and(|only| *only != spec.name) {
            continue;
        }
        checks.extend([
            Check::of("files", spec, service::files),
            Check::of("port", spec, port::look),
            Check::of("what it needs outside", spec, service::outside),
            Check::of("where it logs", spec, service::helm_url),
            Check::of("state", spec, running::look),
        ]);
        checks.extend(ecosystem::checks(spec));
    }
    checks
}

/// Looks, and writes what it finds.
pub fn run(home: &Path, name: Option<&str>) -> ExitCode {
    match look(home, name) {
        Ok(last) => {
            line(&last);
            ExitCode::SUCCESS
        }
        Err(why) => {
            line(&Line::Failed(why));
            ExitCode::FAILURE
        }
    }
}

fn look(home: &Path, name: Option<&str>) -> Result<Line, String> {
    let (place, brief) = (home.to_owned(), input()?);
    let scene = bounded(WITHIN, move || Scene::of(&place, brief)).map_err(|why| {
        format!("the configuration of {} could not be read: {why}; {PERHAPS}", home.display())
    })?;
    let scene = Arc::new(scene?);
    let only = match name {
        Some(name) => match scene.services().find(|spec| spec.name.as_str() == name) {
            Some(spec) => Some(spec.name.clone()),
            None => {
                let near = nearest(name, scene.services().map(|spec| spec.name.as_str()));
                return Ok(Line::Unknown(near.unwrap_or_default().to_owned()));
            }
        },
        None => None,
    };
    let checks = checks(&scene, only.as_ref());
    let count = u32::try_from(checks.len()).unwrap_or(u32::MAX);
    for check in checks {
        line(&Line::Check(check.words.clone()));
        for finding in check.run(&scene) {
            line(&Line::Finding(Box::new(finding)));
        }
    }
    Ok(Line::Done(count))
}

/// Does what was agreed to.
pub fn fix(home: &Path) -> ExitCode {
    let done = input::<Vec<Fix>>().and_then(|fixes| fix::all(home, fixes));
    match done {
        Ok(lines) => {
            lines.iter().for_each(line);
            ExitCode::SUCCESS
        }
        Err(why) => {
            line(&Line::Failed(why));
            ExitCode::FAILURE
        }
    }
}

/// A JSON value on standard input.
fn input<T: serde::de::DeserializeOwned>() -> Result<T, String> {
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(|e| format!("standard input: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("standard input is not what helmctl doctor sends: {e}"))
}

fn line(said: &Line) {
    let Ok(text) = serde_json::to_string(said) else { return };
    let mut out = io::stdout().lock();
    // Nobody listens: there is nobody else to tell.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
