//! `If-Match` and `If-Unmodified-Since` of a GET, judged by the validators of the application's response.
//!
//! nginx's own filter (`ngx_http_not_modified_filter_module`) judges the same way, but within the response: it announces
//! a connection that stays and then ends it. So the answer is found before the filters have seen the head, and sent as any
//! other error page. With other methods the application has made its change when it responds, and RFC 9110, 13.2 wants
//! preconditions judged before that: there both are left to the application.

use wsgi_core::head::{ResponseHead, is_listed};

use crate::bindings::{NGX_HTTP_GET, NGX_HTTP_HEAD};
use crate::ngx::{self, Request};

/// Whether the client asks for a representation, so that nginx's filters may answer with 304, 206 or 412 in place of the
/// application. A redirection makes a GET of any method (`X-Accel-Redirect`, `error_page`): the request line has that of the
/// client, whose change may have been made before.
pub(crate) fn may_be_judged(request: &Request) -> bool {
    let is_read = request.method & (NGX_HTTP_GET | NGX_HTTP_HEAD) != 0;
    is_read && (request.internal() == 0 || is_read_by_the_client(request.main_request()))
}

#[cold]
fn is_read_by_the_client(main: &Request) -> bool {
    let line = main.request_line();
    line.starts_with(b"GET ") || line.starts_with(b"HEAD ")
}

/// Whether the request has conditions that [`fail`] judges.
pub(crate) fn are_there(request: &Request) -> bool {
    !request.headers_in.if_match.is_null() || !request.headers_in.if_unmodified_since.is_null()
}

/// Whether a condition of the request is not met by a response, so that the answer is 412. The method of the request is one that
/// [may be judged](may_be_judged).
#[cold]
pub(crate) fn fail(request: &Request, head: &ResponseHead) -> bool {
    // A page for an error is sent with the status of the error (`ngx_http_send_header`).
    let ok = head.status.code() == 200 && request.err_status == 0;
    if !ok || !request.is_main() || request.disable_not_modified() != 0 {
        return false;
    }
    let headers = &request.headers_in;
    // SAFETY: null, or headers of a live request.
    let [if_match, if_unmodified_since] = unsafe { [headers.if_match.as_ref(), headers.if_unmodified_since.as_ref()] };
    if_unmodified_since.is_some_and(|header| is_later(last(head, b"Last-Modified"), header.text()))
        || if_match.is_some_and(|header| !is_listed(header.text(), last(head, b"ETag")))
}

/// The last header of a name is the one that is sent.
fn last<'a>(head: &'a ResponseHead, name: &[u8]) -> Option<&'a [u8]> {
    head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).last().map(|header| header.value)
}

/// Whether a time of modification is later than a date of the client, or unknown.
fn is_later(modified: Option<&[u8]>, date: &[u8]) -> bool {
    modified.and_then(ngx::parse_time).is_none_or(|modified| ngx::parse_time(date).is_none_or(|date| date < modified))
}
