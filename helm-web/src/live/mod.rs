//! What happens, as it happens: one subscription to helmd, fanned out to streams of server-sent events (docs/web.md).
//!
//! ```text
//! helmd --(one stream a topic)--> hub --(items, serialised once)--> a stream a client: its rights, its filter, its cursor
//! ```

pub mod asked;
pub mod cursor;
pub mod frame;
pub mod hub;
pub mod places;
pub mod rights;
pub mod shown;
pub mod stream;

pub use hub::Hub;
