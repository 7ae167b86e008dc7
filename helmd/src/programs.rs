//! Whether the files that services name are there: what `config check` warns of before a start fails by it. They lie in the
//! services' own directories, of which any may hang: whoever must not wait for them asks [`looked_for`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use helm_core::spec::{self, Config, Fault, Place, Program, ServiceSpec, Severity};
use helm_core::wish::Mode;
use tokio::time::timeout;

use crate::beside;
use crate::keeper::launch::{self, Hindrance};
use crate::work;

/// A look that takes longer hangs: the file system below that service is dead.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Warnings: the services concerned will not start, the others do. Blocking, for as long as any of the files hangs.
pub fn missing(config: &Config, base_env: &BTreeMap<String, String>) -> Vec<Fault> {
    let mode = config.settings.default_mode.unwrap_or_default();
    runnable(config).flat_map(|spec| of_service(config, spec, mode, base_env)).collect()
}

/// The same on threads of its own. A service whose files hang is among the warnings, and keeps none of the others.
pub async fn looked_for(config: Arc<Config>, base_env: Arc<BTreeMap<String, String>>) -> Vec<Fault> {
    let mode = config.settings.default_mode.unwrap_or_default();
    let mut faults = Vec::new();
    for spec in runnable(&config) {
        let (spec, config, base_env) = (spec.clone(), config.clone(), base_env.clone());
        let place = config.place_of(&spec.name, "path");
        let message =
            format!("what it names below {} could not be looked at within {LOOK_WITHIN:?}", spec.path);
        let look = work::PROGRAMS.run(move || Ok(of_service(&config, &spec, mode, &base_env)));
        match timeout(LOOK_WITHIN, look).await {
            Ok(Ok(found)) => faults.extend(found),
            Ok(Err(_)) | Err(_) => {
                faults.push(warning(place, message, "is the file system there? until then it does not start"))
            }
        }
    }
    faults
}

fn runnable(config: &Config) -> impl Iterator<Item = &ServiceSpec> {
    config.services.iter().filter(|spec| spec.program.is_some())
}

fn of_service(
    config: &Config,
    spec: &ServiceSpec,
    mode: Mode,
    base_env: &BTreeMap<String, String>,
) -> Vec<Fault> {
    let warn = |field, message, hint| warning(config.place_of(&spec.name, field), message, hint);
    let cwd = Path::new(&spec.path);
    if !cwd.is_dir() {
        let message = format!("the directory {} is not there", spec.path);
        return vec![warn(
            "path",
            message,
            "install it, or correct the path; until then it is not_installed",
        )];
    }
    let env = match launch::environment(spec, mode, base_env) {
        Ok(env) => env,
        Err(why) => return vec![warn("env_file", words(why), "until then it does not start")],
    };
    let mut faults = Vec::new();
    if let Some((field, first)) = program(spec)
        && let Err(why) = launch::resolve(&first, cwd, &env)
    {
        let hint = match field {
            OF_HELM => {
                "build it (cargo build --release --bin helm-web), or install it there; until then it fails"
            }
            "python_bin" => "make the virtual environment, or correct the path; until then it fails",
            _ => "install it, or correct the name; until then it fails",
        };
        faults.push(warn(field, words(why), hint));
    }
    if let Some(Program::Python { run_script, .. }) = &spec.program
        && !cwd.join(run_script).is_file()
    {
        let message = format!("{} is not there", cwd.join(run_script).display());
        faults.push(warn("run_script", message, "correct the path; until then it fails"));
    }
    faults
}

/// No field names what is Helm's own.
const OF_HELM: &str = "";

/// The file that is executed, and the field that names it. A shell's text is for the shell.
pub(crate) fn program(spec: &ServiceSpec) -> Option<(&'static str, String)> {
    let field = match spec.program.as_ref()? {
        Program::Python { .. } => "python_bin",
        Program::StartCommand(_) => "start_command",
        Program::Command(_) => "command",
        Program::HelmWeb { .. } => return Some((OF_HELM, of_helm(spec)?)),
        Program::Shell(_) | Program::Removed => return None,
    };
    Some((field, spec::argv(spec)?.into_iter().next()?))
}

/// Where the program of a service lies that is a part of Helm, or should lie.
pub(crate) fn of_helm(spec: &ServiceSpec) -> Option<String> {
    let name = spec::argv(spec).filter(|_| spec.is_helm_web())?.into_iter().next()?;
    let (Ok(place) | Err(place)) = beside::find(&name).ok()?;
    Some(place.display().to_string())
}

fn words(why: Hindrance) -> String {
    match why {
        Hindrance::NotInstalled(words) | Hindrance::Permanent(words) | Hindrance::Transient(words) => words,
    }
}

fn warning(place: Place, message: String, hint: &str) -> Fault {
    let Place { file, line, column, field } = place;
    Fault { file, line, column, field, severity: Severity::Warning, message, hint: hint.to_owned() }
}
