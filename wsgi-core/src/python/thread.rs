//! How threads attach: one Python thread state per thread, made once and kept for the thread's life.
//!
//! A thread state that stays gives `threading.local` its meaning from request to request and makes attaching a matter
//! of 30 ns. `DEPTH` counts nested attaches of this thread's own code; it is what tells [`Held`](super::token::Held)
//! whether it may give up its reference on the spot.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::token::Token;

thread_local! {
    static STATE: ThreadState = const {
        ThreadState { tstate: Cell::new(ptr::null_mut()), depth: Cell::new(0), interpreter: Cell::new(ptr::null()) }
    };
}

struct ThreadState {
    /// This thread's state, once it has one.
    tstate: Cell<*mut ffi::PyThreadState>,
    /// How many of our own frames on this thread's stack rely on being attached; 0: detached.
    depth: Cell<u32>,
    /// Which interpreter they are attached to.
    interpreter: Cell<*const Interpreter>,
}

/// This thread, as `pthread_self` names it. In a shared object it is found with less than a thread-local variable takes.
pub(crate) fn this_thread() -> usize {
    // SAFETY: always succeeds.
    unsafe { libc::pthread_self() as usize }
}

/// This thread's [`STATE`], to be looked up once: a look takes a call in a shared object.
fn state() -> &'static ThreadState {
    // SAFETY: without a destructor it is there as long as code runs on the thread, and what is not `Sync` cannot be
    // referred to from another one.
    STATE.with(|state| unsafe { &*ptr::from_ref(state) })
}

/// Whether code of this crate on this thread is attached to `interpreter`.
pub(crate) fn is_attached_to(interpreter: &Interpreter) -> bool {
    STATE.try_with(|state| state.depth.get() > 0 && ptr::eq(state.interpreter.get(), interpreter)).unwrap_or(false)
}

/// Attached to an interpreter until dropped. Nested ones are a counter.
pub struct Attached<'a> {
    interpreter: &'a Interpreter,
    /// That of this thread, which it cannot leave with it.
    state: &'static ThreadState,
}

impl<'a> Attached<'a> {
    /// Attaches this thread; waits for the GIL.
    #[inline]
    pub(crate) fn new(interpreter: &'a Interpreter) -> Self {
        let state = state();
        let depth = state.depth.get();
        if depth == 0 {
            state.restore();
            state.interpreter.set(interpreter);
        }
        debug_assert!(ptr::eq(state.interpreter.get(), interpreter), "one interpreter at a time");
        state.depth.set(depth + 1);
        let attached = Self { interpreter, state };
        if depth == 0 {
            interpreter.release_now(attached.token());
        }
        attached
    }

    /// For code that Python calls: the thread is attached by whoever called.
    ///
    /// # Safety
    ///
    /// The thread is attached to `interpreter` until this is dropped.
    pub(crate) unsafe fn assume(interpreter: &'a Interpreter) -> Entered<'a> {
        let state = state();
        let before = (state.depth.get(), state.interpreter.get());
        state.depth.set(before.0 + 1);
        state.interpreter.set(interpreter);
        Entered { interpreter, before, state }
    }

    pub(crate) fn token(&self) -> Token<'_> {
        // SAFETY: attached until dropped, and the token borrows from this.
        unsafe { Token::assume(self.interpreter) }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let depth = self.state.depth.get() - 1;
        self.state.depth.set(depth);
        if depth == 0 {
            self.state.save();
        }
    }
}

/// Our code, called by Python.
pub(crate) struct Entered<'a> {
    interpreter: &'a Interpreter,
    before: (u32, *const Interpreter),
    /// As in [`Attached`].
    state: &'static ThreadState,
}

impl Entered<'_> {
    pub(crate) fn token(&self) -> Token<'_> {
        // SAFETY: the caller of `Attached::assume` promised it.
        unsafe { Token::assume(self.interpreter) }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.state.depth.set(self.before.0);
        self.state.interpreter.set(self.before.1);
    }
}

/// The opposite: an attached thread that lets others run while it waits.
pub(crate) struct Detached {
    depth: u32,
    tstate: *mut ffi::PyThreadState,
}

impl Detached {
    /// The thread must be attached (a [`Token`] proves it).
    pub(super) fn new() -> Self {
        STATE.with(|state| {
            let depth = state.depth.replace(0);
            debug_assert!(depth > 0);
            // SAFETY: attached, as the caller's token proves. The state may be one of Python's own threads.
            Self { depth, tstate: unsafe { ffi::PyEval_SaveThread() } }
        })
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // SAFETY: the state was saved on this very thread.
        unsafe { ffi::PyEval_RestoreThread(self.tstate) };
        STATE.with(|state| state.depth.set(self.depth));
    }
}

/// Keeps the thread that started Python detached but ready to attach again.
///
/// # Safety
///
/// The calling thread holds the GIL and has never attached through this module.
pub(super) unsafe fn adopt_starting_thread() {
    STATE.with(|state| {
        // SAFETY: the caller holds the GIL.
        state.tstate.set(unsafe { ffi::PyEval_SaveThread() });
    });
}

impl ThreadState {
    #[inline(never)]
    fn restore(&self) {
        let tstate = self.tstate.get();
        if tstate.is_null() {
            // The first time: never released, so that extensions which call PyGILState_Ensure on this thread find the
            // very same state, and `threading.local` survives from one request to the next.
            // SAFETY: Python is running; the state that results is kept for the thread's life.
            unsafe {
                ffi::PyGILState_Ensure();
                self.tstate.set(ffi::PyThreadState_Get());
            }
        } else {
            // SAFETY: `tstate` was made on this thread and is not current.
            unsafe { ffi::PyEval_RestoreThread(tstate) };
        }
    }

    fn save(&self) {
        // SAFETY: this thread is attached: `depth` was positive.
        unsafe { ffi::PyEval_SaveThread() };
    }
}

/// Deletes this thread's state at the end of the thread.
pub(crate) fn retire(interpreter: &Interpreter) {
    STATE.with(|state| {
        let tstate = state.tstate.replace(ptr::null_mut());
        if tstate.is_null() {
            return;
        }
        // SAFETY: `tstate` is this thread's and not current. The release pairs with the one PyGILState_Ensure in
        // `restore`: it clears the state while attached, deletes it and gives up the GIL.
        unsafe {
            ffi::PyEval_RestoreThread(tstate);
            state.depth.set(1);
            state.interpreter.set(interpreter);
            ffi::PyGILState_Release(ffi::PyGILState_STATE::PyGILState_UNLOCKED);
            state.depth.set(0);
        }
    });
}

/// Runs `work`, which starts a thread, with all signals blocked: a thread inherits the mask of its creator.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are filled in before they are read, and the mask is this thread's own.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        let blocked = libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) == 0;
        let result = work();
        if blocked {
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        }
        result
    }
}
