
//! Support of the tests of this crate.
