//! One Python interpreter: its types, names and helpers, and the references that wait to be released in it.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::ffi;

use super::freeze::Freezing;
use super::loader::Scripts;
use super::lock::Loading;
use super::processes::end_if_forked;
use super::raise::{Raised, fetch};
use super::start::Setup;
use super::token::{Held, Obj, Token};
use super::types::Types;
use crate::lock::{Leaf, rules};
use crate::record::{Log, escape};

/// An interpreter, from its start to the end of the process. The main one starts with Python, others when they are
/// first needed (see [`ensure`](Self::ensure)).
pub(crate) struct Interpreter {
    kind: Kind,
    /// What it is set up with.
    pub(super) setup: Arc<Setup>,
    /// Where lines go that belong to no request.
    pub(crate) log: Log,
    /// With inline execution: the only thread that may call back into an exchange, as
    /// [`this_thread`](super::thread::this_thread) names it. It lives as long as the gateway, so that no other gets its
    /// name.
    pub(crate) inline_thread: Option<usize>,
    /// CPython's; null before the start.
    state: AtomicPtr<ffi::PyInterpreterState>,
    /// Held while it is started.
    pub(super) starting: Loading<()>,
    data: OnceLock<Data>,
    /// What has been loaded in it.
    pub(super) scripts: Scripts,
    /// Of which the garbage collector is to know no more.
    pub(super) freezing: Freezing,
    releases: Leaf<Vec<NonNull<ffi::PyObject>>>,
    has_releases: AtomicBool,
    nudge: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

// SAFETY: the pointers in `releases` are only followed while attached, and `data` is written once, while attached, and
// read-only afterwards.
unsafe impl Send for Interpreter {}
// SAFETY: as above.
unsafe impl Sync for Interpreter {}

/// Which one it is.
pub(super) enum Kind {
    Main,
    /// One for the applications of a script or module.
    Own {
        name: PathBuf,
        main: &'static Interpreter,
    },
}

/// What code on the request's way needs at hand.
pub(crate) struct Data {
    pub(crate) types: Types,
    /// Interned `"close"`.
    pub(crate) close: Held,
    /// Interned keys of environ.
    pub(crate) input_key: Held,
    pub(crate) errors_key: Held,
    pub(crate) script_key: Held,
    pub(crate) callable_key: Held,
    /// `b""`
    pub(crate) empty_bytes: Held,
    /// The type that `wsgi.file_wrapper` is.
    pub(crate) file_wrapper: Held,
    /// The bootstrap's namespace.
    pub(crate) bootstrap: Held,
    /// What every environ holds, request or not.
    pub(crate) environ: Vec<(Held, Held)>,
}

impl Interpreter {
    pub(super) fn new(kind: Kind, setup: Arc<Setup>, log: Log, inline_thread: Option<usize>) -> Self {
        Self {
            kind,
            setup,
            log,
            inline_thread,
            state: AtomicPtr::default(),
            starting: Loading::default(),
            data: OnceLock::new(),
            scripts: Scripts::default(),
            freezing: Freezing::default(),
            releases: Leaf::default(),
            has_releases: AtomicBool::new(false),
            nudge: OnceLock::new(),
        }
    }

    pub(crate) fn is_main(&self) -> bool {
        matches!(self.kind, Kind::Main)
    }

    /// The main interpreter of the process.
    pub(super) fn main(&'static self) -> &'static Self {
        match self.kind {
            Kind::Main => self,
            Kind::Own { main, .. } => main,
        }
    }

    /// `main`, the path of a script or the name of a module.
    pub(super) fn name(&self) -> &Path {
        match &self.kind {
            Kind::Main => Path::new("main"),
            Kind::Own { name, .. } => name,
        }
    }

    /// CPython's record; null before the start.
    pub(super) fn state(&self) -> *mut ffi::PyInterpreterState {
        self.state.load(Ordering::Acquire)
    }

    pub(super) fn set_state(&self, state: *mut ffi::PyInterpreterState) {
        self.state.store(state, Ordering::Release);
    }

    /// Whether it can run applications.
    pub(crate) fn is_ready(&self) -> bool {
        self.data.get().is_some()
    }

    /// Set once, before the first request.
    pub(crate) fn complete(&self, data: Data) {
        assert!(self.data.set(data).is_ok(), "an interpreter is completed once");
    }

    pub(crate) fn data(&self) -> &Data {
        self.data.get().expect("interpreter is complete before it serves")
    }

    /// What makes some thread attach soon when references wait to be released.
    pub(crate) fn on_release(&self, nudge: impl Fn() + Send + Sync + 'static) {
        assert!(self.nudge.set(Box::new(nudge)).is_ok(), "set once");
    }

    /// Takes over a reference from a thread that is not attached.
    pub(crate) fn release_later(&self, reference: NonNull<ffi::PyObject>) {
        let was_empty = self.releases.with(|releases| {
            releases.push(reference);
            self.has_releases.store(true, Ordering::Release);
            releases.len() == 1
        });
        if was_empty && let Some(nudge) = self.nudge.get() {
            nudge();
        }
    }

    /// Whether references wait to be released.
    pub(crate) fn has_releases(&self) -> bool {
        self.has_releases.load(Ordering::Acquire)
    }

    /// Gives up what other threads have left.
    #[inline]
    pub(crate) fn release_now(&self, token: Token<'_>) {
        if self.has_releases() {
            self.release_all(token);
        }
    }

    #[inline(never)]
    fn release_all(&self, token: Token<'_>) {
        let references = self.releases.with(|releases| {
            self.has_releases.store(false, Ordering::Release);
            std::mem::take(releases)
        });
        for reference in references {
            // SAFETY: the reference was given to us, and the token proves that we are attached. No lock is held: a
            // destructor may run any Python code.
            unsafe { ffi::Py_DECREF(reference.as_ptr()) };
        }
        end_if_forked(token, || "an application".to_owned());
    }
}

impl<'py> Token<'py> {
    /// An interned string.
    pub(crate) fn intern(self, text: &str) -> Result<Obj<'py>, Raised> {
        let text = CString::new(text).expect("a name without NUL");
        // SAFETY: a valid NUL-terminated string; a new reference results.
        unsafe { self.own(ffi::PyUnicode_InternFromString(text.as_ptr())) }.ok_or(Raised)
    }

    /// A `str` whose code points are the bytes (latin-1).
    pub(crate) fn latin1(self, bytes: &[u8]) -> Result<Obj<'py>, Raised> {
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len(bytes), ptr::null())) }.ok_or(Raised)
    }

    /// A `str` from UTF-8.
    pub(crate) fn text(self, text: &str) -> Result<Obj<'py>, Raised> {
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), len(text.as_bytes()))) }.ok_or(Raised)
    }

    /// A `str` for a file name, by the file system's encoding.
    pub(crate) fn path(self, path: &std::path::Path) -> Result<Obj<'py>, Raised> {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        // SAFETY: pointer and length of one slice; a new reference results.
        unsafe { self.own(ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), len(bytes))) }.ok_or(Raised)
    }

    /// Calls `function` with positional arguments.
    pub(crate) fn call(
        self,
        function: *mut ffi::PyObject,
        arguments: &[*mut ffi::PyObject],
    ) -> Result<Obj<'py>, Raised> {
        rules::no_lock("Python is called");
        // SAFETY: the caller keeps `function` and the arguments alive; a new reference results.
        unsafe { self.own(ffi::PyObject_Vectorcall(function, arguments.as_ptr(), arguments.len(), ptr::null_mut())) }
            .ok_or(Raised)
    }

    /// An attribute by name.
    pub(crate) fn attribute(self, object: *mut ffi::PyObject, name: &CStr) -> Result<Obj<'py>, Raised> {
        rules::no_lock("an attribute is looked up");
        // SAFETY: `object` is alive; a new reference results.
        unsafe { self.own(ffi::PyObject_GetAttrString(object, name.as_ptr())) }.ok_or(Raised)
    }

    /// An attribute by a name that is known at run time.
    pub(crate) fn attribute_named(self, object: *mut ffi::PyObject, name: &str) -> Result<Obj<'py>, Raised> {
        rules::no_lock("an attribute is looked up");
        let name = self.text(name)?;
        // SAFETY: live objects; a new reference results.
        unsafe { self.own(ffi::PyObject_GetAttr(object, name.as_ptr())) }.ok_or(Raised)
    }

    /// The str at `index` of a tuple; `None` for None.
    pub(crate) fn item_text(self, tuple: &Obj<'_>, index: ffi::Py_ssize_t) -> Result<Option<String>, Raised> {
        // SAFETY: borrowed from a tuple that is alive; not a tuple, or too short, raises.
        unsafe {
            let item = ffi::PyTuple_GetItem(tuple.as_ptr(), index);
            if item.is_null() {
                return Err(Raised);
            }
            if item == ffi::Py_None() { Ok(None) } else { self.to_text(item).map(Some) }
        }
    }

    /// The content of a `bytes` object; `None` for None.
    pub(crate) fn bytes_of(self, object: &Obj<'_>) -> Result<Option<Vec<u8>>, Raised> {
        // SAFETY: a live object; not bytes raises.
        unsafe {
            if object.as_ptr() == ffi::Py_None() {
                return Ok(None);
            }
            let data = ffi::PyBytes_AsString(object.as_ptr());
            if data.is_null() {
                return Err(Raised);
            }
            let size = usize::try_from(ffi::PyBytes_Size(object.as_ptr())).unwrap_or(0);
            Ok(Some(std::slice::from_raw_parts(data.cast::<u8>(), size).to_vec()))
        }
    }

    /// Forgets the pending exception.
    pub(crate) fn clear_error(self) {
        // SAFETY: attached.
        unsafe { ffi::PyErr_Clear() };
    }

    /// A function of the bootstrap module.
    pub(crate) fn helper(self, name: &CStr) -> Result<Obj<'py>, Raised> {
        let namespace = self.interpreter().data().bootstrap.as_ptr();
        // SAFETY: the namespace is a dict that lives as long as the interpreter; the item is borrowed.
        let item = unsafe { self.borrow(ffi::PyDict_GetItemString(namespace, name.as_ptr())) };
        item.ok_or_else(|| {
            super::raise::runtime_error(self, &format!("the gateway has no function {}", name.to_string_lossy()))
        })
    }

    /// The text of a `str`; lone surrogates become `\udcxx`.
    pub(crate) fn to_text(self, object: *mut ffi::PyObject) -> Result<String, Raised> {
        let mut size = 0;
        // SAFETY: `object` is alive; the UTF-8 form is cached in it.
        let utf8 = unsafe { ffi::PyUnicode_AsUTF8AndSize(object, &mut size) };
        if !utf8.is_null() {
            // SAFETY: Python gave `size` bytes of UTF-8.
            let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), usize::try_from(size).unwrap_or(0)) };
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        // SAFETY: not a str raises TypeError again below; a str with lone surrogates is encoded with escapes.
        unsafe {
            ffi::PyErr_Clear();
            let encoded = self
                .own(ffi::PyUnicode_AsEncodedString(object, c"utf-8".as_ptr(), c"backslashreplace".as_ptr()))
                .ok_or(Raised)?;
            let bytes = std::slice::from_raw_parts(
                ffi::PyBytes_AsString(encoded.as_ptr()).cast::<u8>(),
                usize::try_from(ffi::PyBytes_Size(encoded.as_ptr())).unwrap_or(0),
            );
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }

    /// The pending exception as one line, `Type: message`. Clears it.
    pub(crate) fn take_error_line(self) -> String {
        fetch(self).map_or_else(|| "no exception set".to_owned(), |exception| self.error_line(&exception))
    }

    /// An exception as one line, `Type: message`.
    pub(crate) fn error_line(self, exception: &Obj<'_>) -> String {
        rules::no_lock("an exception is shown");
        // SAFETY: a live exception; its type's name is a static or heap string that lives with the type.
        let name =
            unsafe { CStr::from_ptr((*ffi::Py_TYPE(exception.as_ptr())).tp_name) }.to_string_lossy().into_owned();
        // SAFETY: `exception` is alive; a new reference results.
        let text = unsafe { self.own(ffi::PyObject_Str(exception.as_ptr())) };
        match text.map(|text| self.to_text(text.as_ptr())) {
            Some(Ok(text)) if !text.is_empty() => escape(&format!("{name}: {text}")).into_owned(),
            _ => {
                // SAFETY: attached.
                unsafe { ffi::PyErr_Clear() };
                escape(&name).into_owned()
            }
        }
    }
}

/// The length of a slice as Python counts.
pub(crate) fn len(bytes: &[u8]) -> ffi::Py_ssize_t {
    // No slice is longer than isize::MAX.
    bytes.len() as ffi::Py_ssize_t
}
