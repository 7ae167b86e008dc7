//! The supervisors: how each is told about the services, started, and where it writes their output.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::place::{Place, Service};
use crate::{Error, Result};

/// A supervisor under measurement. All run with their default settings, except where `note` says otherwise.
pub(crate) trait Peer {
    fn name(&self) -> &'static str;
    /// Its version, which also shows that it is installed.
    fn version(&self) -> Result<String>;
    /// Writes its configuration.
    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()>;
    /// The command that brings everything up.
    fn command(&self, place: &Place) -> Command;
    /// Where it keeps the stdout of a service: a directory, and how the names of the files in it begin.
    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String);
    /// Settings that differ from the defaults.
    fn note(&self) -> &'static str;
    /// Its daemon, where it can start anew beside running services and answers over gRPC: Helm's.
    fn daemon(&self) -> Option<PathBuf> {
        None
    }
}

/// Helm and its peers, in the order of the table. `helm`: the directory of Helm's own binaries.
pub(crate) fn all(helm: &Path) -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(Helm { bin: helm.to_owned() }),
        Box::new(Tree { kind: Kind::Runit }),
        Box::new(Tree { kind: Kind::RunitShell }),
        Box::new(Tree { kind: Kind::S6 }),
        Box::new(Tree { kind: Kind::Daemontools }),
        Box::new(Supervisord),
        Box::new(Pm2),
        Box::new(ProcessCompose),
    ]
}

/// Helm itself, from its release binaries.
#[derive(Debug)]
struct Helm {
    bin: PathBuf,
}

impl Peer for Helm {
    fn name(&self) -> &'static str {
        "helm"
    }

    fn version(&self) -> Result<String> {
        version(Command::new(self.bin.join("helmctl")).arg("--version"))
    }

    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()> {
        let entries: serde_json::Map<String, serde_json::Value> = services
            .iter()
            .map(|service| (service.name.clone(), json!({ "path": ".", "command": argv(place, service) })))
            .collect();
        write(&place.dir().join("services.json"), &serde_json::Value::Object(entries).to_string())
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(self.bin.join("helmctl"));
        command.arg("--home").arg(place.dir()).arg("up");
        command
    }

    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String) {
        (place.dir().join("logs").join(service), "0".to_owned())
    }

    fn note(&self) -> &'static str {
        "helmctl up; time stamps (CRI format)"
    }

    fn daemon(&self) -> Option<PathBuf> {
        Some(self.bin.join("helmd"))
    }
}

/// The three of one family: a directory per service with `run` and `log/run` in it.
#[derive(Debug)]
struct Tree {
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runit,
    /// With `run` as its manual shows it: a shell script that execs the program.
    RunitShell,
    S6,
    Daemontools,
}

impl Peer for Tree {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Runit => "runit",
            Kind::RunitShell => "runit-sh",
            Kind::S6 => "s6",
            Kind::Daemontools => "daemontools",
        }
    }

    fn version(&self) -> Result<String> {
        let (package, programs) = match self.kind {
            Kind::Runit | Kind::RunitShell => ("runit", ["runsvdir", "svlogd"]),
            Kind::S6 => ("s6", ["s6-svscan", "s6-log"]),
            Kind::Daemontools => ("daemontools", ["svscan", "multilog"]),
        };
        for program in programs {
            version(Command::new("sh").args(["-c", &format!("command -v {program}")]))?;
        }
        // None of them knows its own version. Debian does.
        version(Command::new("dpkg-query").args(["-W", "-f", "${Version}", package]))
    }

    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()> {
        let logger = match self.kind {
            Kind::Runit | Kind::RunitShell => "svlogd -tt ./main",
            Kind::S6 => "s6-log t n20 s16777215 ./main",
            Kind::Daemontools => "multilog t n20 s16777215 ./main",
        };
        for service in services {
            let dir = place.dir().join("sv").join(&service.name);
            let log = dir.join("log");
            let main = log.join("main");
            fs::create_dir_all(&main).map_err(Error::at(&main))?;
            match self.kind {
                Kind::RunitShell => script(&dir.join("run"), &argv(place, service).join(" "))?,
                Kind::Runit | Kind::S6 | Kind::Daemontools => {
                    symlink(place.child(), dir.join("run")).map_err(Error::at(&dir))?;
                }
            }
            script(&log.join("run"), logger)?;
            let mut args = place.args(service);
            match self.kind {
                Kind::Runit | Kind::RunitShell => write(&main.join("config"), "s16777215\nn20\n")?,
                Kind::S6 => {
                    // A service that says it is ready is restarted without the pause of a second.
                    write(&dir.join("notification-fd"), "3\n")?;
                    args.insert(2, "ready".to_owned());
                }
                Kind::Daemontools => {}
            }
            write(&dir.join("args"), &args.join(" "))?;
        }
        Ok(())
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(match self.kind {
            Kind::Runit | Kind::RunitShell => "runsvdir",
            Kind::S6 => "s6-svscan",
            Kind::Daemontools => "svscan",
        });
        command.arg(place.dir().join("sv"));
        command
    }

    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String) {
        (place.dir().join("sv").join(service).join("log/main"), String::new())
    }

    fn note(&self) -> &'static str {
        match self.kind {
            Kind::RunitShell => "svlogd -tt, 16 MiB files; run is a script: #!/bin/sh, exec",
            Kind::Runit => "svlogd -tt, 16 MiB files; run is the program itself",
            Kind::S6 => "s6-log t, 16 MiB files; run is the program itself; notification-fd (no 1 s pause)",
            Kind::Daemontools => "multilog t, 16 MiB files; run is the program itself",
        }
    }
}

#[derive(Debug)]
struct Supervisord;

impl Peer for Supervisord {
    fn name(&self) -> &'static str {
        "supervisord"
    }

    fn version(&self) -> Result<String> {
        version(Command::new("supervisord").arg("--version"))
    }

    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()> {
        let dir = place.dir().display();
        let mut text =
            format!("[supervisord]\nlogfile={dir}/supervisord.log\npidfile={dir}/supervisord.pid\n");
        for service in services {
            let (name, command) = (&service.name, argv(place, service).join(" "));
            text += &format!(
                "[program:{name}]\ncommand={command}\nautorestart=true\nstdout_logfile={dir}/{name}.out\n"
            );
        }
        write(&place.dir().join("supervisord.conf"), &text)
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new("supervisord");
        command.arg("-n").arg("-c").arg(place.dir().join("supervisord.conf"));
        command
    }

    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String) {
        (place.dir().to_owned(), format!("{service}.out"))
    }

    fn note(&self) -> &'static str {
        "autorestart=true; no time stamps"
    }
}

#[derive(Debug)]
struct Pm2;

impl Peer for Pm2 {
    fn name(&self) -> &'static str {
        "pm2"
    }

    fn version(&self) -> Result<String> {
        // Asking pm2 itself would start its daemon in the caller's home.
        let program = version(Command::new("sh").args(["-c", "readlink -f \"$(command -v pm2)\""]))?;
        let package = Path::new(&program).ancestors().nth(2).unwrap_or(Path::new("/")).join("package.json");
        let text = fs::read_to_string(&package).map_err(Error::at(&package))?;
        let package: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| Error::Absent(e.to_string()))?;
        Ok(package["version"].as_str().unwrap_or("unknown").to_owned())
    }

    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()> {
        let apps: Vec<_> = services
            .iter()
            .map(|service| {
                json!({
                    "name": service.name,
                    "script": place.child(),
                    "args": place.args(service),
                    "interpreter": "none",
                    "exec_mode": "fork",
                })
            })
            .collect();
        write(&place.dir().join("apps.json"), &json!({ "apps": apps }).to_string())
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new("pm2");
        command.arg("start").arg(place.dir().join("apps.json")).env("PM2_HOME", place.dir().join("pm2"));
        command
    }

    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String) {
        (place.dir().join("pm2/logs"), format!("{service}-out"))
    }

    fn note(&self) -> &'static str {
        "fork mode; no time stamps"
    }
}

#[derive(Debug)]
struct ProcessCompose;

impl Peer for ProcessCompose {
    fn name(&self) -> &'static str {
        "process-compose"
    }

    fn version(&self) -> Result<String> {
        version(Command::new("process-compose").args(["version", "--short"]))
    }

    fn lay_out(&self, place: &Place, services: &[Service]) -> Result<()> {
        let processes: serde_json::Map<String, serde_json::Value> = services
            .iter()
            .map(|service| {
                let log = place.dir().join(format!("{}.out", service.name));
                let entry = json!({
                    "entrypoint": argv(place, service),
                    "log_location": log,
                    "availability": { "restart": "always" },
                });
                (service.name.clone(), entry)
            })
            .collect();
        // JSON is YAML.
        let text = json!({ "version": "0.5", "processes": processes }).to_string();
        write(&place.dir().join("process-compose.yaml"), &text)
    }

    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new("process-compose");
        command
            .args(["up", "--tui=false", "--no-server", "-f"])
            .arg(place.dir().join("process-compose.yaml"));
        command
    }

    fn logs(&self, place: &Place, service: &str) -> (PathBuf, String) {
        (place.dir().to_owned(), format!("{service}.out"))
    }

    fn note(&self) -> &'static str {
        "restart always; no terminal interface, no server"
    }
}

fn argv(place: &Place, service: &Service) -> Vec<String> {
    let mut argv = vec![place.child().to_string_lossy().into_owned()];
    argv.extend(place.args(service));
    argv
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::at(path))
}

fn script(path: &Path, command: &str) -> Result<()> {
    write(path, &format!("#!/bin/sh\nexec {command}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(Error::at(path))
}

/// First line that a command prints; an error when there is no such command.
fn version(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| Error::Absent(format!("{program}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.trim().to_owned()),
        _ => Err(Error::Absent(format!("{command:?} says nothing ({})", output.status))),
    }
}
