//! Floor 2: values and exceptions on their way into Python and out of it.
//!
//! Whatever fails here or above returns [`Raised`](raise::Raised): the exception is set on the thread, and the caller passes it on,
//! reports it to the log (`report`) or fetches it.

pub(crate) mod convert;
pub(crate) mod method;
pub(crate) mod raise;
pub(crate) mod report;
pub(crate) mod text;
