//! From a definition to an order: everything that is looked up or written before a start. Blocking.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use helm_core::spec::guard::{self, Controllers, Rlimit};
use helm_core::spec::{self, Check, Config, Definition, Probe, Program, ServiceSpec};
use helm_core::status::RunId;
use helm_core::wish::Mode;
use helm_shim::wire::{CgroupLeaf, StartOrder};

use super::World;
use crate::cgroup;
use crate::home::replace_durably;
use crate::programs;

/// Why a service cannot be started.
#[derive(Debug, PartialEq)]
pub enum Hindrance {
    /// Its directory is not there.
    NotInstalled(String),
    /// Trying again cannot help.
    Permanent(String),
    /// It may work later.
    Transient(String),
}

/// Makes the order for one run.
pub fn prepare(world: &World, spec: &ServiceSpec, run: RunId, mode: Mode) -> Result<StartOrder, Hindrance> {
    let cwd = Path::new(&spec.path);
    if !cwd.is_dir() {
        return Err(Hindrance::NotInstalled(format!("the directory {} is not there", spec.path)));
    }
    hand_over_registry(&world.config, spec, world.home.path()).map_err(Hindrance::Transient)?;
    let Launch { argv, env } = compose(spec, mode, &world.base_env)?;
    let there = world.cgroups.controllers;
    Ok(StartOrder {
        run,
        mode,
        argv,
        env: env.into_iter().collect(),
        cwd: spec.path.clone(),
        cgroup: world.cgroups.tree.as_deref().map(|tree| leaf(tree, spec, run, there)),
        rlimits: numbered(guard::of_process(&spec.limits)),
        soft_rlimits: numbered(guard::instead(&spec.limits, there)),
        listen: spec.listen.clone(),
        notify: notify_probes(spec).next().is_some(),
        watchdog: spec.probes.liveness.as_ref().filter(|p| p.check == Check::Notify).map(|p| p.interval),
        definition: Some(Definition::of(spec, mode)),
    })
}

/// What is executed, and with which environment.
#[derive(Debug)]
pub(crate) struct Launch {
    /// `argv[0]` is the file.
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
}

/// What a start would use now. Changes nothing.
pub(crate) fn compose(
    spec: &ServiceSpec,
    mode: Mode,
    base: &BTreeMap<String, String>,
) -> Result<Launch, Hindrance> {
    let env = environment(spec, mode, base)?;
    let mut argv = spec::argv(spec)
        .ok_or_else(|| Hindrance::Permanent("there is nothing to run: the entry has a url only".into()))?;
    if let Some(first) = argv.first_mut() {
        let program = programs::of_helm(spec).unwrap_or_else(|| std::mem::take(first));
        *first = resolve(&program, Path::new(&spec.path), &env)?;
    }
    Ok(Launch { argv, env })
}

/// What the service would be started with.
pub(crate) fn environment(
    spec: &ServiceSpec,
    mode: Mode,
    base: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Hindrance> {
    let cwd = Path::new(&spec.path);
    let flaskenv = read_variables(&cwd.join(".flaskenv"))?;
    let env_file = match &spec.env_file {
        Some(name) => Some(read_variables(&cwd.join(name))?.ok_or_else(|| {
            Hindrance::Permanent(format!("env_file {} is not there", cwd.join(name).display()))
        })?),
        None => None,
    };
    Ok(spec::environment(spec, mode, base, flaskenv.as_deref(), env_file.as_deref()))
}

fn notify_probes(spec: &ServiceSpec) -> impl Iterator<Item = &Probe> {
    let probes = [&spec.probes.startup, &spec.probes.readiness, &spec.probes.liveness];
    probes.into_iter().flatten().filter(|p| p.check == Check::Notify)
}

/// The service's own services.json (contract 3.3): for the Python services of the ecosystem, never through a symlink, and
/// never over the home's own.
pub(crate) fn hand_over_registry(config: &Config, spec: &ServiceSpec, home: &Path) -> Result<(), String> {
    if !takes_registry(spec, home) {
        return Ok(());
    }
    let target = Path::new(&spec.path).join("services.json");
    if fs::symlink_metadata(&target).is_ok_and(|m| m.file_type().is_symlink()) {
        return Ok(());
    }
    let text = spec::own_services_json(config, &spec.name);
    if fs::read(&target).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    replace_durably(&target, text.as_bytes(), 0o644)
        .map_err(|e| format!("{} cannot be written: {e}", target.display()))
}

/// It is one of those that read a services.json of their own.
pub(crate) fn takes_registry(spec: &ServiceSpec, home: &Path) -> bool {
    let python = matches!(spec.program, Some(Program::Python { .. }));
    python && !Path::new(&spec.path).canonicalize().is_ok_and(|dir| dir == home)
}

fn read_variables(path: &Path) -> Result<Option<String>, Hindrance> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Hindrance::Permanent(format!("{} cannot be read: {e}", path.display()))),
    }
}

/// The file that will be executed: a path inside the service's directory, or a bare word found in its PATH.
pub(crate) fn resolve(
    program: &str,
    cwd: &Path,
    env: &BTreeMap<String, String>,
) -> Result<String, Hindrance> {
    let found = if program.contains('/') {
        let path = cwd.join(program);
        executable(&path).map_err(|why| format!("{} {}", path.display(), why.words())).map(|()| path)
    } else {
        in_path(program, env).map_err(|looked| {
            let places = if looked == 1 { "1 directory".into() } else { format!("{looked} directories") };
            format!("the program `{program}` is not found in the PATH that it would get ({places})")
        })
    };
    found.map(|path| path.to_string_lossy().into_owned()).map_err(Hindrance::Permanent)
}

/// A bare word in the PATH of an environment; in how many directories it is not.
pub(crate) fn in_path(program: &str, env: &BTreeMap<String, String>) -> Result<PathBuf, usize> {
    let path = env.get("PATH").map_or("/usr/local/bin:/usr/bin:/bin", String::as_str);
    let dirs: Vec<&Path> = path.split(':').map(Path::new).filter(|d| d.is_absolute()).collect();
    let found = dirs.iter().map(|d| d.join(program)).find(|p| executable(p).is_ok());
    found.ok_or(dirs.len())
}

/// Why a file cannot be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Nothing is there, or a link that leads to nothing.
    Missing,
    /// Something on the way is closed or broken.
    Unreachable,
    /// A directory, a device.
    NoFile,
    /// It has no right x.
    NotExecutable,
}

impl Unusable {
    fn words(self) -> &'static str {
        match self {
            Self::Missing => "is not there",
            Self::Unreachable => "cannot be reached",
            Self::NoFile => "is not a file",
            Self::NotExecutable => "is not executable (chmod +x)",
        }
    }
}

/// Whether a file can be executed.
pub(crate) fn executable(path: &Path) -> Result<(), Unusable> {
    let unusable = |e: io::Error| {
        if e.kind() == io::ErrorKind::NotFound { Unusable::Missing } else { Unusable::Unreachable }
    };
    let meta = fs::metadata(path).map_err(unusable)?;
    match (meta.is_file(), meta.permissions().mode() & 0o111 != 0) {
        (true, true) => Ok(()),
        (true, false) => Err(Unusable::NotExecutable),
        (false, _) => Err(Unusable::NoFile),
    }
}

/// What the kernel has in a new cgroup anyway is not written.
fn leaf(tree: &Path, spec: &ServiceSpec, run: RunId, there: Controllers) -> CgroupLeaf {
    let files = guard::of_cgroup(&spec.limits, there).into_iter().filter(|file| !file.usual);
    let values = files.map(|file| (file.name.to_owned(), file.value)).collect();
    CgroupLeaf { dir: cgroup::leaf(tree, &spec.name, run).to_string_lossy().into_owned(), values }
}

fn numbered(limits: impl IntoIterator<Item = (Rlimit, u64)>) -> Vec<(i32, u64)> {
    limits.into_iter().map(|(limit, value)| (limit.number(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_or_explained() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "x").unwrap();
        let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        assert!(resolve("sh", dir.path(), &env).unwrap().ends_with("/sh"));
        let why = |p: &str| match resolve(p, dir.path(), &env) {
            Err(Hindrance::Permanent(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why("./plain").contains("is not executable"));
        assert!(why("./gone").contains("is not there"));
        assert_eq!(
            why("no-such-program"),
            "the program `no-such-program` is not found in the PATH that it would get (2 directories)"
        );
    }
}
