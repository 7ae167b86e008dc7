//! Reads the configuration files of a home and keeps the last good copy. Blocking; called at the start and for checks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use helm_core::spec::{self, Config, Fault, Severity, Source, Sources};

use crate::drift::Reading;
use crate::home::{Home, private_dir, replace_durably};
use crate::keeper::base_environment;

/// The files that make a configuration, by their place in [`Sources`].
pub(crate) const FILES: [&str; 5] = [
    "services.json",
    "helm_services.json",
    "master_services.json",
    "apps_registry.json",
    "instance/helm.conf",
];

/// How an edit is applied.
pub(crate) const RELOAD: &str = "helmctl daemon stop && helmctl daemon start (services stay)";

/// Longest file that is read; the reader says more precisely what is too long.
const READ_LIMIT: u64 = 16 << 20;

/// A configuration that can be run.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should know: warnings, or what is wrong with the files where this is the last good copy.
    pub warnings: Vec<String>,
    /// The files are broken: this is the last good copy, and this says so.
    pub broken: Option<String>,
    /// When the files were read, and which they were.
    pub reading: Reading,
}

/// No configuration at all.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The files are faulty and there is no last good copy.
    #[error("the configuration has {} fault(s) and there is no last good copy:\n{}", .faults.len(), list(.faults))]
    Faulty {
        /// All of them.
        faults: Vec<Fault>,
    },
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(|f| format!("  {f}")).collect::<Vec<_>>().join("\n")
}

/// Reads the files as they are on disk. Changes nothing, and looks at nothing outside of the home: not at what services
/// name. A configuration is there as far as it could be read; it is one to run with unless there are errors.
pub fn read(home: &Home) -> (Option<Config>, Vec<Fault>) {
    read_from(home, home.path())
}

/// The environment that a start would begin with: a check by hand has the operator's, helmd its own.
pub fn own_environment() -> BTreeMap<String, String> {
    base_environment(
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
    )
}

/// The configuration to run with: the files, or the last good copy of them where they are faulty.
pub fn load(home: &Home) -> Result<Loaded, ConfigError> {
    // First: whoever writes while the files are read, has changed them afterwards.
    let reading = Reading::now(home);
    let (config, faults) = read(home);
    let last_good = home.instance().join("last-good");
    if let Some(config) = config.filter(|_| !faulty(&faults)) {
        let mut warnings: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if let Err(e) = keep(home.path(), &last_good) {
            warnings.push(format!(
                "the last good configuration could not be kept in {}: {e}",
                last_good.display()
            ));
        }
        return Ok(Loaded { config, warnings, broken: None, reading });
    }
    let (former, of_former) = read_from(home, &last_good);
    let Some(config) = former.filter(|_| !faulty(&of_former)) else {
        return Err(ConfigError::Faulty { faults });
    };
    let errors = faults.iter().filter(|f| f.severity == Severity::Error).count();
    let broken = format!(
        "THE CONFIGURATION IS BROKEN ({errors} fault(s): helmctl config check); helmd runs with the last good copy. Mend it, then: {RELOAD}"
    );
    let warnings = faults.iter().map(ToString::to_string).collect();
    Ok(Loaded { config, warnings, broken: Some(broken), reading })
}

fn read_from(home: &Home, dir: &Path) -> (Option<Config>, Vec<Fault>) {
    let mut texts: [Option<String>; 5] = Default::default();
    let mut faults = Vec::new();
    for (text, name) in texts.iter_mut().zip(FILES) {
        match read_text(&dir.join(name)) {
            Ok(found) => *text = found,
            Err(message) => {
                // There, with a fault already: the other files are read nevertheless.
                *text = Some(String::new());
                faults.push(file_fault(name, message));
            }
        }
    }
    let unread: Vec<String> = faults.iter().map(|fault| fault.file.clone()).collect();
    let [services, helm_services, master, registry, conf] = &texts;
    if services.is_none() && helm_services.is_none() {
        faults
            .push(file_fault("services.json", format!("is not there: {} is no home of Helm", dir.display())));
        return (None, faults);
    }
    let reading = spec::read(
        &home.path().to_string_lossy(),
        &Sources {
            services: source(services, FILES[0]).unwrap_or(Source { path: FILES[0], text: "{}" }),
            helm_services: source(helm_services, FILES[1]),
            master: source(master, FILES[2]),
            registry: source(registry, FILES[3]),
            conf: source(conf, FILES[4]),
        },
    );
    faults.extend(reading.faults.into_iter().filter(|fault| !unread.contains(&fault.file)));
    // What has faults already is looked at as far as it could be read: none of them hides the next.
    let Some(config) = reading.config.or(reading.draft) else { return (None, faults) };
    faults.extend(pattern_faults(&config));
    (Some(config), faults)
}

/// Whether there is an error among them: no configuration to run with.
pub fn faulty(faults: &[Fault]) -> bool {
    faults.iter().any(|f| f.severity == Severity::Error)
}

fn source<'a>(text: &'a Option<String>, path: &'a str) -> Option<Source<'a>> {
    text.as_deref().map(|text| Source { path, text })
}

/// Patterns of log probes are checked by the engine that will run them, which the core does not link.
fn pattern_faults(config: &Config) -> Vec<Fault> {
    let mut faults = Vec::new();
    for place in config.log_patterns() {
        if let Err(e) = regex::Regex::new(place.pattern) {
            let mut fault = file_fault(place.file, format!("is not a regular expression: {e}"));
            (fault.line, fault.column, fault.field) = (place.line, place.column, place.field.to_owned());
            faults.push(fault);
        }
    }
    faults
}

fn read_text(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("cannot be opened: {e}")),
    };
    let mut bytes = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut bytes).map_err(|e| format!("cannot be read: {e}"))?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|e| format!("is not UTF-8 (byte {}); save it as UTF-8", e.utf8_error().valid_up_to()))
}

fn file_fault(file: &str, message: String) -> Fault {
    Fault {
        file: file.to_owned(),
        line: 0,
        column: 0,
        field: String::new(),
        severity: Severity::Error,
        message,
        hint: String::new(),
    }
}

/// Copies the files beside the last good ones; files that are gone are taken away there as well.
fn keep(from: &Path, to: &Path) -> io::Result<()> {
    private_dir(to)?;
    private_dir(&to.join("instance"))?;
    for name in FILES {
        let target: PathBuf = to.join(name);
        match fs::read(from.join(name)) {
            Ok(content) if fs::read(&target).is_ok_and(|old| old == content) => {}
            Ok(content) => replace_durably(&target, &content, 0o600)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => match fs::remove_file(&target) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                Ok(()) | Err(_) => {}
            },
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
