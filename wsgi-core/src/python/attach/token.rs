//! Access to Python: the token of an attached thread, owned references, and references that may be held while detached.
//!
//! A [`Token`] proves that the current thread is attached to an interpreter. [`Obj`] is a counted reference that is
//! released under the token. [`Held`] may be moved to detached threads: dropped there, it goes to its interpreter's
//! release list, which the next attached thread empties.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use pyo3::ffi;

use super::interpreter::Interpreter;
use super::thread;
use crate::host::ErrorLog;
use crate::lock::rules;

/// Proof that this thread is attached to [`Token::interpreter`]. Copy it freely; it cannot leave the thread.
#[derive(Clone, Copy)]
pub(crate) struct Token<'py> {
    interpreter: &'py Interpreter,
    _not_send: PhantomData<*mut ()>,
}

impl<'py> Token<'py> {
    /// # Safety
    ///
    /// The current thread must be attached to `interpreter` for all of `'py`.
    pub(crate) unsafe fn assume(interpreter: &'py Interpreter) -> Self {
        Self { interpreter, _not_send: PhantomData }
    }

    pub(crate) fn interpreter(self) -> &'py Interpreter {
        self.interpreter
    }

    /// Takes over a new reference; `None` if it is null, because Python has raised.
    ///
    /// # Safety
    ///
    /// `pointer` is null or a reference that the caller owns.
    pub(crate) unsafe fn own(self, pointer: *mut ffi::PyObject) -> Option<Obj<'py>> {
        Some(Obj { pointer: NonNull::new(pointer)?, token: self })
    }

    /// Returns a new reference to a borrowed object; `None` if `pointer` is null.
    ///
    /// # Safety
    ///
    /// `pointer` is null or alive.
    pub(crate) unsafe fn borrow(self, pointer: *mut ffi::PyObject) -> Option<Obj<'py>> {
        // SAFETY: `pointer` is null, which is allowed here, or alive, and the thread is attached.
        unsafe { ffi::Py_XINCREF(pointer) };
        // SAFETY: the line above has added the reference.
        unsafe { self.own(pointer) }
    }

    /// Runs `work` without the GIL, so that other threads can run Python.
    pub(crate) fn detached<T>(self, work: impl FnOnce() -> T) -> T {
        let _detached = thread::Detached::new();
        work()
    }

    /// Blocks until the host's log has room for further lines, while other threads may run Python.
    #[cold]
    pub(crate) fn wait_for(self, log: &dyn ErrorLog) {
        self.detached(|| log.wait_for_room());
    }
}

/// Returns a new reference to `object`, for functions that Python calls (`Py_NewRef`, which Python 3.9 lacks).
///
/// # Safety
///
/// `object` is alive, and the thread is attached.
pub(crate) unsafe fn new_ref(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller keeps the object alive, and the thread is attached.
    unsafe { ffi::Py_INCREF(object) };
    object
}

/// An owned reference, dropped while attached.
pub(crate) struct Obj<'py> {
    pointer: NonNull<ffi::PyObject>,
    token: Token<'py>,
}

impl<'py> Obj<'py> {
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// Returns another reference to the same object.
    pub(crate) fn duplicate(&self) -> Self {
        // SAFETY: this reference keeps the object alive, and the token proves that the thread is attached.
        unsafe { ffi::Py_INCREF(self.pointer.as_ptr()) };
        Self { pointer: self.pointer, token: self.token }
    }

    pub(crate) fn into_ptr(self) -> *mut ffi::PyObject {
        let pointer = self.pointer.as_ptr();
        std::mem::forget(self);
        pointer
    }

    pub(crate) fn token(&self) -> Token<'py> {
        self.token
    }

    /// Converts to a reference that needs no token.
    pub(crate) fn hold(self) -> Held {
        let interpreter = self.token.interpreter;
        // Interpreters are never freed: the process ends with them.
        Held { interpreter: NonNull::from(interpreter), pointer: NonNull::new(self.into_ptr()).expect("not null") }
    }
}

impl Drop for Obj<'_> {
    fn drop(&mut self) {
        rules::no_lock("a reference of Python is dropped");
        // SAFETY: this value owns the reference, and the token proves that the thread is attached.
        unsafe { ffi::Py_DECREF(self.pointer.as_ptr()) }
    }
}

/// An owned reference that may be dropped on any thread, attached or not.
pub(crate) struct Held {
    interpreter: NonNull<Interpreter>,
    pointer: NonNull<ffi::PyObject>,
}

// SAFETY: only threads that have a token of the same interpreter follow the pointer; a drop while detached moves it to
// the interpreter's release list, which is behind a mutex.
unsafe impl Send for Held {}
// SAFETY: a shared reference gives access to nothing but the address.
unsafe impl Sync for Held {}

impl Held {
    pub(crate) fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.as_ptr()
    }

    /// Converts to an `Obj` for an attached thread: dropping that needs no check of the thread.
    pub(crate) fn attach(self, token: Token<'_>) -> Obj<'_> {
        debug_assert!(ptr::eq(self.interpreter.as_ptr(), token.interpreter));
        let pointer = self.pointer;
        std::mem::forget(self);
        Obj { pointer, token }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Hosts may drop owners of references while a sink is called, with a part held: only leaf locks are excluded.
        rules::no_leaf("a reference of Python is dropped");
        self.release();
    }
}

impl Held {
    /// Releases the reference, which must not be used any more.
    fn release(&self) {
        // SAFETY: interpreters live until the process ends.
        let interpreter = unsafe { self.interpreter.as_ref() };
        if thread::is_attached_to(interpreter) {
            // SAFETY: this value owns the reference, and the thread is attached to its interpreter.
            unsafe { ffi::Py_DECREF(self.pointer.as_ptr()) }
        } else {
            interpreter.release_later(self.pointer);
        }
    }
}

/// A `bytes` object that owns the memory of a [`bytes::Bytes`].
pub(crate) struct HeldBytes {
    object: ManuallyDrop<Held>,
    data: NonNull<u8>,
    len: usize,
}

// SAFETY: a `bytes` object is immutable, and its memory does not move while a reference is held.
unsafe impl Send for HeldBytes {}

impl HeldBytes {
    /// Takes a `bytes` object, not of a subclass; the caller has checked that.
    pub(crate) fn new(object: Obj<'_>) -> Self {
        let pointer = object.as_ptr();
        // SAFETY: `pointer` is a live bytes object, as the caller checked.
        let (data, len) = unsafe { (ffi::PyBytes_AsString(pointer), ffi::PyBytes_Size(pointer)) };
        let data = NonNull::new(data.cast::<u8>()).expect("a bytes object has memory");
        let object = ManuallyDrop::new(object.hold());
        Self { object, data, len: usize::try_from(len).expect("a bytes object has a size") }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        // A sink may drop a block while a part of the exchange is held: freeing plain bytes runs no Python.
        rules::no_leaf("a block of Python is dropped");
        self.object.release();
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        let _alive = &self.object;
        // SAFETY: the held reference keeps `len` immutable bytes at `data` alive.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}
