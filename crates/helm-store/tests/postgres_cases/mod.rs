//! What only PostgreSQL can do wrong.

mod failures;
mod former;
mod immutable;
mod pages;
mod schema;
