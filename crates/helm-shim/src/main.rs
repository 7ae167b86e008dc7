//! The keeper of one service (docs/keeper.md).
//!
//! ```text
//! helm-shim keep --home HOME --service NAME [--attach RUN]
//!                            the keeper; descriptor 0 may be its first connection to helmd; takes a run over
//! helm-shim compress FILE    packs one closed segment, at idle priority
//! helm-shim exec DIR PROGRAM [ARGUMENT...]
//!                            the program of a probe in its directory: a directory that does not answer (a dead file
//!                            system) hangs this process, and not the helmd that starts it
//! ```

mod capture;
mod clock;
mod keeper;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
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
        (Some("exec"), [dir, program, arguments @ ..]) => Err(exec(Path::new(dir), program, arguments)),
        _ => {
            say(
                "usage: helm-shim keep --home HOME --service NAME [--attach RUN] | helm-shim compress FILE | helm-shim exec DIR PROGRAM [ARGUMENT...]",
            );
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

/// Returns only when it failed. The last line of a probe's stdout is what its answer says.
fn exec(dir: &Path, program: &OsString, arguments: &[OsString]) -> String {
    let mut command = std::process::Command::new(program);
    let failed = match std::env::set_current_dir(dir) {
        Ok(()) => command.args(arguments).exec(),
        Err(e) => e,
    };
    let message =
        format!("`{}` could not be started in {}: {failed}", program.to_string_lossy(), dir.display());
    let _ = writeln!(std::io::stdout(), "{message}");
    message
}

/// Standard error may be gone; that is no reason to fail.
fn say(message: &str) {
    let _ = writeln!(std::io::stderr(), "helm-shim: {message}");
}
