//! What the process holds, counted at `malloc` itself: Rust's allocations, SQLite's and zstd's alike. On glibc, which
//! lets a program put its own functions in front of it; elsewhere nothing is counted.

#![allow(unsafe_code, reason = "an allocator cannot be wrapped without")]

use std::sync::atomic::{AtomicIsize, Ordering};

static HELD: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// The most that was held during `work`, above what was held before; in KiB.
pub fn peak_of(work: impl FnOnce()) -> isize {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    (PEAK.load(Ordering::Relaxed) - before) / 1024
}

#[cfg(target_env = "gnu")]
mod glibc {
    use std::ffi::{c_int, c_void};
    use std::sync::atomic::Ordering;

    use super::{HELD, PEAK};

    unsafe extern "C" {
        fn __libc_malloc(len: usize) -> *mut c_void;
        fn __libc_calloc(count: usize, len: usize) -> *mut c_void;
        fn __libc_realloc(block: *mut c_void, len: usize) -> *mut c_void;
        fn __libc_memalign(alignment: usize, len: usize) -> *mut c_void;
        fn __libc_free(block: *mut c_void);
        fn malloc_usable_size(block: *mut c_void) -> usize;
    }

    fn add(block: *mut c_void) -> *mut c_void {
        // SAFETY: a block of glibc's, or null, which has the size 0.
        let len = unsafe { malloc_usable_size(block) } as isize;
        let held = HELD.fetch_add(len, Ordering::Relaxed) + len;
        PEAK.fetch_max(held, Ordering::Relaxed);
        block
    }

    fn take(block: *mut c_void) {
        // SAFETY: as in `add`.
        HELD.fetch_sub(unsafe { malloc_usable_size(block) } as isize, Ordering::Relaxed);
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(len: usize) -> *mut c_void {
        // SAFETY: the caller's promises are passed on, here and below.
        add(unsafe { __libc_malloc(len) })
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(count: usize, len: usize) -> *mut c_void {
        // SAFETY: see `malloc`.
        add(unsafe { __libc_calloc(count, len) })
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(block: *mut c_void, len: usize) -> *mut c_void {
        take(block);
        // SAFETY: see `malloc`.
        let grown = unsafe { __libc_realloc(block, len) };
        // Where there was no room, the old block stays.
        add(if grown.is_null() && len > 0 { block } else { grown });
        grown
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, alignment: usize, len: usize) -> c_int {
        // SAFETY: see `malloc`.
        let block = add(unsafe { __libc_memalign(alignment, len) });
        // SAFETY: the caller gives a place to write to.
        unsafe { *to = block };
        if block.is_null() { 12 } else { 0 }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn aligned_alloc(alignment: usize, len: usize) -> *mut c_void {
        // SAFETY: see `malloc`.
        add(unsafe { __libc_memalign(alignment, len) })
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(block: *mut c_void) {
        take(block);
        // SAFETY: see `malloc`.
        unsafe { __libc_free(block) };
    }
}
