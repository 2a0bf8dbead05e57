//! `If-Match` and `If-Unmodified-Since` of a GET, evaluated against the validators of the application's response.
//!
//! nginx's own filter (`ngx_http_not_modified_filter_module`) evaluates them the same way, but inside the response: it
//! announces a persistent connection and then closes it. So the module decides before the filters see the head, and
//! sends 412 like any other error page. For other methods the application has already made its change when it responds,
//! and RFC 9110, 13.2 requires preconditions to be evaluated before that: then both headers are left to the
//! application.

use wsgi_core::host::ResponseHead;
use wsgi_core::protocol::is_listed;

use crate::bindings::{NGX_HTTP_GET, NGX_HTTP_HEAD};
use crate::ngx::{self, Request};

/// Whether the client asks for a representation, so that nginx's filters may answer with 304, 206 or 412 in place of
/// the application. A redirect turns any method into GET (`X-Accel-Redirect`, `error_page`); the request line still has
/// the client's method, whose change may already have been made.
pub(crate) fn may_be_judged(request: &Request) -> bool {
    let is_read = request.method & (NGX_HTTP_GET | NGX_HTTP_HEAD) != 0;
    is_read && (request.internal() == 0 || is_read_by_the_client(request.main_request()))
}

#[cold]
fn is_read_by_the_client(main: &Request) -> bool {
    let line = main.request_line();
    line.starts_with(b"GET ") || line.starts_with(b"HEAD ")
}

/// Whether the request has headers that [`fail`] evaluates.
pub(crate) fn are_there(request: &Request) -> bool {
    !request.headers_in.if_match.is_null() || !request.headers_in.if_unmodified_since.is_null()
}

/// Whether a response fails a precondition of the request, so that the answer is 412. [`may_be_judged`] holds for the
/// request.
#[cold]
pub(crate) fn fail(request: &Request, head: &ResponseHead) -> bool {
    // An error page has the status of the error, in `err_status` (`ngx_http_send_header`).
    let ok = head.status.code() == 200 && request.err_status == 0;
    if !ok || !request.is_main() || request.disable_not_modified() != 0 {
        return false;
    }
    let headers = &request.headers_in;
    // SAFETY: each is null or a header of a live request.
    let [if_match, if_unmodified_since] = unsafe { [headers.if_match.as_ref(), headers.if_unmodified_since.as_ref()] };
    if_unmodified_since.is_some_and(|header| is_later(last(head, b"Last-Modified"), header.text()))
        || if_match.is_some_and(|header| !is_listed(header.text(), last(head, b"ETag")))
}

/// Returns the last header of a name: only the last one is sent.
fn last<'a>(head: &'a ResponseHead, name: &[u8]) -> Option<&'a [u8]> {
    head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).last().map(|header| header.value)
}

/// Whether a modification time is later than a date of the client. True also if either is missing or invalid.
fn is_later(modified: Option<&[u8]>, date: &[u8]) -> bool {
    modified.and_then(ngx::parse_time).is_none_or(|modified| ngx::parse_time(date).is_none_or(|date| date < modified))
}
