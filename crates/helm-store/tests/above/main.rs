//! What stands above the traits `LogEngine` and `MetricEngine`, over an engine in memory that fails on demand.

mod metrics;
mod reader;
mod retention;
mod support;
mod verify;
mod writer;
