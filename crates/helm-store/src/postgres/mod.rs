//! PostgreSQL: a table a partition.
