//! The program.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use helm_web::{app, cli};

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match app::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is there to be told that standard error is closed.
            let _ = writeln!(io::stderr(), "helm-web: {error}");
            ExitCode::FAILURE
        }
    }
}
