//! The baseline for the gateway: a bare loop over Python's C API that makes the same environ and the same call.
//!
//! It is written as such a loop usually is in C. Objects that can be made once are made once: interned keys, a dict with the
//! entries that are the same for all requests and a slot for each that changes, and shared objects (`wsgi.input` of requests
//! without a body, `wsgi.errors`). For each request it copies that dict, makes a `str` of each value that comes from the
//! client, and an object for `start_response`; it calls the application with a vectorcall, keeps status and headers, goes
//! over them and over the blocks by pointer and length, as a server must to send them, and releases everything.
//!
//! It leaves out the work that a server must add. It knows the key of each header beforehand, does not combine repeated
//! headers, and withholds none. It checks types, but no characters and no rules about the order of calls. It has no
//! Content-Length, no write callable, no context for each request, and cannot detect that an application calls too late. A
//! request has no body.

use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi;

use crate::request::Request;

type Object = *mut ffi::PyObject;

/// An application in the Python of this process, prepared to be called for requests with certain headers.
pub struct Application {
    callable: Object,
    environ: Object,
    start_response: *mut ffi::PyTypeObject,
    keys: [Object; LINE.len()],
    /// Environ key of each header.
    headers: Vec<Object>,
}

/// Environ keys that are set from each request, headers aside.
const LINE: [&CStr; 6] =
    [c"REQUEST_METHOD", c"PATH_INFO", c"QUERY_STRING", c"SERVER_PROTOCOL", c"REMOTE_ADDR", c"REMOTE_PORT"];

/// Receives a response. Its parts come in the order of the methods, borrowed from the application's objects.
pub trait Client {
    fn status(&mut self, text: &[u8]);
    fn header(&mut self, name: &[u8], value: &[u8]);
    fn block(&mut self, data: &[u8]);
}

/// An application and the request that it answers repeatedly.
pub struct Bare {
    application: Application,
    request: Request,
    /// `REMOTE_PORT`. A server formats it once for each connection.
    peer_port: String,
}

/// Bytes that a client would receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of status, names and values.
    pub head: u64,
    pub body: u64,
}

impl Client for Sent {
    fn status(&mut self, text: &[u8]) {
        self.head += std::hint::black_box(text).len() as u64;
    }

    fn header(&mut self, name: &[u8], value: &[u8]) {
        self.head += (std::hint::black_box(name).len() + std::hint::black_box(value).len()) as u64;
    }

    fn block(&mut self, data: &[u8]) {
        self.body += std::hint::black_box(data).len() as u64;
    }
}

/// Defines the entries of environ that are the same for all requests.
const SETUP: &str = concat!(
    r#"
import io, sys, wsgiref.util

environ = {
    "wsgi.version": (1, 0),
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "wsgi.file_wrapper": wsgiref.util.FileWrapper,
    "wsgi.url_scheme": "http",
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": sys.stderr,
    "wsgi_gateway.version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"",
    "wsgi_gateway.interpreter": "main",
    "wsgi_gateway.script": "app.py",
    "wsgi_gateway.callable": "application",
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_SCHEME": "http",
    "SCRIPT_NAME": "",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "8000",
}
"#
);

impl Bare {
    /// Prepares to answer `request`, which has no body, with the callable `application` of the Python code `source`. Panics
    /// if Python raises, as nothing can be measured then. Objects made here are never freed.
    ///
    /// # Safety
    ///
    /// The calling thread is attached to Python.
    pub unsafe fn new(source: &str, request: Request) -> Self {
        assert!(request.body.is_none(), "a bare loop has no body to read");
        // SAFETY: the caller is attached to Python.
        let application = unsafe { Application::new(source, request.headers.iter().map(|(name, _)| *name)) };
        Self { application, request, peer_port: request.peer_port.to_string() }
    }

    /// Answers the request once. Panics if Python raises.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub unsafe fn answer(&self) -> Sent {
        let request = &self.request;
        let line =
            [request.method, request.path, request.query, "HTTP/1.1", "127.0.0.1", &self.peer_port].map(str::as_bytes);
        let mut sent = Sent::default();
        // SAFETY: the caller is attached to Python.
        unsafe { self.application.call(line, request.headers.iter().map(|(_, value)| value.as_bytes()), &mut sent) };
        sent
    }
}

impl Application {
    /// Prepares to call the callable `application` of the Python code `source` for requests that have headers of these names
    /// and no body. Panics if Python raises, as nothing can be measured then. Objects made here are never freed.
    ///
    /// # Safety
    ///
    /// The calling thread is attached to Python.
    pub unsafe fn new<'a>(source: &str, names: impl Iterator<Item = &'a str>) -> Self {
        // SAFETY: attached; each result is checked, and its reference never released.
        unsafe {
            let namespace = checked(ffi::PyDict_New());
            for source in [SETUP, source] {
                let source = CString::new(source).expect("a source without NUL");
                let code = checked(ffi::Py_CompileString(source.as_ptr(), c"bare".as_ptr(), ffi::Py_file_input));
                checked(ffi::PyEval_EvalCode(code, namespace, namespace));
            }
            let environ = checked(ffi::PyDict_GetItemString(namespace, c"environ".as_ptr()));
            let callable = checked(ffi::PyDict_GetItemString(namespace, c"application".as_ptr()));
            let keys = LINE.map(|key| checked(ffi::PyUnicode_InternFromString(key.as_ptr())));
            let headers: Vec<_> = names.map(|name| key(name)).collect();
            for key in keys.iter().chain(&headers) {
                done(ffi::PyDict_SetItem(environ, *key, ffi::Py_None()));
            }
            Self { callable, environ, start_response: start_response_type(), keys, headers }
        }
    }

    /// Answers one request. `line` has the values of the keys in `LINE`, in that order; `headers` has the value of each
    /// header. Panics if Python raises.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    pub unsafe fn call<'a>(
        &self,
        line: [&'a [u8]; 6],
        headers: impl Iterator<Item = &'a [u8]>,
        client: &mut impl Client,
    ) {
        // SAFETY: attached; new references are released below, and items are borrowed from a list that outlives their use.
        unsafe {
            let environ = self.environ(line, headers);
            let start_response = ffi::PyObject_New::<StartResponse>(self.start_response);
            checked(start_response.cast());
            (*start_response).vectorcall = Some(start);
            (*start_response).status = ptr::null_mut();
            (*start_response).headers = ptr::null_mut();
            let mut arguments = [ptr::null_mut(), environ, start_response.cast()];
            let iterable = checked(ffi::PyObject_Vectorcall(
                self.callable,
                arguments.as_mut_ptr().add(1),
                2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
                ptr::null_mut(),
            ));
            (*start_response).send(client);
            send(iterable, client);
            ffi::Py_DECREF(iterable);
            ffi::Py_DECREF(start_response.cast());
            ffi::Py_DECREF(environ);
        }
    }

    /// Makes the environ of a request.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new).
    unsafe fn environ<'a>(&self, line: [&'a [u8]; 6], headers: impl Iterator<Item = &'a [u8]>) -> Object {
        // SAFETY: attached; the dict is new, and holds references to its keys and values.
        unsafe {
            let environ = checked(ffi::PyDict_Copy(self.environ));
            let headers = self.headers.iter().copied().zip(headers);
            for (key, value) in self.keys.into_iter().zip(line).chain(headers) {
                let value = checked(ffi::PyUnicode_DecodeLatin1(
                    value.as_ptr().cast(),
                    value.len() as ffi::Py_ssize_t,
                    ptr::null(),
                ));
                done(ffi::PyDict_SetItem(environ, key, value));
                ffi::Py_DECREF(value);
            }
            environ
        }
    }
}

/// Returns the environ key of a header.
///
/// # Safety
///
/// The calling thread is attached to Python.
unsafe fn key(name: &str) -> Object {
    let key = format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_"));
    let key = CString::new(key).expect("a name without NUL");
    // SAFETY: attached, and the string is NUL-terminated.
    unsafe { checked(ffi::PyUnicode_InternFromString(key.as_ptr())) }
}

/// Sends each block of the iterable that an application returned, and closes it.
///
/// # Safety
///
/// The calling thread is attached to Python, and `iterable` is a live object.
unsafe fn send(iterable: Object, client: &mut impl Client) {
    let mut take = |block: Object| {
        // SAFETY: a live object, whose type is checked.
        unsafe {
            assert!(ffi::PyBytes_Check(block) != 0, "a block is bytes");
            client.block(std::slice::from_raw_parts(
                ffi::PyBytes_AsString(block).cast::<u8>(),
                ffi::PyBytes_Size(block) as usize,
            ));
        }
    };
    // SAFETY: attached, and the iterable is live, as the caller promises. A list has no close().
    unsafe {
        if ffi::PyList_CheckExact(iterable) != 0 {
            for index in 0..ffi::PyList_GET_SIZE(iterable) {
                take(ffi::PyList_GET_ITEM(iterable, index));
            }
            return;
        }
        let iterator = checked(ffi::PyObject_GetIter(iterable));
        loop {
            let block = ffi::PyIter_Next(iterator);
            if block.is_null() {
                break;
            }
            take(block);
            ffi::Py_DECREF(block);
        }
        assert!(ffi::PyErr_Occurred().is_null(), "the application raised");
        ffi::Py_DECREF(iterator);
        let close = ffi::PyObject_GetAttrString(iterable, c"close".as_ptr());
        if close.is_null() {
            ffi::PyErr_Clear();
        } else {
            ffi::Py_DECREF(checked(ffi::PyObject_CallNoArgs(close)));
            ffi::Py_DECREF(close);
        }
    }
}

/// The `start_response` object of one request.
#[repr(C)]
struct StartResponse {
    head: ffi::PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
    status: Object,
    headers: Object,
}

impl StartResponse {
    /// Sends status and headers.
    ///
    /// # Safety
    ///
    /// The calling thread is attached to Python, and the headers are not changed during the call.
    unsafe fn send(&self, client: &mut impl Client) {
        assert!(!self.status.is_null(), "start_response was called");
        // SAFETY: this object holds references to a str and a list; the list's items are borrowed.
        unsafe {
            client.status(text(&self.status));
            for index in 0..ffi::PyList_GET_SIZE(self.headers) {
                let header = ffi::PyList_GET_ITEM(self.headers, index);
                assert!(ffi::PyTuple_Check(header) != 0 && ffi::PyTuple_GET_SIZE(header) == 2, "a header is a pair");
                client.header(text(&ffi::PyTuple_GET_ITEM(header, 0)), text(&ffi::PyTuple_GET_ITEM(header, 1)));
            }
        }
    }
}

/// Returns the characters of a `str` as UTF-8.
///
/// # Safety
///
/// The calling thread is attached to Python, and the object lives as long as the reference to it.
unsafe fn text(object: &Object) -> &[u8] {
    // SAFETY: a live str, which is checked. Python stores ASCII as UTF-8, and keeps the UTF-8 of other text with the object.
    unsafe {
        assert!(ffi::PyUnicode_Check(*object) != 0, "status, names and values are str");
        let mut length = 0;
        let data = ffi::PyUnicode_AsUTF8AndSize(*object, &mut length);
        assert!(!data.is_null(), "status, names and values are latin-1");
        std::slice::from_raw_parts(data.cast::<u8>(), length as usize)
    }
}

unsafe extern "C" fn start(object: Object, arguments: *const Object, flags: usize, _keywords: Object) -> Object {
    // SAFETY: Python calls the vectorcall slot of our type with that many live arguments.
    unsafe {
        let this = object.cast::<StartResponse>();
        let count = ffi::PyVectorcall_NARGS(flags as _);
        assert!((2..=3).contains(&count), "start_response takes status, headers, exc_info");
        let (status, headers) = (*arguments, *arguments.add(1));
        assert!(ffi::PyUnicode_Check(status) != 0 && ffi::PyList_Check(headers) != 0, "a str and a list");
        ffi::Py_INCREF(status);
        ffi::Py_INCREF(headers);
        ffi::Py_XDECREF(std::mem::replace(&mut (*this).status, status));
        ffi::Py_XDECREF(std::mem::replace(&mut (*this).headers, headers));
        // In place of the write callable, which the measured applications do not call.
        ffi::Py_INCREF(object);
        object
    }
}

unsafe extern "C" fn dealloc(object: Object) {
    // SAFETY: the last reference to an object of our type is gone, so the references it holds are released once.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        let this = object.cast::<StartResponse>();
        ffi::Py_XDECREF((*this).status);
        ffi::Py_XDECREF((*this).headers);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(kind.cast());
    }
}

/// # Safety
///
/// The calling thread is attached to Python.
unsafe fn start_response_type() -> *mut ffi::PyTypeObject {
    // SAFETY: attached; name and functions are static, and Python copies the rest.
    unsafe {
        let mut members: [ffi::PyMemberDef; 2] = std::mem::zeroed();
        members[0].name = c"__vectorcalloffset__".as_ptr();
        members[0].type_code = ffi::Py_T_PYSSIZET;
        members[0].offset = offset_of!(StartResponse, vectorcall) as ffi::Py_ssize_t;
        members[0].flags = ffi::Py_READONLY;
        let mut slots = [
            (ffi::Py_tp_dealloc, dealloc as *mut c_void),
            (ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
            (ffi::Py_tp_members, members.as_mut_ptr().cast()),
            (0, ptr::null_mut()),
        ]
        .map(|(slot, pfunc)| ffi::PyType_Slot { slot, pfunc });
        let mut spec = ffi::PyType_Spec {
            name: c"bare.StartResponse".as_ptr(),
            basicsize: size_of::<StartResponse>() as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_VECTORCALL) as _,
            slots: slots.as_mut_ptr(),
        };
        checked(ffi::PyType_FromSpec(&mut spec)).cast()
    }
}

fn checked(object: Object) -> Object {
    assert!(!object.is_null(), "Python raised");
    object
}

fn done(result: c_int) {
    assert!(result >= 0, "Python raised");
}
