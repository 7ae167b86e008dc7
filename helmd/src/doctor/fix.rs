//! What `--fix` does. Each looks once more before it acts: what was true a minute ago may be so no longer.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use helm_core::doctor::{Fix, Line};
use helm_core::name::ServiceName;
use rustix::fs::OFlags;
use tokio::process::Command;

use super::daemon::is_stale;
use crate::config;
use crate::home::Home;
use crate::keeper::launch;

/// Somebody may have to be asked for a password by it.
const LOGINCTL_WITHIN: Duration = Duration::from_secs(30);

/// All of them, in order; each is told as it came out.
pub(super) fn all(home: &Path, fixes: Vec<Fix>) -> Result<Vec<Line>, String> {
    let home = Home::at(home).map_err(|e| e.to_string())?;
    let told = |fix: &Fix| match carry_out(&home, fix) {
        Ok(()) => Line::Fixed(fix.to_string()),
        Err(why) => Line::NotFixed(format!("{fix}: {why}")),
    };
    Ok(fixes.iter().map(told).collect())
}

fn carry_out(home: &Home, fix: &Fix) -> Result<(), String> {
    match fix {
        Fix::Close { path } => close(home, Path::new(path)),
        Fix::RemoveSocket { path } => remove_socket(home, Path::new(path)),
        Fix::MakeDirectory { path } => make_directory(home, Path::new(path)),
        Fix::CopyRegistry { service } => copy_registry(home, service),
        Fix::EnableLinger { user } => enable_linger(user),
    }
}

/// Through the open file: what is looked at is what is changed, whoever puts a link in its place meanwhile.
fn close(home: &Home, path: &Path) -> Result<(), String> {
    let not_through_links = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let opened = fs::OpenOptions::new().read(true).custom_flags(not_through_links).open(path);
    let file = opened.map_err(|e| format!("{e}; where it is a link, chmod what it leads to"))?;
    let meta = file.metadata().map_err(|e| e.to_string())?;
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    if meta.uid() != owner(home)?.uid() {
        return Err("belongs to another user than the home, who may need it as it is".to_owned());
    }
    let mode = meta.permissions().mode() & 0o700;
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|e| e.to_string())
}

/// With the lock held, which is made where it is not there: a helmd that begins just now is not robbed of its socket.
fn remove_socket(home: &Home, path: &Path) -> Result<(), String> {
    let _none_begins = home.lock().map_err(|e| e.to_string())?;
    let socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if !socket || !is_stale(path) {
        return Err("somebody listens there by now, or it is no socket".to_owned());
    }
    fs::remove_file(path).map_err(|e| e.to_string())
}

/// By whom the home belongs to: nobody else makes directories, or gives them away, where that one could put a link.
fn make_directory(home: &Home, path: &Path) -> Result<(), String> {
    if owner(home)?.uid() != rustix::process::geteuid().as_raw() {
        return Err("do it as the user that the home belongs to".to_owned());
    }
    fs::DirBuilder::new().recursive(true).mode(0o750).create(path).map_err(|e| e.to_string())
}

fn owner(home: &Home) -> Result<fs::Metadata, String> {
    fs::metadata(home.path()).map_err(|e| e.to_string())
}

fn copy_registry(home: &Home, service: &ServiceName) -> Result<(), String> {
    let read = config::read(home);
    let config = read.sound().ok_or("the configuration has faults: helmctl config check")?;
    let spec = config.service(service.as_str()).ok_or("it is configured no more")?;
    let target = Path::new(&spec.path).join("services.json");
    // Only a link that leads to nothing: one that leads somewhere is left alone.
    if target.is_symlink() && !target.exists() {
        fs::remove_file(&target).map_err(|e| e.to_string())?;
    }
    launch::hand_over_registry(config, spec, home.path())
}

fn enable_linger(user: &str) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("loginctl: {e}"))?;
    let output = runtime.block_on(async {
        // It is ended where nobody waits for it any more: a bus that does not answer holds it up.
        let mut loginctl = Command::new("loginctl");
        loginctl.args(["enable-linger", user]).stdin(Stdio::null()).kill_on_drop(true);
        tokio::time::timeout(LOGINCTL_WITHIN, loginctl.output()).await
    });
    let output = output
        .map_err(|_| format!("loginctl did not end within {} s", LOGINCTL_WITHIN.as_secs()))?
        .map_err(|e| format!("loginctl: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " "))
}
