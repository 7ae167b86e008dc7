//! Whose a TCP socket of this host is: from the kernel's socket tables, and by its socket monitor.

mod monitor;
mod tables;

pub use monitor::user_of;
pub use tables::{Listener, holder_of, listeners_on, listening};
