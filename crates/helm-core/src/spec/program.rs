//! What a service runs: exactly one program, inside the directory that it belongs to.

use super::Program;
use super::fault::quoted;
use super::group::Command;
use super::plain::Inside;
use super::resolve::{Entry, Resolver};
use super::scalar::{absolute, stays_inside, words};
use super::shape::At;
use super::table::{RawService, Type};

const PYTHON_BIN: &str = "pyenv/bin/python";
const RUN_SCRIPT: &str = "run.py";

impl Resolver<'_, '_> {
    pub(super) fn program(&mut self, entry: &Entry, path: &str) -> Option<Program> {
        self.check_type(entry);
        let raw = &entry.raw;
        let program = match (&raw.command, &raw.start_command) {
            (Some(command), Some(other)) => {
                self.too_many(entry, "start_command", other.at);
                self.command(entry, command)
            }
            (Some(command), None) => self.command(entry, command),
            (None, Some(line)) => self.start_command(entry, line),
            (None, None) => match entry.helm_web() {
                Some(port) => {
                    self.warn_of_python_helm(entry);
                    Some(Program::HelmWeb { port })
                }
                None => self.python(entry),
            },
        };
        if entry.has_command()
            && let Some((field, at)) = python_field(raw)
        {
            self.too_many(entry, field, at);
        }
        if let (Some(shell), None) = (&raw.shell, &raw.command)
            && !raw.faulty
        {
            self.error(entry, "shell", shell.at, "needs a `command`", "");
        }
        if program.is_none() && raw.url.is_none() && !raw.faulty && !self.is_refused(entry) {
            let hint = "give `path` for a Python service, `start_command`, or `command`; a `url` alone makes a directory entry";
            self.doc.error(
                entry.at,
                &format!("services.{}", entry.name),
                "has nothing to run and no url",
                hint,
            );
        }
        match program {
            // The Helm of the Python era, by another name than its own: it is what runs here, and never a child of itself.
            Some(Program::Python { run_script, .. })
                if run_script == RUN_SCRIPT && path == absolute(self.home, ".") =>
            {
                let message =
                    "is Helm itself as it was in Python; it is not started, and stands as a directory entry";
                self.doc.warn(
                    entry.at,
                    &format!("services.{}", entry.name),
                    message,
                    "take `path`, `python_bin` and `run_script` away",
                );
                None
            }
            other => other,
        }
    }

    /// Has a fault about what it runs been reported already?
    fn is_refused(&self, entry: &Entry) -> bool {
        entry.has_command() || entry.raw.kind.is_some()
    }

    fn check_type(&mut self, entry: &Entry) {
        let raw = &entry.raw;
        let Some(kind) = &raw.kind else { return };
        let program = entry.has_command();
        if raw.faulty {
            return;
        }
        match kind.it.0 {
            Type::Python if program => {
                let hint = "take `type` away, or the command";
                self.error(
                    entry,
                    "type",
                    kind.at,
                    "is `python`, but the entry has a command of its own",
                    hint,
                );
            }
            Type::Keycloak if !program => {
                self.error(
                    entry,
                    "type",
                    kind.at,
                    "is `keycloak`, but there is no `start_command`",
                    "like \"bin/kc.sh start-dev\"",
                );
            }
            Type::Command if !program => {
                self.error(entry, "type", kind.at, "is `command`, but there is no `command`", "");
            }
            Type::Python | Type::Keycloak | Type::Command => {}
        }
    }

    fn too_many(&mut self, entry: &Entry, field: &str, at: usize) {
        let hint = "a service is started by one of command, start_command, or python_bin with run_script";
        self.error(entry, field, at, "says a second time what is to run", hint);
    }

    fn command(&mut self, entry: &Entry, command: &At<Command>) -> Option<Program> {
        let shell = entry.raw.shell.as_ref().is_some_and(|s| s.it);
        match &command.it {
            Command::Line(text) if shell => Some(Program::Shell(text.clone())),
            Command::Line(_) => {
                let hint = "give a list of words, or add \"shell\": true";
                self.error(entry, "command", command.at, "is one text, and no shell is asked for", hint);
                None
            }
            Command::Argv(_) if shell => {
                self.error(
                    entry,
                    "command",
                    command.at,
                    "is a list, but a shell takes one text",
                    "take \"shell\": true away",
                );
                None
            }
            Command::Argv(words) => {
                let first = words.first().map_or("", String::as_str);
                if first.contains('/') && !first.starts_with('/') && !stays_inside(first) {
                    let message = format!("{} leaves the service's directory", quoted(first));
                    self.error(
                        entry,
                        "command",
                        command.at,
                        message,
                        "give an absolute path, or a name that is in PATH",
                    );
                }
                Some(Program::Command(words.clone()))
            }
        }
    }

    fn start_command(&mut self, entry: &Entry, line: &At<String>) -> Option<Program> {
        let Some(words) = words(&line.it) else {
            self.error(entry, "start_command", line.at, "has a quote that is not closed", "");
            return None;
        };
        let first = words.first().map_or("", String::as_str);
        if !stays_inside(first) {
            let message = format!("{} leaves the service's directory", quoted(first));
            self.error(
                entry,
                "start_command",
                line.at,
                message,
                "its first word is a file inside `path`; use `command` for others",
            );
        }
        Some(Program::StartCommand(words))
    }

    fn python(&self, entry: &Entry) -> Option<Program> {
        let raw = &entry.raw;
        let meant = raw.path.is_some() || python_field(raw).is_some();
        let or = |given: &Option<At<Inside>>, usual: &str| {
            given.as_ref().map_or_else(|| usual.to_owned(), |g| g.it.0.clone())
        };
        meant.then(|| Program::Python {
            python_bin: or(&raw.python_bin, PYTHON_BIN),
            run_script: or(&raw.run_script, RUN_SCRIPT),
        })
    }
}

pub(super) fn python_field(raw: &RawService) -> Option<(&'static str, usize)> {
    let python_bin = raw.python_bin.as_ref().map(|f| ("python_bin", f.at));
    python_bin.or_else(|| raw.run_script.as_ref().map(|f| ("run_script", f.at)))
}
