//! What stands above the traits `LogEngine` and `MetricEngine`, over an engine in memory that fails on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests, too")]

mod metrics;
mod queue;
mod reader;
mod retention;
mod support;
mod transfer;
mod verify;
mod writer;
