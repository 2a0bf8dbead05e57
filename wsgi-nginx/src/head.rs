//! From the core's response head to nginx's `headers_out`. All of it is for a live request whose head has not been sent.

use std::ptr;

use wsgi_core::head::{AccelHeader, Header, Ranges, ResponseHead};
use wsgi_core::response::Framing;

use crate::bindings::{ngx_list_push, ngx_pnalloc, ngx_str_t, ngx_table_elt_t};
use crate::ngx::{self, Request};

/// Writes status, headers and framing, without headers that are for nginx; false without memory.
pub(crate) fn fill(request: &mut Request, head: &ResponseHead) -> bool {
    let code = head.status.code().as_u16();
    // nginx writes its own line for the usual answers, and with a line of ours it would treat neither 204 nor 304
    // as answers without a body (`ngx_http_header_filter`).
    let own_line = head.status.as_bytes() == b"200 OK" || matches!(code, 204 | 304);
    let line = if own_line { Some(ngx_str_t::empty()) } else { request.copy(head.status.as_bytes()) };
    let Some(line) = line else { return false };
    let out = &mut request.headers_out;
    out.status = ngx::status(code);
    out.status_line = line;
    out.content_length_n = match head.framing {
        // No body is longer than that: it would not fit a file.
        Framing::Length(length) => i64::try_from(length).unwrap_or(i64::MAX),
        _ => -1,
    };
    head.headers.iter().all(|header| add(request, header, head.framing).is_some())
}

/// Lets nginx cut ranges out of the body (`ngx_http_range_filter_module`), where that is possible. Several at once it cuts
/// out of a single buffer only; with others it would fail when the head is out.
pub(crate) fn allow_ranges(request: &mut Request, head: &ResponseHead) {
    let ranges = head.ranges();
    if ranges != Ranges::None {
        request.set_allow_ranges(1);
        request.set_single_range(u32::from(ranges == Ranges::One));
    }
}

/// Adds the headers that nginx keeps of a response whose body another location sends (`ngx_http_upstream_headers_in`,
/// `redirect`); false without memory.
pub(crate) fn add_for_redirection(request: &mut Request, head: &ResponseHead) -> bool {
    const KEPT: [&[u8]; 5] = [b"content-type", b"set-cookie", b"content-disposition", b"cache-control", b"expires"];
    let is_kept = |header: &Header<'_>| KEPT.iter().any(|kept| header.name.eq_ignore_ascii_case(kept));
    // The body is another one, whatever frames it.
    head.headers.iter().filter(is_kept).all(|header| add(request, header, Framing::Unknown).is_some())
}

/// Adds a header beside those that are there already; false without memory.
pub(crate) fn add_plain(request: &mut Request, name: &[u8], value: &[u8]) -> bool {
    push(request, name, value).is_some()
}

/// Adds one header: where nginx's filters look for it, it goes into the slot they know. `None` without memory.
#[inline(always)]
fn add(request: &mut Request, Header { name, value }: Header<'_>, framing: Framing) -> Option<()> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // Lengths first: most names are told apart by them.
    match name.len() {
        12 if name == b"Content-Type" || is(b"content-type") => {
            if framing != Framing::NoBody {
                let value = request.copy(value)?;
                content_type(request, value);
            }
            return Some(());
        }
        15..=18 if AccelHeader::named(name).is_some() => return Some(()),
        4 | 5 | 6 | 7 | 13 | 16 | 17 => {}
        _ => {
            push(request, name, value)?;
            return Some(());
        }
    }
    let header = push(request, name, value)?;
    let out = &mut request.headers_out;
    match name.len() {
        4 if is(b"date") => replace(&mut out.date, header),
        4 if is(b"etag") => replace(&mut out.etag, header),
        6 if is(b"server") => replace(&mut out.server, header),
        7 if is(b"expires") => out.expires = header,
        13 if is(b"last-modified") => {
            replace(&mut out.last_modified, header);
            out.last_modified_time = ngx::parse_time(value).unwrap_or(-1);
        }
        13 if is(b"content-range") => out.content_range = header,
        13 if is(b"accept-ranges") => out.accept_ranges = header,
        13 if is(b"cache-control") => cache_control(request, header)?,
        16 if is(b"content-encoding") => out.content_encoding = header,
        16 if is(b"www-authenticate") => append(&mut out.www_authenticate, header),
        _ => {}
    }
    Some(())
}

/// Appends to the list of headers. A `Location` stays there and only there: from its slot nginx would make an absolute
/// address of a relative one.
fn push(request: &mut Request, name: &[u8], value: &[u8]) -> Option<*mut ngx_table_elt_t> {
    // SAFETY: the list of headers of a live request.
    let header: *mut ngx_table_elt_t = unsafe { ngx_list_push(&raw mut request.headers_out.headers) }.cast();
    if header.is_null() {
        return None;
    }
    // SAFETY: a new element. It is zeroed first, for its fields differ from version to version; so it is not sent.
    let element = unsafe {
        header.write(std::mem::zeroed());
        &mut *header
    };
    // One piece of memory for both, the value NUL-terminated as nginx's own parsers expect.
    // SAFETY: the pool of a live request.
    let memory: *mut u8 = unsafe { ngx_pnalloc(request.pool, name.len() + value.len() + 1) }.cast();
    if memory.is_null() {
        return None;
    }
    // SAFETY: memory for name, value and NUL.
    let text = unsafe {
        memory.copy_from_nonoverlapping(name.as_ptr(), name.len());
        let text = memory.add(name.len());
        text.copy_from_nonoverlapping(value.as_ptr(), value.len());
        text.add(value.len()).write(0);
        text
    };
    element.hash = 1;
    element.key = ngx_str_t { len: name.len(), data: memory };
    element.value = ngx_str_t { len: value.len(), data: text };
    Some(header)
}

/// Puts a header into its slot. There is one of its name in an answer: the last one counts.
fn replace(slot: &mut *mut ngx_table_elt_t, header: *mut ngx_table_elt_t) {
    // SAFETY: a slot is null or has an element of the same request. An element with hash 0 is not sent.
    if let Some(before) = unsafe { slot.as_mut() } {
        before.hash = 0;
    }
    *slot = header;
}

/// Appends a header to its slot: headers of one name form a list, from nginx 1.23 on.
#[cfg(nginx_1_23)]
fn append(mut slot: &mut *mut ngx_table_elt_t, header: *mut ngx_table_elt_t) {
    // SAFETY: a slot, and each `next`, is null or has an element of the same request.
    while let Some(element) = unsafe { slot.as_mut() } {
        slot = &mut element.next;
    }
    *slot = header;
}

/// Puts a header into its slot, which has the first of several before nginx 1.23.
#[cfg(not(nginx_1_23))]
fn append(slot: &mut *mut ngx_table_elt_t, header: *mut ngx_table_elt_t) {
    if slot.is_null() {
        *slot = header;
    }
}

#[cfg(nginx_1_23)]
fn cache_control(request: &mut Request, header: *mut ngx_table_elt_t) -> Option<()> {
    append(&mut request.headers_out.cache_control, header);
    Some(())
}

/// Adds to the headers of that name, which are an array of pointers before nginx 1.23.
#[cfg(not(nginx_1_23))]
fn cache_control(request: &mut Request, header: *mut ngx_table_elt_t) -> Option<()> {
    use crate::bindings::{ngx_array_push, ngx_palloc};

    let size = size_of::<*mut ngx_table_elt_t>();
    let pool = request.pool;
    let array = &mut request.headers_out.cache_control;
    if array.elts.is_null() {
        // SAFETY: the pool of a live request.
        array.elts = unsafe { ngx_palloc(pool, size) };
        (array.nelts, array.size, array.nalloc, array.pool) = (0, size, 1, pool);
    }
    if array.elts.is_null() {
        return None;
    }
    // SAFETY: an array that is initialised.
    let element: *mut *mut ngx_table_elt_t = unsafe { ngx_array_push(array) }.cast();
    // SAFETY: null, or room for one pointer.
    *unsafe { element.as_mut() }? = header;
    Some(())
}

/// Media type and charset as nginx's filters want them: the type's own length apart (gzip, charset, addition). `value` is in the
/// request's pool.
#[inline(always)]
fn content_type(request: &mut Request, value: ngx_str_t) {
    // SAFETY: memory of the request's pool.
    let text = unsafe { ngx::bytes(&value) };
    let out = &mut request.headers_out;
    out.content_type = value;
    out.content_type_len = value.len;
    out.content_type_lowcase = ptr::null_mut();
    if let Some(end) = text.iter().position(|byte| *byte == b';') {
        out.content_type_len = text[..end].trim_ascii_end().len();
        if let Some(charset) = charset(&text[end..]) {
            out.charset = ngx::str_of(charset);
        }
    }
}

/// The value of `charset` among parameters, without quotes.
fn charset(parameters: &[u8]) -> Option<&[u8]> {
    parameters.split(|byte| *byte == b';').find_map(|parameter| {
        let (name, value) = parameter.trim_ascii().split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"charset=").then(|| unquoted(value))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}
