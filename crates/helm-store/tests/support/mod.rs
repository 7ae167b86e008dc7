//! What tests of PostgreSQL stand on.

pub(crate) mod cluster;
pub(crate) mod proxy;
