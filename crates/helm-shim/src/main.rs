//! The keeper of one service (docs/keeper.md).
//!
//! ```text
//! helm-shim keep --home HOME --service NAME [--attach RUN]
//!                            the keeper; descriptor 0 may be its first connection to helmd; takes a run over
//! helm-shim compress FILE    packs one closed segment, at idle priority
//! ```

mod capture;
mod clock;
mod keeper;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use helm_core::name::ServiceName;
use helm_shim::{segments, sys};

fn main() -> ExitCode {
    sys::thrifty_allocator();
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next();
    let rest: Vec<OsString> = arguments.collect();
    let done = match (verb.as_deref().and_then(|v| v.to_str()), rest.as_slice()) {
        (Some("keep"), [home_flag, home, service_flag, service])
            if home_flag == "--home" && service_flag == "--service" =>
        {
            keep(Path::new(home), &service.to_string_lossy(), None)
        }
        (Some("keep"), [home_flag, home, service_flag, service, attach_flag, run])
            if home_flag == "--home" && service_flag == "--service" && attach_flag == "--attach" =>
        {
            keep(Path::new(home), &service.to_string_lossy(), Some(&run.to_string_lossy()))
        }
        (Some("compress"), [file]) => {
            sys::idle_priority();
            segments::compress(Path::new(file))
                .map_err(|e| format!("cannot compress {}: {e}", file.to_string_lossy()))
        }
        _ => {
            say("usage: helm-shim keep --home HOME --service NAME [--attach RUN] | helm-shim compress FILE");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

fn keep(home: &Path, service: &str, attach: Option<&str>) -> Result<(), String> {
    let name = ServiceName::new(service).map_err(|e| e.to_string())?;
    let attach =
        attach.map(str::parse).transpose().map_err(|e| format!("--attach: not the id of a run: {e}"))?;
    let home: PathBuf = home.canonicalize().map_err(|e| format!("home {}: {e}", home.display()))?;
    keeper::keep(&home, &name, attach).map_err(|e| format!("keeper of {name} in {}: {e}", home.display()))
}

/// Standard error may be gone; that is no reason to fail.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "helm-shim: {message}");
}
