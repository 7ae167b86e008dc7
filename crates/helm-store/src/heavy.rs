//! Work that takes the processor for long: a thread of the runtime that does it is replaced meanwhile, so that others are answered.

use tokio::runtime::{Handle, RuntimeFlavor};

/// From so many bytes on: some milliseconds of digests, encoding or JSON.
const LONG: usize = 256 << 10;

/// Does `work` on about so many bytes, here.
pub fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let replaceable =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if bytes > LONG && replaceable { tokio::task::block_in_place(work) } else { work() }
}
