//! The systemd user units of a home (`scripts/install_autostart.sh`): where they are installed, helmd is started and stopped
//! through them, so that systemd looks after it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::ClientError;
use crate::home::Home;

/// The home that a unit file is for stands in it; systemd passes over keys that begin with `X-`.
const MARK: &str = "X-HelmHome=";
const SERVICE: &str = "helmd.service";
const SOCKET: &str = "helmd.socket";

/// The units of one home, in reach of this process.
#[derive(Debug)]
pub struct Units {
    /// Where the user's manager listens.
    runtime: PathBuf,
}

impl Units {
    /// The units of `home`, if they are installed for our own user and the user's manager runs.
    pub fn of(home: &Home) -> Option<Self> {
        let uid = rustix::process::getuid().as_raw();
        let ours = fs::metadata(home.path()).is_ok_and(|home| home.uid() == uid);
        let text = fs::read_to_string(config_dir()?.join("systemd/user").join(SERVICE)).ok()?;
        let runtime = PathBuf::from(format!("/run/user/{uid}"));
        (ours && is_for(&text, home.path()) && runtime.join("systemd/private").exists())
            .then_some(Self { runtime })
    }

    /// Starts helmd; returns once it is ready.
    ///
    /// # Errors
    /// `Unit`, with the words of systemd.
    pub async fn start(&self) -> Result<(), ClientError> {
        self.systemctl("start", &[SOCKET, SERVICE]).await
    }

    /// Stops helmd and the socket that would start it again; services stay.
    ///
    /// # Errors
    /// `Unit`, with the words of systemd.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.systemctl("stop", &[SOCKET, SERVICE]).await
    }

    async fn systemctl(&self, verb: &str, units: &[&str]) -> Result<(), ClientError> {
        let words = format!("systemctl --user {verb} {}", units.join(" "));
        let output = Command::new("systemctl")
            .args(["--user", verb])
            .args(units)
            // cron, su and ssh see none.
            .env("XDG_RUNTIME_DIR", &self.runtime)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|e| ClientError::Unit { words: words.clone(), why: e.to_string() })?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
        Err(ClientError::Unit { words, why })
    }
}

fn config_dir() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|dir| Path::new(dir).is_absolute());
    set.map(PathBuf::from).or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")))
}

fn is_for(unit: &str, home: &Path) -> bool {
    unit.lines().filter_map(|line| line.strip_prefix(MARK)).any(|marked| Path::new(marked) == home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_for_the_home_it_names() {
        let unit = "[Unit]\nDescription=x\nX-HelmHome=/srv/a b\n";
        assert!(is_for(unit, Path::new("/srv/a b")));
        assert!(!is_for(unit, Path::new("/srv/a")));
        assert!(!is_for("[Unit]\n", Path::new("")));
    }
}
