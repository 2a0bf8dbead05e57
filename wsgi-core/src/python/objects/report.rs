//! Logs exceptions of applications.

use super::raise::fetch;
use crate::host::Level;
use crate::protocol::record::Log;
use crate::python::attach::token::{Obj, Token};

/// Logs the pending exception with its traceback, one record per line; the first one begins with `what`. Clears the
/// exception.
pub(crate) fn pending(token: Token<'_>, log: &Log, what: &str) {
    match fetch(token) {
        Some(exception) => self::exception(token, log, what, &exception),
        None => log.log(Level::Error, &format!("{what}: failed without an exception")),
    }
}

/// Logs an exception with its traceback.
pub(crate) fn exception(token: Token<'_>, log: &Log, what: &str, exception: &Obj<'_>) {
    let described = token.helper(c"describe").and_then(|describe| {
        let parts = token.call(describe.as_ptr(), &[exception.as_ptr()])?;
        let text = token.item_text(&parts, 0)?.unwrap_or_default();
        Ok((text, token.item_text(&parts, 1)?))
    });
    match described {
        Ok((text, hint)) => {
            log.log(Level::Error, what);
            log.lines(Level::Error, &text, |log| token.wait_for(log));
            if let Some(hint) = hint {
                log.lines(Level::Error, &hint, |log| token.wait_for(log));
            }
        }
        Err(_) => {
            // Out of memory, or an exception that cannot be formatted.
            let trouble = token.take_error_line();
            log.log(Level::Error, &format!("{what}: cannot format the traceback ({trouble})"));
        }
    }
}
