//! Floor 1: threads that attach to Python and detach from it.
//!
//! A thread attaches to an [`Interpreter`](interpreter::Interpreter) (`thread`) and gets a [`Token`](token::Token): the
//! proof of being attached that functions of this floor and of those above take. References under a token are `Obj`s;
//! `Held` references may be moved to detached threads, and return to the interpreter through its release list. `lock`
//! has the locks that a thread waits for detached.
//!
//! The six files `token`, `thread`, `interpreter`, `data`, `lock` and `forked` are one kernel and import each other: a
//! token names its interpreter, an interpreter has locks and references, and `thread` and `interpreter` call `forked`
//! where application code returns. All other files of `python` import downwards only.

pub(crate) mod data;
pub(crate) mod forked;
#[cfg(not(Py_3_13))]
pub(crate) mod gil_switch;
pub(crate) mod interpreter;
pub(crate) mod lock;
pub(crate) mod signals;
pub(crate) mod thread;
pub(crate) mod token;
