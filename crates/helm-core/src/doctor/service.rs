//! The files that a service needs before it can start.

use super::shell::{append, chown, edit};
use super::{Finding, Fix, Hands, Id, quoted};
use crate::name::ServiceName;

/// What is in the place of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executable {
    /// A file that can be executed.
    There,
    /// Nothing.
    Missing,
    /// A link that leads to nothing.
    Dangling {
        /// Where it leads.
        to: String,
    },
    /// A file without the right to be executed.
    NotExecutable,
    /// Not found in the PATH that the service would get.
    NotInPath,
}

/// What starts a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter {
    /// Python, of a virtual environment.
    Venv,
    /// A program.
    Program,
    /// A program of Helm, which lies beside helmd.
    OfHelm,
}

/// The service's own services.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// It needs none, or it is as it must be.
    Good,
    /// Not there.
    Missing,
    /// A link that leads to nothing: no start mends it, for links are left alone.
    Dangling {
        /// Where it leads.
        to: String,
    },
    /// Another one than a start would write.
    Stale,
}

/// Where the program of a service can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A repository of git.
    Repository(String),
    /// A compressed archive, with one directory in it.
    Archive(String),
}

/// What lies in the directory of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceFiles {
    /// Which service.
    pub name: ServiceName,
    /// Its directory.
    pub path: String,
    /// The directory is there.
    pub directory: bool,
    /// The user that may not look into it: helmd's.
    pub closed_to: Option<String>,
    /// Where it can be had.
    pub origin: Option<Origin>,
    /// The file that it is configured in, and the line.
    pub place: (String, u32),
    /// What starts it.
    pub interpreter: Interpreter,
    /// A requirements.txt lies in its directory.
    pub requirements: bool,
    /// The file that is executed, and what is in its place; a shell's text is for the shell.
    pub program: Option<(String, Executable)>,
    /// A script that is not there.
    pub missing_script: Option<String>,
    /// What was in its directory can be had from git again.
    pub repository: bool,
    /// An `env_file` that is not there.
    pub missing_env_file: Option<String>,
    /// Its services.json.
    pub copy: Copy,
    /// The home's, which a link would lead to.
    pub registry: String,
    /// Its SECRET_KEY is needed and not set anywhere.
    pub without_secret_key: bool,
    /// It runs now.
    pub runs: bool,
}

impl ServiceFiles {
    /// What of it keeps the service from starting.
    pub fn findings(&self, hands: &Hands) -> Vec<Finding> {
        if !self.directory {
            return vec![self.not_installed()];
        }
        if let Some(user) = &self.closed_to {
            let path = quoted(&self.path);
            let mend = hands.sudo(&chown("-R ", user, &path));
            let finding = Finding::fault(Id::Permissions, format!("its directory is closed to {user}"));
            return vec![finding.seen(format!("{}: permission denied", self.path)).mend(mend).of(&self.name)];
        }
        let all = [
            self.program(),
            self.script(),
            self.env_file(),
            self.copy(hands),
            self.without_secret_key.then(|| self.secret_key()),
        ];
        all.into_iter().flatten().map(|finding| finding.of(&self.name)).collect()
    }

    /// Nothing in the files is wrong where a program of Helm is missing.
    fn get(&self, path: &str) -> String {
        match self.interpreter {
            Interpreter::OfHelm => {
                let name = path.rsplit('/').next().unwrap_or(path);
                format!("cargo build --release --bin {}", quoted(name))
            }
            Interpreter::Venv | Interpreter::Program => self.edit(),
        }
    }

    fn edit(&self) -> String {
        edit(&self.place.0, self.place.1)
    }

    fn not_installed(&self) -> Finding {
        let mend = match &self.origin {
            Some(Origin::Repository(url)) => format!("git clone {} {}", quoted(url), quoted(&self.path)),
            Some(Origin::Archive(url)) => {
                let beside = self.path.rsplit_once('/').map_or(".", |(beside, _)| beside);
                format!("curl -fL {} | tar -xz -C {}", quoted(url), quoted(beside))
            }
            None => self.edit(),
        };
        // It is passed over; what is configured and never to be installed is no fault.
        Finding::warning(Id::NotInstalled, "it is not installed: its directory is not there")
            .seen(format!("{} (services.json: path)", self.path))
            .mend(mend)
            .of(&self.name)
    }

    fn program(&self) -> Option<Finding> {
        let (path, state) = self.program.as_ref()?;
        let seen = match state {
            Executable::There => return None,
            Executable::NotExecutable => {
                return Some(
                    Finding::fault(Id::NotExecutable, "its program may not be executed")
                        .seen(format!("{path} has no right x"))
                        .mend(format!("chmod +x {}", quoted(path))),
                );
            }
            Executable::Missing => format!("{path} is not there"),
            Executable::Dangling { to } => format!("{path} leads to {to}, which is not there"),
            Executable::NotInPath => format!("`{path}` is in no directory of the PATH that it would get"),
        };
        Some(match self.venv(path) {
            Some(mend) => {
                Finding::fault(Id::VenvMissing, "its virtual environment is not there").seen(seen).mend(mend)
            }
            None => {
                Finding::fault(Id::ProgramMissing, "its program is not there").seen(seen).mend(self.get(path))
            }
        })
    }

    /// Makes the virtual environment that the program is of, if it is of one.
    fn venv(&self, program: &str) -> Option<String> {
        let (dir, name) = program.rsplit_once("/bin/")?;
        let named = dir.rsplit('/').next().is_some_and(|last| VENVS.contains(&last));
        // Any other directory of the service may be meant for one, too, but only by who names a Python in it.
        let within = dir.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.starts_with('/'));
        let meant = within && self.interpreter == Interpreter::Venv && name.starts_with("python");
        if !named && !meant {
            return None;
        }
        // Never over the service's own files: a directory is emptied only where its name says that it holds nothing else, and
        // only where it cannot be of use.
        let clear = if named && name.starts_with("python") { "--clear " } else { "" };
        let make = format!("python3 -m venv {clear}{}", quoted(dir));
        Some(if self.requirements {
            let (pip, file) = (format!("{dir}/bin/pip"), format!("{}/requirements.txt", self.path));
            format!("{make} && {} install -r {}", quoted(&pip), quoted(&file))
        } else {
            make
        })
    }

    fn script(&self) -> Option<Finding> {
        let script = self.missing_script.as_ref()?;
        Some(
            Finding::fault(Id::ScriptMissing, "its script is not there")
                .seen(format!("{script} is not there"))
                .mend(if self.repository {
                    format!("git -C {} checkout -- {}", quoted(&self.path), quoted(script))
                } else {
                    self.edit()
                }),
        )
    }

    fn env_file(&self) -> Option<Finding> {
        let file = self.missing_env_file.as_ref()?;
        Some(
            Finding::fault(Id::EnvFileMissing, "its env_file is not there")
                .seen(format!("{file} is not there"))
                .mend(self.edit()),
        )
    }

    fn copy(&self, hands: &Hands) -> Option<Finding> {
        let target = format!("{}/services.json", self.path);
        let link = format!("ln -sfn {} {}", quoted(&self.registry), quoted(&target));
        let finding = match &self.copy {
            Copy::Good => return None,
            Copy::Dangling { to } => {
                Finding::fault(Id::RegistryCopy, "its services.json is a link that leads to nothing")
                    .seen(format!("{target} leads to {to}"))
                    .mend(link)
            }
            Copy::Missing if self.runs => {
                Finding::fault(Id::RegistryCopy, "its services.json is gone while it runs")
                    .seen(format!("{target} is not there: it finds no other service"))
                    .mend(link)
            }
            // The next start writes it.
            Copy::Missing => Finding::warning(Id::RegistryCopy, "it has no services.json")
                .seen(format!("{target} is not there; a start by Helm writes it"))
                .mend(link),
            Copy::Stale if self.runs => {
                Finding::warning(Id::RegistryCopy, "its services.json is not the one of this home")
                    .seen(format!("{target} differs from what a start would write"))
                    .mend(hands.ctl(&format!("restart {}", self.name)))
            }
            Copy::Stale => return None,
        };
        Some(finding.fixed_by(Fix::CopyRegistry { service: self.name.clone() }))
    }

    fn secret_key(&self) -> Finding {
        let file = format!("{}/.flaskenv", self.path);
        Finding::fault(Id::SecretKeyMissing, "it has no SECRET_KEY, and refuses to start without")
            .seen(format!("neither {file} nor services.json sets it"))
            .mend(append(&file, "SECRET_KEY", "\"$(od -An -N24 -tx1 /dev/urandom | tr -d ' \\n')\""))
    }
}

/// Directories that are virtual environments by their names.
const VENVS: [&str; 4] = ["pyenv", "venv", ".venv", "env"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Weight;
    use crate::fleet::testing::name;

    fn hands() -> Hands {
        Hands { helmctl: "helmctl".into(), root: false }
    }

    fn files() -> ServiceFiles {
        ServiceFiles {
            name: name("core"),
            path: "/srv/core".into(),
            directory: true,
            closed_to: None,
            origin: None,
            place: ("/srv/helm/services.json".into(), 7),
            interpreter: Interpreter::Venv,
            requirements: false,
            program: Some(("/srv/core/pyenv/bin/python".into(), Executable::There)),
            missing_script: None,
            repository: false,
            missing_env_file: None,
            copy: Copy::Good,
            registry: "/srv/helm/services.json".into(),
            without_secret_key: false,
            runs: false,
        }
    }

    fn only(files: &ServiceFiles) -> Finding {
        let mut found = files.findings(&hands());
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn what_is_whole_has_no_finding() {
        assert_eq!(files().findings(&hands()), []);
    }

    #[test]
    fn a_missing_directory_hides_what_would_be_in_it() {
        let files = ServiceFiles {
            directory: false,
            origin: Some(Origin::Repository("https://x/y".into())),
            missing_script: Some("a".into()),
            ..files()
        };
        let found = only(&files);
        assert_eq!(
            (found.id, found.mend.as_deref()),
            (Id::NotInstalled, Some("git clone https://x/y /srv/core"))
        );
    }

    #[test]
    fn an_interpreter_is_made_where_it_is_to_be_and_anything_else_is_corrected() {
        let program = |path: &str, state, interpreter| {
            only(&ServiceFiles { program: Some((path.into(), state)), interpreter, ..files() })
        };
        let dangling = Executable::Dangling { to: "/py".into() };
        let found = program("/srv/core/pyenv/bin/python", dangling, Interpreter::Venv);
        assert_eq!(found.id, Id::VenvMissing);
        assert_eq!(found.mend.as_deref(), Some("python3 -m venv --clear /srv/core/pyenv"));
        // By a command, and outside of its directory.
        let found = program("/opt/core/venv/bin/gunicorn", Executable::Missing, Interpreter::Program);
        assert_eq!(found.id, Id::VenvMissing);
        assert_eq!(found.mend.as_deref(), Some("python3 -m venv /opt/core/venv"));
        let found = program("/srv/core/py3/bin/python3", Executable::Missing, Interpreter::Venv);
        assert_eq!(found.mend.as_deref(), Some("python3 -m venv /srv/core/py3"));
        let found = program("/usr/bin/python3.9", Executable::Missing, Interpreter::Venv);
        assert_eq!(found.id, Id::ProgramMissing, "the system's is no virtual environment");
        let found = program("run", Executable::NotInPath, Interpreter::Program);
        assert_eq!(found.id, Id::ProgramMissing);
        assert_eq!(found.mend.as_deref(), Some("${EDITOR:-vi} +7 /srv/helm/services.json"));
        let found = program("/opt/helm/helm-web", Executable::Missing, Interpreter::OfHelm);
        assert_eq!(found.id, Id::ProgramMissing);
        assert_eq!(found.mend.as_deref(), Some("cargo build --release --bin helm-web"));
        let found = program("/srv/core/my run", Executable::NotExecutable, Interpreter::Program);
        assert_eq!(found.mend.as_deref(), Some("chmod +x '/srv/core/my run'"));
    }

    #[test]
    fn a_start_writes_the_copy_but_never_through_a_link() {
        let weight = |copy, runs| only(&ServiceFiles { copy, runs, ..files() }).weight;
        assert_eq!(weight(Copy::Missing, false), Weight::Warning);
        assert_eq!(weight(Copy::Missing, true), Weight::Fault);
        assert_eq!(weight(Copy::Dangling { to: "x".into() }, false), Weight::Fault);
        assert_eq!(weight(Copy::Stale, true), Weight::Warning);
        assert_eq!(ServiceFiles { copy: Copy::Stale, ..files() }.findings(&hands()), []);
    }
}
