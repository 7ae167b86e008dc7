//! Appends: numbers, chain and counts; concurrent ones share a transaction.
