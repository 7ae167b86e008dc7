//! Proof that nothing was altered, inserted or removed.
