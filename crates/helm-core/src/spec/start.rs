//! What a start needs: argv, environment, and the variables of `.flaskenv`.

use std::collections::BTreeMap;

use super::scalar::absolute;
use super::{Program, ServiceSpec, helm_web};
use crate::wish::Mode;

/// Variables of a `.flaskenv`, as contract 3.7 parses it: blank lines and `#` are skipped, the first `=` parts name and
/// value, both are trimmed, one pair of matching quotes is taken off. No `export`, no interpolation, no inline comment.
pub fn flaskenv(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), unquoted(value.trim()).to_owned()))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

fn unquoted(value: &str) -> &str {
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The environment of a service. Later layers win: `base` (what helmd lets through of its own), the registry's defaults,
/// those of the mode, `.flaskenv`, `env_file`, `env`, and the mode itself.
pub fn environment(
    spec: &ServiceSpec,
    mode: Mode,
    base: &BTreeMap<String, String>,
    flaskenv_text: Option<&str>,
    env_file: Option<&str>,
) -> BTreeMap<String, String> {
    let of_mode = match mode {
        Mode::Development => &spec.env_development,
        Mode::Production => &spec.env_production,
    };
    let mut env = base.clone();
    // helmd clears its own environment; this one would name the parent even where somebody let it through.
    env.remove("SERVICE_NAME");
    let defaults = [&spec.env_defaults, of_mode].into_iter().flatten();
    env.extend(defaults.map(|(name, value)| (name.clone(), value.clone())));
    env.extend([flaskenv_text, env_file].into_iter().flatten().flat_map(flaskenv));
    env.extend(spec.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    env.extend(mode_variables(spec, mode));
    env
}

/// What makes the mode, for every service; `mode_flags` adds to it.
fn mode_variables(spec: &ServiceSpec, mode: Mode) -> impl Iterator<Item = (String, String)> {
    let words = ["FLASK_ENV", "ENVIRONMENT"].map(|name| (name.to_owned(), mode.as_str().to_owned()));
    let flags = std::iter::once("HIVEMATRIX_DEV_MODE").chain(spec.mode_flags.iter().map(String::as_str));
    let development = (mode == Mode::Development).to_string();
    words.into_iter().chain(flags.map(move |name| (name.to_owned(), development.clone())))
}

/// What is executed; `None` for a directory entry and for what is configured no more. A first word without `/` is still to be looked up in PATH
/// (helm-web: beside helmd first).
pub fn argv(spec: &ServiceSpec) -> Option<Vec<String>> {
    let inside = |path: &str| absolute(&spec.path, path);
    let with_first = |words: &[String], first: String| {
        std::iter::once(first).chain(words.iter().skip(1).cloned()).collect::<Vec<_>>()
    };
    Some(match spec.program.as_ref()? {
        // A link in python_bin is how a virtual environment works: the path is made absolute, never resolved.
        Program::Python { python_bin, run_script } => vec![inside(python_bin), inside(run_script)],
        Program::StartCommand(words) => with_first(words, inside(words.first()?)),
        Program::Command(words) => match words.first()? {
            bare if !bare.contains('/') => words.clone(),
            path => with_first(words, inside(path)),
        },
        Program::Shell(text) => vec!["/bin/sh".into(), "-c".into(), text.clone()],
        Program::HelmWeb { port } => helm_web::argv(*port),
        Program::Removed => return None,
    })
}
