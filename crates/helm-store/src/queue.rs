//! Appends that wait for a database that is away.
