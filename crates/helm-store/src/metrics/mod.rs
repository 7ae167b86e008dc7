//! Numbers over time, states and events.
