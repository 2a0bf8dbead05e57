//! How threads attach: one Python thread state per thread and interpreter, made once and kept for the thread's life.
//!
//! A thread state that stays gives `threading.local` its meaning from request to request and makes attaching a matter
//! of 30 ns. `DEPTH` counts nested attaches of this thread's own code; it is what tells [`Held`](super::token::Held)
//! whether it may give up its reference on the spot.

use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::token::Token;

thread_local! {
    static STATE: ThreadState = const {
        ThreadState {
            tstate: Cell::new(ptr::null_mut()),
            home: Cell::new(ptr::null()),
            depth: Cell::new(0),
            interpreter: Cell::new(ptr::null()),
        }
    };
    /// This thread's states of the interpreters it has attached to, without the one in `STATE`. On its own because
    /// `STATE` must be free of destructors to be quick to reach.
    static OTHERS: RefCell<Vec<(*const Interpreter, *mut ffi::PyThreadState)>> = const { RefCell::new(Vec::new()) };
}

struct ThreadState {
    /// This thread's state of the interpreter that it last attached to.
    tstate: Cell<*mut ffi::PyThreadState>,
    /// Which interpreter that is; null before the first time.
    home: Cell<*const Interpreter>,
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

/// Attached to an interpreter until dropped. Nested ones are a counter, unless they change to another interpreter.
pub struct Attached<'a> {
    interpreter: &'a Interpreter,
    /// That of this thread, which it cannot leave with it.
    state: &'static ThreadState,
    /// The thread was attached to another interpreter, and will be again.
    _outer: Option<Detached>,
}

impl<'a> Attached<'a> {
    /// Attaches this thread; waits for the GIL. The interpreter has been started.
    #[inline]
    pub(crate) fn new(interpreter: &'a Interpreter) -> Self {
        let state = state();
        let depth = state.depth.get();
        if depth > 0 && ptr::eq(state.interpreter.get(), interpreter) {
            state.depth.set(depth + 1);
            return Self { interpreter, state, _outer: None };
        }
        let outer = (depth > 0).then(Detached::new);
        state.restore(interpreter);
        state.interpreter.set(interpreter);
        state.depth.set(1);
        let attached = Self { interpreter, state, _outer: outer };
        interpreter.release_now(attached.token());
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
        // What was left for another interpreter is restored now, as the field is dropped.
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

/// The opposite: an attached thread that lets others run while it waits, or works in another interpreter.
pub(crate) struct Detached {
    depth: u32,
    interpreter: *const Interpreter,
    tstate: NonNull<ffi::PyThreadState>,
}

impl Detached {
    /// The thread must be attached (a [`Token`] proves it).
    pub(super) fn new() -> Self {
        STATE.with(|state| {
            let depth = state.depth.replace(0);
            debug_assert!(depth > 0);
            // SAFETY: attached, as the caller's token proves. The state may be one of Python's own threads.
            let tstate = unsafe { NonNull::new_unchecked(ffi::PyEval_SaveThread()) };
            Self { depth, interpreter: state.interpreter.get(), tstate }
        })
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // SAFETY: the state was saved on this very thread.
        unsafe { ffi::PyEval_RestoreThread(self.tstate.as_ptr()) };
        STATE.with(|state| {
            state.depth.set(self.depth);
            state.interpreter.set(self.interpreter);
        });
    }
}

/// Keeps the thread that started Python detached but ready to attach again to `main`.
///
/// # Safety
///
/// The calling thread holds the GIL and has never attached through this module.
pub(super) unsafe fn adopt_starting_thread(main: &Interpreter) {
    STATE.with(|state| {
        // SAFETY: the caller holds the GIL.
        state.tstate.set(unsafe { ffi::PyEval_SaveThread() });
        state.home.set(main);
    });
}

impl ThreadState {
    #[inline(never)]
    fn restore(&self, interpreter: &Interpreter) {
        if !ptr::eq(self.home.get(), interpreter) {
            self.turn_to(interpreter);
        }
        // SAFETY: `tstate` is this thread's state of the interpreter, and not current.
        unsafe { ffi::PyEval_RestoreThread(self.tstate.get()) };
    }

    fn save(&self) {
        // SAFETY: this thread is attached: `depth` was positive.
        unsafe { ffi::PyEval_SaveThread() };
    }

    /// Makes `tstate` the one of another interpreter, a new one the first time.
    #[cold]
    fn turn_to(&self, interpreter: &Interpreter) {
        let found = self.take(interpreter);
        let tstate = found.unwrap_or_else(|| new_state(interpreter));
        let before = self.home.replace(interpreter);
        if !before.is_null() {
            OTHERS.with_borrow_mut(|others| others.push((before, self.tstate.get())));
        }
        self.tstate.set(tstate);
    }

    /// Forgets this thread's state of an interpreter.
    fn take(&self, interpreter: &Interpreter) -> Option<*mut ffi::PyThreadState> {
        if ptr::eq(self.home.get(), interpreter) {
            self.home.set(ptr::null());
            return Some(self.tstate.replace(ptr::null_mut()));
        }
        OTHERS.with_borrow_mut(|others| {
            let index = others.iter().position(|(of, _)| ptr::eq(*of, interpreter))?;
            Some(others.swap_remove(index).1)
        })
    }
}

/// A first state of this thread, which is detached, in an interpreter.
fn new_state(interpreter: &Interpreter) -> *mut ffi::PyThreadState {
    // SAFETY: Python is running, and so is the interpreter.
    unsafe {
        if interpreter.is_main() {
            // Never released, so that extensions which call PyGILState_Ensure on this thread find the very same state.
            ffi::PyGILState_Ensure();
            return ffi::PyEval_SaveThread();
        }
        // Up to 3.11 PyGILState_Ensure finds the first state that was made on the thread.
        let tstate = ffi::PyThreadState_New(interpreter.state());
        assert!(!tstate.is_null(), "no memory for a thread state");
        tstate
    }
}

/// Deletes the state of this thread, which is detached, in an interpreter.
pub(crate) fn retire(interpreter: &Interpreter) {
    STATE.with(|state| {
        let Some(tstate) = state.take(interpreter) else { return };
        // SAFETY: `tstate` is this thread's and not current. For the main interpreter the release pairs with the one
        // PyGILState_Ensure in `new_state`. Both ways clear the state while attached, delete it and give up the GIL.
        unsafe {
            ffi::PyEval_RestoreThread(tstate);
            state.depth.set(1);
            state.interpreter.set(interpreter);
            if interpreter.is_main() {
                ffi::PyGILState_Release(ffi::PyGILState_STATE::PyGILState_UNLOCKED);
            } else {
                ffi::PyThreadState_Clear(tstate);
                ffi::PyThreadState_DeleteCurrent();
            }
            state.depth.set(0);
        }
    });
}
