//! Reads the configuration files of a home, and writes them back. Blocking; with which one helmd begins says
//! [`crate::versions::begin`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use helm_core::spec::{self, Config, Fault, Severity, Source, Sources};

use crate::home::{Home, private_dir, replace_durably};
use crate::ini;
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
pub(crate) const RELOAD: &str = "helmctl reload (helmctl plan shows what it would do)";

/// Longest file that is read; the reader says more precisely what is too long.
const READ_LIMIT: u64 = 16 << 20;

/// The files of a configuration as they were read at once: what is checked is what is kept and run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts([Option<String>; FILES.len()]);

/// What was read.
#[derive(Debug)]
pub struct Read {
    /// The files.
    pub texts: Texts,
    /// The configuration, as far as it could be read; it is one to run with unless there are errors.
    pub config: Option<Config>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

impl Read {
    /// The configuration, if it is one to run with.
    pub fn sound(&self) -> Option<&Config> {
        self.config.as_ref().filter(|_| !faulty(&self.faults))
    }

    /// How many of the faults are errors.
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|f| f.severity == Severity::Error).count()
    }
}

/// Reads the files as they are on disk. Changes nothing, and looks at nothing outside of the home: not at what services
/// name.
pub fn read(home: &Home) -> Read {
    read_from(home, home.path())
}

/// The environment that a start would begin with: a check by hand has the operator's, helmd its own.
pub fn own_environment() -> BTreeMap<String, String> {
    base_environment(
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
    )
}

/// The same files, kept in another directory.
pub(crate) fn read_from(home: &Home, dir: &Path) -> Read {
    let mut texts = Texts::default();
    let mut unread = Vec::new();
    for (text, name) in texts.0.iter_mut().zip(FILES) {
        match read_text(&dir.join(name)) {
            Ok(found) => *text = found,
            Err(message) => {
                // There, with a fault already: the other files are read nevertheless.
                *text = Some(String::new());
                unread.push(file_fault(name, message));
            }
        }
    }
    texts.understood(home, dir, unread)
}

impl Texts {
    /// Into a configuration. `unread`: files that are there and could not be read.
    fn understood(self, home: &Home, dir: &Path, mut faults: Vec<Fault>) -> Read {
        let unread: Vec<String> = faults.iter().map(|fault| fault.file.clone()).collect();
        let [services, helm_services, master, registry, conf] = &self.0;
        if services.is_none() && helm_services.is_none() {
            faults.push(file_fault(
                "services.json",
                format!("is not there: {} is no home of Helm", dir.display()),
            ));
            return Read { texts: self, config: None, faults };
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
        let config = reading.config.or(reading.draft);
        faults.extend(config.iter().flat_map(pattern_faults));
        Read { texts: self, config, faults }
    }

    /// Names of the files that are others.
    pub(crate) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = FILES.into_iter().zip(self.0.iter().zip(&other.0));
        pairs.filter(|(_, (own, other))| own != other).map(|(name, _)| name).collect()
    }

    /// Names of the files that are there.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        FILES.into_iter().zip(&self.0).filter(|(_, text)| text.is_some()).map(|(name, _)| name).collect()
    }

    /// What `instance/helm.conf` says of the database: it belongs to others as well, and is read by the store alone.
    pub(crate) fn database(&self) -> [Vec<&str>; 2] {
        let conf = self.0[4].as_deref().unwrap_or_default();
        ["database", "database_credentials"].map(|section| ini::settings(conf, section))
    }

    /// The text of `instance/helm.conf`, to be changed.
    pub(crate) fn conf_mut(&mut self) -> &mut Option<String> {
        &mut self.0[4]
    }

    /// Puts the files into `dir`, each of them durably, and takes away those that are not there. A file that says the same
    /// is left alone; one that is there keeps its mode, and its place where it is a link.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        private_dir(&dir.join("instance"))?;
        for (name, text) in FILES.into_iter().zip(&self.0) {
            let path = dir.join(name);
            match text {
                Some(text) if fs::read(&path).is_ok_and(|old| old == text.as_bytes()) => {}
                Some(text) => {
                    let path = path.canonicalize().unwrap_or(path);
                    let mode = fs::metadata(&path).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
                    replace_durably(&path, text.as_bytes(), mode)?;
                }
                None => match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    Ok(()) | Err(_) => {}
                },
            }
        }
        Ok(())
    }
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
