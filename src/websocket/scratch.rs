//! What all sockets of a thread share, so that none of them owns it.

use std::{
    cell::Cell,
    mem,
    ops::{Deref, DerefMut},
};

/// A message of 64 KiB and its header fit.
const READ_LEN: usize = if cfg!(fuzzing) { 512 } else { 64 * 1024 + 256 };
/// A socket whose client does not read keeps what it has taken, so that is little.
const MOST_SPARE: usize = 4 * 1024;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The buffer that the sockets of a thread read through. When it is dropped, the thread has it back.
///
/// It holds what some other socket has read.
#[derive(Debug)]
pub(super) struct Scratch(Box<[u8]>);

impl Scratch {
    /// The thread's buffer, or a new one while that is taken.
    pub(super) fn take() -> Self {
        Self(READ.take().unwrap_or_else(|| vec![0; READ_LEN].into_boxed_slice()))
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
        // A thread that ends has nothing to keep it in.
        let _ = READ.try_with(|read| read.set(Some(mem::take(&mut self.0))));
    }
}

/// An empty vector with room for so many bytes: the one that was given back last, if it is large enough.
pub(super) fn spare(len: usize) -> Vec<u8> {
    if len > MOST_SPARE {
        return Vec::with_capacity(len);
    }
    let mut spare = SPARE.take();
    spare.reserve_exact(len);
    spare
}

/// Takes a vector back.
pub(super) fn give_back(mut vector: Vec<u8>) {
    if vector.capacity() <= MOST_SPARE {
        vector.clear();
        SPARE.set(vector);
    }
}
