//! helmctl: the command line of Helm. Thin: what it can do, any program can do over helmd's socket (docs/api.md).

mod access_cli;
mod cli;
mod commands;
mod completion;
mod db_cli;
mod failure;
mod incidents_cli;
mod logs_cli;
mod render;
mod top;
mod when;

use std::process::ExitCode;

use clap::Parser;

use render::Printer;

fn main() -> ExitCode {
    completion::answer();
    let cli = cli::Cli::parse();
    cli.color.write_global();
    let mut printer = Printer::new(cli.json);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            return failure::report(&failure::Failure::Failed(format!("the runtime cannot be started: {e}")));
        }
    };
    match runtime.block_on(commands::run(cli, &mut printer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure::report(&failure),
    }
}
