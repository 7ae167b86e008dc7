//! Capture over real pipes and files.
