//! The real binaries, from the outside. One module per subject; every home is the test's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

mod access;
mod adoption;
mod api;
mod badinput;
mod badstore;
mod capture;
mod cli;
mod doctor;
mod edited;
mod external;
mod former;
mod handover;
mod hands;
mod helm_web;
mod hostile;
mod immutable;
mod layering;
mod lifecycle;
mod limits;
mod logs;
mod logs_cli;
mod metrics;
mod order;
mod probes;
mod reexec;
mod reload;
mod restart;
mod resume;
mod scarce;
mod shapes;
mod shared;
mod sockets;
mod store;
mod takeover;
mod tamper;
mod top;
mod twins;
mod web;
mod why;

/// Commands of the processes of this home's services that still live. A killed process may take a moment to go.
fn left(home: &harness::home::Home) -> Vec<String> {
    home.processes().into_iter().map(harness::procs::Process::command).collect()
}
