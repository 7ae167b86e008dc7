//! Reads: order, merging, texts.
