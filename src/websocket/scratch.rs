//! The buffer that all sockets of a thread read through.

use std::cell::Cell;

/// A message of 64 KiB and its header fit.
const LEN: usize = 64 * 1024 + 256;

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

/// Lends the buffer. What it holds is of some other socket.
pub(super) fn with<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // Taken out meanwhile: a stream may be made of another socket that reads through it too.
    let mut scratch = SCRATCH.take().unwrap_or_else(|| vec![0; LEN].into_boxed_slice());
    let read = read(&mut scratch);
    SCRATCH.set(Some(scratch));
    read
}
