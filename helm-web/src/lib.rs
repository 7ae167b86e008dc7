//! helm-web: Helm over HTTP. A client of helmd and nothing else (docs/web.md).

pub mod app;
pub mod auth;
pub mod backend;
pub mod cli;
pub mod ingest;
pub mod live;
pub mod problem;
pub mod prometheus;
pub mod request;
pub mod routes;
pub mod serve;
pub mod situation;
pub mod together;
