//! SQLite: a file a partition.
