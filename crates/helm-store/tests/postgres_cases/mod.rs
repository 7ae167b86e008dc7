//! What only PostgreSQL can do wrong.

mod failures;
mod former;
mod immutable;
mod numbers;
mod pages;
mod schema;
mod shared;
mod update;
