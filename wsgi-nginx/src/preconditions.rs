//! `If-Match` and `If-Unmodified-Since` of a GET, judged by the validators of the application's response.
//!
//! nginx's own filter (`ngx_http_not_modified_filter_module`) judges the same way, but within the response: it announces
//! a connection that stays and then ends it. So the answer is found before the filters have seen the head, and sent as any
//! other error page. With other methods the application has made its change when it responds, and RFC 9110, 13.2 wants
//! preconditions judged before that: there both are left to the application.

use wsgi_core::head::{ResponseHead, is_listed};

use crate::bindings::{NGX_HTTP_GET, NGX_HTTP_HEAD, ngx_parse_http_time, ngx_table_elt_t, time_t};
use crate::ngx::{self, Request};

/// Whether the request asks for a representation, so that nginx's filters may answer with 304, 206 or 412 in place of the
/// application.
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn may_be_judged(request: *const Request) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*request).method & (NGX_HTTP_GET | NGX_HTTP_HEAD) != 0 }
}

/// Whether the request has conditions that [`fail`] judges.
///
/// # Safety
///
/// `request` is alive.
pub(crate) unsafe fn are_there(request: *const Request) -> bool {
    // SAFETY: the caller's promise.
    let headers = unsafe { &(*request).headers_in };
    !headers.if_match.is_null() || !headers.if_unmodified_since.is_null()
}

/// Whether a condition of the request is not met by a response, so that the answer is 412.
///
/// # Safety
///
/// `request` is alive, and its method one that [may be judged](may_be_judged).
#[cold]
pub(crate) unsafe fn fail(request: *const Request, head: &ResponseHead) -> bool {
    // SAFETY: the caller's promise.
    let (if_match, if_unmodified_since, judged) = unsafe {
        let headers = &(*request).headers_in;
        // A page for an error is sent with the status of the error (`ngx_http_send_header`).
        let ok = head.status.code() == 200 && (*request).err_status == 0;
        let judged = ok && request == (*request).main.cast_const() && (*request).disable_not_modified() == 0;
        (headers.if_match, headers.if_unmodified_since, judged)
    };
    if !judged {
        return false;
    }
    // SAFETY: null, or headers of the request.
    unsafe {
        let is_modified = |header| is_later(last(head, b"Last-Modified"), value(header));
        let is_other = |header| !is_listed(value(header), last(head, b"ETag"));
        (!if_unmodified_since.is_null() && is_modified(if_unmodified_since))
            || (!if_match.is_null() && is_other(if_match))
    }
}

/// # Safety
///
/// `header` is one of a live request.
unsafe fn value<'a>(header: *const ngx_table_elt_t) -> &'a [u8] {
    // SAFETY: the caller's promise.
    unsafe { ngx::bytes(&(*header).value) }
}

/// The last header of a name is the one that is sent.
fn last<'a>(head: &'a ResponseHead, name: &[u8]) -> Option<&'a [u8]> {
    head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).last().map(|header| header.value)
}

/// Whether a time of modification is later than a date of the client, or unknown.
fn is_later(modified: Option<&[u8]>, date: &[u8]) -> bool {
    modified.and_then(time).is_none_or(|modified| time(date).is_none_or(|date| date < modified))
}

fn time(date: &[u8]) -> Option<time_t> {
    // SAFETY: nginx's parser reads that many bytes.
    let time = unsafe { ngx_parse_http_time(date.as_ptr().cast_mut(), date.len()) };
    (time != -1).then_some(time)
}
