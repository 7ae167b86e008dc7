//! The daemon: one task owns the fleet (`supervisor`), one task per service speaks with its keeper (`keeper`), probes
//! ask (`probe`), clients are answered (`rpc`). See docs/ARCHITECTURE.md.

pub mod access;
pub mod address;
pub mod app;
pub mod cgroup;
pub mod changes;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod drift;
pub mod follow;
pub mod home;
pub mod incident;
pub mod ini;
pub mod journal;
pub mod keeper;
pub mod leave;
pub mod limits;
pub mod logging;
pub mod memory;
pub mod port;
pub mod probe;
pub mod programs;
pub mod readable;
pub mod reaper;
pub mod reload;
pub mod rpc;
pub mod sample;
pub mod signals;
pub mod store;
pub mod supervisor;
pub mod systemd;
pub mod tool;
pub mod versions;
pub mod wishes;
pub mod work;
