//! Buffers that all sockets of a thread share, so that none of them owns one.

use std::{
    cell::Cell,
    mem,
    ops::{Deref, DerefMut},
};

/// A message of 64 KiB fits, with its header.
const SCRATCH_LEN: usize = if cfg!(fuzzing) { 512 } else { 64 * 1024 + 256 };
/// The maximum capacity of a vector that is kept for reuse. A socket whose client does not read keeps what it has
/// taken, so this is small.
const MAX_SPARE: usize = 4 * 1024;

thread_local! {
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer that the sockets of a thread read into. Dropping it returns it to the thread.
///
/// Its initial content is from another socket, so it has no `Debug`.
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    /// Takes the thread's buffer, or allocates one if that is in use.
    pub(super) fn take() -> Self {
        Self(SCRATCH.take().unwrap_or_else(|| vec![0; SCRATCH_LEN].into_boxed_slice()))
    }
}

impl Deref for Scratch {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Fails if the thread is exiting.
        let _ = SCRATCH.try_with(|scratch| scratch.set(Some(mem::take(&mut self.0))));
    }
}

/// An empty vector with at least this capacity, reused if possible.
pub(super) fn take_vec(capacity: usize) -> Vec<u8> {
    if capacity > MAX_SPARE {
        return Vec::with_capacity(capacity);
    }
    let mut spare = SPARE.take();
    spare.reserve_exact(capacity);
    spare
}

/// Keeps a vector for reuse.
pub(super) fn return_vec(mut vec: Vec<u8>) {
    if vec.capacity() <= MAX_SPARE {
        vec.clear();
        SPARE.set(vec);
    }
}
