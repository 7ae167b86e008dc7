//! Completion in shells, with the names of the services that helmd knows.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use helm_client::{Client, Home};

use crate::cli::Cli;
use crate::failure::Failure;
use crate::render::Printer;

/// The variable by which a shell asks for candidates.
const ASKED_BY: &str = "COMPLETE";
/// Whoever presses Tab does not wait longer for helmd.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers a shell that asks for candidates, and ends the program then.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Cli::command).var(ASKED_BY).complete();
}

/// `completions`: what makes a shell ask.
pub(crate) fn script(shell: &str, printer: &mut Printer) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(shell)
        .ok_or_else(|| Failure::Usage(format!("there is no completion for `{shell}`")))?;
    let mut script = Vec::new();
    completer.write_registration(ASKED_BY, "helmctl", "helmctl", "helmctl", &mut script)?;
    printer.raw(&script)
}

/// `man`: a page for each verb.
pub(crate) fn man(dir: &Path) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::Failed(format!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)
}

/// Names of services; none where no helmd answers.
pub(crate) fn services() -> ArgValueCandidates {
    ArgValueCandidates::new(|| names().unwrap_or_default())
}

fn names() -> Option<Vec<CompletionCandidate>> {
    let home = Home::find(home_of(std::env::args_os()).as_deref()).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let listed = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async { Client::of(&home).await.ok()?.list().await.ok() }).await
    });
    let services = listed.ok()??;
    Some(services.into_iter().map(|s| CompletionCandidate::new(s.name).help(Some(s.kind.into()))).collect())
}

/// The home that is named on the line that is being completed, else that of the environment.
fn home_of(words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let words: Vec<OsString> = words.collect();
    let behind = words.iter().position(|word| word == "--home").and_then(|at| words.get(at + 1));
    let within = words.iter().find_map(|word| word.to_str()?.strip_prefix("--home="));
    behind
        .map(PathBuf::from)
        .or(within.map(PathBuf::from))
        .or_else(|| std::env::var_os("HELM_HOME").map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_line() {
        let of = |line: &str| home_of(line.split(' ').map(OsString::from));
        assert_eq!(of("helmctl -- helmctl --home /a stop w"), Some("/a".into()));
        assert_eq!(of("helmctl -- helmctl --home=/b stop w"), Some("/b".into()));
    }
}
