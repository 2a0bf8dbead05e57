//! Thread states: one per thread and interpreter, created once and kept for the thread's life.
//!
//! A thread state that is kept preserves `threading.local` from request to request, and attaching takes about 30 ns.
//! Whether a thread is attached is queried from CPython each time. A count of our frames on the stack would be wrong as
//! soon as an application switches stacks (greenlet, gevent) in code that we have called: frames then end in another
//! order than they began.

use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::forked::{end_if_forked, exit_if_forked};
use super::interpreter::Interpreter;
use super::token::Token;
use crate::lock::rules;

thread_local! {
    static STATE: ThreadState =
        const { ThreadState { tstate: Cell::new(ptr::null_mut()), home: Cell::new(ptr::null()) } };
    /// This thread's states of the interpreters it has attached to, without the one in `STATE`. A separate variable,
    /// because access to `STATE` is fast only without a destructor.
    static OTHERS: RefCell<Vec<(*const Interpreter, *mut ffi::PyThreadState)>> = const { RefCell::new(Vec::new()) };
}

struct ThreadState {
    /// This thread's state of the interpreter that it last attached to.
    tstate: Cell<*mut ffi::PyThreadState>,
    /// The interpreter of `tstate`; null before the first time.
    home: Cell<*const Interpreter>,
}

/// Returns the id of this thread (`pthread_self`). In a shared object this is cheaper than a thread-local variable.
pub(crate) fn this_thread() -> usize {
    // SAFETY: `pthread_self` always succeeds.
    unsafe { libc::pthread_self() as usize }
}

/// Returns this thread's [`STATE`]. Look it up once per call: each access is a function call in a shared object.
fn state() -> &'static ThreadState {
    // SAFETY: a thread-local variable without a destructor exists as long as code runs on its thread, and the reference
    // cannot leave the thread because `ThreadState` is not `Sync`.
    STATE.with(|state| unsafe { &*ptr::from_ref(state) })
}

/// Whether this thread is attached to `interpreter`.
pub(crate) fn is_attached_to(interpreter: &Interpreter) -> bool {
    let state = state();
    NonNull::new(state.current()).is_some_and(|current| state.is_of(current, interpreter))
}

/// Whether this thread is attached to any interpreter.
pub(crate) fn is_attached() -> bool {
    !state().current().is_null()
}

/// A thread that is attached to an interpreter until this is dropped. Nested values only check the current state,
/// unless they change to another interpreter.
pub struct Attached<'a> {
    interpreter: &'a Interpreter,
    /// State of this thread. This reference is not `Send`, so that the value stays on its thread.
    _state: &'static ThreadState,
    /// Whether `new` has attached the thread; false if it was attached to this interpreter before.
    restored: bool,
    /// Set if the thread was attached to another interpreter: attaches to that again when dropped.
    _outer: Option<Detached>,
    _rule: rules::Fresh,
}

impl<'a> Attached<'a> {
    /// Attaches this thread; waits for the GIL. The interpreter must have been started.
    #[inline]
    pub(crate) fn new(interpreter: &'a Interpreter) -> Self {
        rules::no_leaf("a thread attaches to Python");
        let state = state();
        let current = NonNull::new(state.current());
        if current.is_some_and(|current| state.is_of(current, interpreter)) {
            return Self { interpreter, _state: state, restored: false, _outer: None, _rule: rules::Fresh::begin() };
        }
        let outer = current.map(|_| Detached::new());
        state.restore(interpreter);
        let attached = Self { interpreter, _state: state, restored: true, _outer: outer, _rule: rules::Fresh::begin() };
        interpreter.release_now(attached.token());
        attached
    }

    /// Enters gateway code that Python calls: the caller is attached.
    ///
    /// # Safety
    ///
    /// The thread is attached to `interpreter` until this is dropped.
    pub(crate) unsafe fn assume(interpreter: &'a Interpreter) -> Entered<'a> {
        Entered { interpreter, _rule: rules::Fresh::begin() }
    }

    pub(crate) fn token(&self) -> Token<'_> {
        // SAFETY: the thread is attached until this is dropped, and the token borrows from it.
        unsafe { Token::assume(self.interpreter) }
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        if self.restored {
            // A destructor may have forked outside of all calls of an application.
            end_if_forked(self.token(), || "an application".to_owned());
            // SAFETY: `new` has attached this thread, and it still is: each call of Python returns attached, and each
            // `Detached` attaches again when dropped.
            unsafe { ffi::PyEval_SaveThread() };
        }
        // Then `_outer` is dropped, which attaches to the outer interpreter again.
    }
}

/// Gateway code that Python has called.
pub(crate) struct Entered<'a> {
    interpreter: &'a Interpreter,
    _rule: rules::Fresh,
}

impl Entered<'_> {
    pub(crate) fn token(&self) -> Token<'_> {
        // SAFETY: the caller of `Attached::assume` keeps the thread attached while this exists.
        unsafe { Token::assume(self.interpreter) }
    }
}

/// An attached thread that has released the GIL until this is dropped, to wait or to work in another interpreter.
pub(crate) struct Detached {
    tstate: NonNull<ffi::PyThreadState>,
}

impl Detached {
    /// Detaches this thread, which must be attached (a [`Token`] proves it).
    pub(crate) fn new() -> Self {
        debug_assert!(is_attached(), "only an attached thread can be detached");
        // SAFETY: the thread is attached, as the caller's token proves, so it has a state. Python may have made that
        // state for one of its threads.
        let tstate = unsafe { NonNull::new_unchecked(ffi::PyEval_SaveThread()) };
        Self { tstate }
    }

    /// Detaches this thread from the interpreter that it is attached to, if any.
    pub(crate) fn if_attached() -> Option<Self> {
        is_attached().then(Self::new)
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        rules::no_leaf("the GIL is waited for");
        // SAFETY: the state was saved on this thread, and is not current.
        unsafe { ffi::PyEval_RestoreThread(self.tstate.as_ptr()) };
    }
}

/// Acquires the GIL in an interpreter and releases it at once. Runs no Python code, and drops no references that wait
/// for an attached thread, since destructors would run on this thread.
#[cfg(not(Py_3_13))]
pub(crate) fn request_gil(interpreter: &Interpreter) {
    state().restore(interpreter);
    // SAFETY: attached by the line above.
    unsafe { ffi::PyEval_SaveThread() };
}

/// Detaches the thread that started Python, and records its state so that it can attach to `main` again.
///
/// # Safety
///
/// The calling thread holds the GIL and has never attached through this module.
pub(crate) unsafe fn adopt_starting_thread(main: &Interpreter) {
    rules::ask_python(is_attached);
    let state = state();
    // SAFETY: the caller holds the GIL.
    state.tstate.set(unsafe { ffi::PyEval_SaveThread() });
    state.home.set(main);
}

impl ThreadState {
    /// Returns the state that this thread is attached with; null while it is detached.
    #[cfg(Py_3_12)]
    #[inline]
    fn current(&self) -> *mut ffi::PyThreadState {
        // SAFETY: reads a thread-local variable of CPython, which is allowed at any time.
        unsafe { ffi::compat::PyThreadState_GetUnchecked() }
    }

    /// Returns the state that this thread is attached with; null while it is detached.
    ///
    /// Up to Python 3.11 CPython's current state is that of the thread that holds the GIL. It may belong to another
    /// thread and be freed at any moment: its address is compared with the states of this thread before it is read.
    #[cfg(not(Py_3_12))]
    #[inline]
    fn current(&self) -> *mut ffi::PyThreadState {
        // SAFETY: reads a variable of CPython, which is allowed at any time.
        let current = unsafe { ffi::compat::PyThreadState_GetUnchecked() };
        if current == self.tstate.get() || current.is_null() || is_of_this_thread(current) {
            current
        } else {
            ptr::null_mut()
        }
    }

    /// Returns whether `current`, the state that this thread is attached with, belongs to `interpreter`.
    #[inline]
    fn is_of(&self, current: NonNull<ffi::PyThreadState>, interpreter: &Interpreter) -> bool {
        if current.as_ptr() == self.tstate.get() {
            return ptr::eq(self.home.get(), interpreter);
        }
        // SAFETY: the current state of this thread is alive.
        unsafe { ffi::PyThreadState_GetInterpreter(current.as_ptr()) == interpreter.state() }
    }

    #[inline(never)]
    fn restore(&self, interpreter: &Interpreter) {
        if !ptr::eq(self.home.get(), interpreter) {
            self.turn_to(interpreter);
        }
        // SAFETY: `tstate` is this thread's state of the interpreter, and not current.
        unsafe { ffi::PyEval_RestoreThread(self.tstate.get()) };
    }

    /// Sets `tstate` to this thread's state of another interpreter, which is created the first time.
    #[cold]
    fn turn_to(&self, interpreter: &Interpreter) {
        let tstate = take_other(interpreter).unwrap_or_else(|| new_state(interpreter));
        self.turn(interpreter, tstate);
    }

    fn turn(&self, interpreter: &Interpreter, tstate: *mut ffi::PyThreadState) {
        let before: (*const Interpreter, _) = (self.home.replace(interpreter), self.tstate.replace(tstate));
        if !before.0.is_null() {
            OTHERS.with_borrow_mut(|others| others.push(before));
        }
    }
}

/// Returns whether a state that is not in [`STATE`] belongs to this thread: created here or, on a thread that Python
/// has started, by Python.
#[cfg(not(Py_3_12))]
#[cold]
fn is_of_this_thread(tstate: *mut ffi::PyThreadState) -> bool {
    // SAFETY: reads a thread-local variable of CPython, which is allowed at any time.
    let first = unsafe { ffi::PyGILState_GetThisThreadState() };
    // At thread exit the list may be destroyed already; then nothing is attached through this module.
    first == tstate
        || OTHERS.try_with(|others| others.borrow().iter().any(|(_, other)| *other == tstate)).unwrap_or(false)
}

/// Removes this thread's state of an interpreter from [`OTHERS`].
fn take_other(interpreter: &Interpreter) -> Option<*mut ffi::PyThreadState> {
    OTHERS.with_borrow_mut(|others| {
        let index = others.iter().position(|(of, _)| ptr::eq(*of, interpreter))?;
        Some(others.swap_remove(index).1)
    })
}

/// Creates the first state of this thread, which is detached, in an interpreter.
fn new_state(interpreter: &Interpreter) -> *mut ffi::PyThreadState {
    // SAFETY: Python and the interpreter are running.
    unsafe {
        if interpreter.is_main() {
            // Never released, so that extensions which call PyGILState_Ensure on this thread find the same state.
            ffi::PyGILState_Ensure();
            return ffi::PyEval_SaveThread();
        }
        // Up to 3.11 PyGILState_Ensure finds the first state that was created on the thread.
        let tstate = ffi::PyThreadState_New(interpreter.state());
        assert!(!tstate.is_null(), "no memory for a thread state");
        tstate
    }
}

/// Deletes the state of this thread, which is detached, in an interpreter.
pub(crate) fn retire(interpreter: &Interpreter) {
    let state = state();
    if !ptr::eq(state.home.get(), interpreter) {
        let Some(tstate) = take_other(interpreter) else { return };
        state.turn(interpreter, tstate);
    }
    let tstate = state.tstate.get();
    // SAFETY: `tstate` belongs to this thread and is not current. For the main interpreter the release pairs with the
    // one PyGILState_Ensure in `new_state`. Both branches clear the state while attached, delete it and release the
    // GIL.
    unsafe {
        ffi::PyEval_RestoreThread(tstate);
        if interpreter.is_main() {
            ffi::PyGILState_Release(ffi::PyGILState_STATE::PyGILState_UNLOCKED);
        } else {
            ffi::PyThreadState_Clear(tstate);
            ffi::PyThreadState_DeleteCurrent();
        }
    }
    exit_if_forked();
    // Destructors have run while the state was cleared, and may have attached this thread to another interpreter.
    if ptr::eq(state.home.get(), interpreter) {
        state.home.set(ptr::null());
        state.tstate.set(ptr::null_mut());
    } else {
        take_other(interpreter);
    }
}
