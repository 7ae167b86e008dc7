//! What stands above the trait `LogEngine`, over an engine in memory that fails on demand.

mod reader;
mod retention;
mod support;
mod verify;
mod writer;
