//! The files of a service, and what it needs beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use helm_core::doctor::{Copy, Executable, Finding, HelmUrl, Interpreter, Origin, Outside, ServiceFiles};
use helm_core::spec::{self, Config, Program, ServiceSpec};

use super::scene::Scene;
use crate::keeper::launch::{self, Unusable};
use crate::programs;

/// Loopback answers at once.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);
/// Services of HiveMatrix that refuse to start without SECRET_KEY (contract 3.4).
const NEED_SECRET_KEY: [&str; 2] = ["core", "nexus"];

pub(super) fn files(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    facts(scene, spec).findings(&scene.hands)
}

fn facts(scene: &Scene, spec: &ServiceSpec) -> ServiceFiles {
    let dir = Path::new(&spec.path);
    let env = scene.environment(spec);
    let file =
        |name: &str| Some(dir.join(name)).filter(|path| !path.is_file()).map(|p| p.display().to_string());
    let (interpreter, missing_script) = match &spec.program {
        Some(Program::Python { run_script, .. }) => (Interpreter::Venv, file(run_script)),
        Some(Program::HelmWeb { .. }) => (Interpreter::OfHelm, None),
        Some(Program::StartCommand(_) | Program::Command(_) | Program::Shell(_) | Program::Removed)
        | None => (Interpreter::Program, None),
    };
    let secret_key = NEED_SECRET_KEY.contains(&spec.name.as_str()) && interpreter == Interpreter::Venv;
    ServiceFiles {
        name: spec.name.clone(),
        path: spec.path.clone(),
        directory: fs::metadata(dir).map_or_else(|e| is_denied(&e), |meta| meta.is_dir()),
        closed_to: fs::read_dir(dir).err().filter(is_denied).map(|_| scene.owner.name.clone()),
        origin: origin(scene, spec.name.as_str()),
        place: scene.place(&spec.name),
        interpreter,
        requirements: dir.join("requirements.txt").is_file(),
        program: programs::program(spec).map(|(_, program)| executable(&program, dir, &env)),
        missing_script,
        repository: dir.join(".git").exists(),
        missing_env_file: spec.env_file.as_deref().and_then(file),
        copy: scene.config().map_or(Copy::Good, |config| copy(config, spec, scene.home.path())),
        registry: scene.home.path().join("services.json").display().to_string(),
        without_secret_key: secret_key && env.get("SECRET_KEY").is_none_or(String::is_empty),
        runs: scene.daemon.runs(&spec.name),
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Where the registry says that it can be had.
fn origin(scene: &Scene, name: &str) -> Option<Origin> {
    let text = fs::read(scene.home.path().join("apps_registry.json")).ok()?;
    let registry: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let says = |group: &str, field: &str| Some(registry[group][name][field].as_str()?.to_owned());
    let repository = says("core_apps", "git_url").or_else(|| says("default_apps", "git_url"));
    repository
        .map(Origin::Repository)
        .or_else(|| says("system_dependencies", "download_url").map(Origin::Archive))
}

/// The file that a start would execute, and what is in its place.
pub(super) fn executable(program: &str, dir: &Path, env: &BTreeMap<String, String>) -> (String, Executable) {
    if !program.contains('/') {
        return match launch::in_path(program, env) {
            Ok(path) => (path.display().to_string(), Executable::There),
            Err(_) => (program.to_owned(), Executable::NotInPath),
        };
    }
    let path = dir.join(program);
    let state = match launch::executable(&path) {
        Ok(()) => Executable::There,
        Err(Unusable::NotExecutable) => Executable::NotExecutable,
        Err(Unusable::Missing | Unusable::Unreachable | Unusable::NoFile) => match fs::read_link(&path) {
            Ok(to) => Executable::Dangling { to: to.display().to_string() },
            Err(_) => Executable::Missing,
        },
    };
    (path.display().to_string(), state)
}

/// The service's own services.json, as `launch::hand_over_registry` leaves it.
fn copy(config: &Config, spec: &ServiceSpec, home: &Path) -> Copy {
    if !launch::takes_registry(spec, home) {
        return Copy::Good;
    }
    let target = Path::new(&spec.path).join("services.json");
    match (fs::read_link(&target), fs::read(&target)) {
        (Ok(to), Err(e)) if e.kind() == io::ErrorKind::NotFound => {
            Copy::Dangling { to: to.display().to_string() }
        }
        (Err(_), Err(e)) if e.kind() == io::ErrorKind::NotFound => Copy::Missing,
        (Err(_), Ok(text)) if text != spec::own_services_json(config, &spec.name).as_bytes() => Copy::Stale,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => Copy::Good,
    }
}

/// PostgreSQL, Redis, Neo4j, where the registry says that it needs them.
pub(super) fn outside(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    if !Path::new(&spec.path).is_dir() {
        return Vec::new();
    }
    let asked = spec.outside.iter().map(|check| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, check.port));
        let why = TcpStream::connect_timeout(&address, CONNECT_WITHIN).err().map(|e| e.to_string());
        Outside { service: spec.name.clone(), name: check.name.clone(), port: check.port, why }
    });
    asked.filter_map(|outside| outside.finding(&scene.hands)).collect()
}

/// Whether it sends its log to where Helm is.
pub(super) fn helm_url(scene: &Scene, spec: &ServiceSpec) -> Vec<Finding> {
    let wants = scene.config().and_then(|config| {
        config.services.iter().find(|s| s.name.as_str() == "helm").and_then(|helm| helm.url.clone())
    });
    let (Some(wants), Some(has)) = (wants, scene.environment(spec).remove("HELM_SERVICE_URL")) else {
        return Vec::new();
    };
    let flaskenv = fs::read_to_string(Path::new(&spec.path).join(".flaskenv")).unwrap_or_default();
    let in_flaskenv = spec::flaskenv(&flaskenv).iter().any(|(name, _)| name == "HELM_SERVICE_URL");
    let (path, place) = (spec.path.clone(), scene.place(&spec.name));
    let url = HelmUrl { service: spec.name.clone(), path, has, wants, in_flaskenv, place };
    url.finding().into_iter().collect()
}
