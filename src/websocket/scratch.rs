//! What all sockets of a thread share, so that none of them owns it.

use std::cell::Cell;

/// A message of 64 KiB and its header fit.
const READ_LEN: usize = 64 * 1024 + 256;
/// A socket whose client does not read keeps what it has taken, so that is little.
const MOST_SPARE: usize = 4 * 1024;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the buffer that sockets read through. What it holds is of some other socket.
pub(super) fn with<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    // Taken out meanwhile: a stream may be made of another socket that reads through it too.
    let mut scratch = READ.take().unwrap_or_else(|| vec![0; READ_LEN].into_boxed_slice());
    let read = read(&mut scratch);
    READ.set(Some(scratch));
    read
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
