//! An alternate signal stack for threads of a pool, where the crash handler runs after the thread's stack has
//! overflowed.
//!
//! `faulthandler` sets one only for the thread that enables it. Rust sets one for each of its threads, but only in Rust
//! programs, and of 8 KiB, which is too small for Python's handler on some processors.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use libc::c_void;

/// Size of the stack. Since CPython 3.14 the handler also prints C frames, and loads a library for that.
const SIZE: usize = 128 * 1024;

/// This thread's alternate signal stack. Takes address space, and no memory until it is used.
pub(crate) struct FaultStack {
    memory: NonNull<c_void>,
    /// Size of `memory`, which begins with a page that cannot be accessed.
    size: usize,
    before: libc::stack_t,
}

impl FaultStack {
    /// Returns `None` if the system has no memory for it: then an overflow is not reported.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: `sysconf` has no preconditions.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        let size = page + SIZE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, which no other code uses, and its first page.
        let memory = unsafe {
            let memory = libc::mmap(ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            if memory == libc::MAP_FAILED {
                return None;
            }
            libc::mprotect(memory, page, libc::PROT_NONE);
            NonNull::new(memory)?
        };
        // SAFETY: within the mapping.
        let bottom = unsafe { memory.as_ptr().byte_add(page) };
        let stack = libc::stack_t { ss_sp: bottom, ss_flags: 0, ss_size: SIZE };
        let mut before = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: the stack is mapped until `drop` has restored the previous one, which a successful call stores in
        // `before`. This thread is not on the previous one: no signal handler runs here.
        unsafe {
            if libc::sigaltstack(&raw const stack, before.as_mut_ptr()) != 0 {
                libc::munmap(memory.as_ptr(), size);
                return None;
            }
            Some(Self { memory, size, before: before.assume_init() })
        }
    }
}

impl Drop for FaultStack {
    fn drop(&mut self) {
        // SAFETY: runs on the thread that created it, since the pointer in it is not `Send`. The previous stack still
        // exists, and after the call the memory is unused.
        unsafe {
            if libc::sigaltstack(&raw const self.before, ptr::null_mut()) == 0 {
                libc::munmap(self.memory.as_ptr(), self.size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> (usize, usize, libc::c_int) {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: initialises the description of this thread's alternate signal stack.
        let now = unsafe {
            assert_eq!(libc::sigaltstack(ptr::null(), now.as_mut_ptr()), 0);
            now.assume_init()
        };
        (now.ss_sp as usize, now.ss_size, now.ss_flags)
    }

    #[test]
    fn dropped_fault_stack_restores_the_previous_signal_stack() {
        let before = present();
        let stack = FaultStack::new().expect("memory");
        let (_, size, flags) = present();
        assert_eq!((size, flags), (SIZE, 0));
        drop(stack);
        assert_eq!(present(), before);
    }
}
