//! Floor 1: threads, attached to Python and detached from it.
//!
//! A thread attaches to an [`Interpreter`](interpreter::Interpreter) (`thread`), which gives it a [`Token`](token::Token): the
//! proof that every function below and above asks for. References under a token are `Obj`s; `Held` ones may travel to threads
//! without Python, and return to the interpreter by its list of releases. `lock` has the locks that a thread waits for detached.
//!
//! The six files `token`, `thread`, `interpreter`, `data`, `lock` and `forked` are one kernel and import each other: a token names
//! its interpreter, an interpreter has locks and references, and both end where the process was forked. All other files of the
//! Python half import downwards only.

pub(crate) mod data;
pub(crate) mod forked;
#[cfg(not(Py_3_13))]
pub(crate) mod gil_switch;
pub(crate) mod interpreter;
pub(crate) mod lock;
pub(crate) mod signals;
pub(crate) mod thread;
pub(crate) mod token;
