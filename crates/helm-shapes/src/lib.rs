//! What Helm tells, in the shapes that are documented (docs/api.md): JSON as `helmctl --json` prints it and `/api/v1` answers it, and the CSV and text
//! of exports. Fields are only ever added.

pub mod config;
pub mod csv;
pub mod fleet;
pub mod incident;
pub mod metrics;
pub mod printed;
pub mod store;
pub mod time;
