//! Translation of the core's response head to nginx's `headers_out`. Every function here needs a live request whose
//! head has not been sent.

use std::ptr;

use wsgi_core::host::{AccelHeader, Framing, Header, Ranges, ResponseHead};

use crate::bindings::{ngx_list_push, ngx_pnalloc, ngx_str_t, ngx_table_elt_t};
use crate::ngx::{self, Request};

/// Writes status, headers and framing, without the headers that are addressed to nginx. Returns false if there is no
/// memory.
pub(crate) fn fill(request: &mut Request, head: &ResponseHead) -> bool {
    let code = head.status.code().as_u16();
    // nginx has its own status line for common statuses. With a line of ours it would treat neither 204 nor 304 as a
    // response without a body (`ngx_http_header_filter`).
    let own_line = head.status.as_bytes() == b"200 OK" || matches!(code, 204 | 304);
    let line = if own_line { Some(ngx_str_t::empty()) } else { request.copy(head.status.as_bytes()) };
    let Some(line) = line else { return false };
    let out = &mut request.headers_out;
    out.status = ngx::status(code);
    out.status_line = line;
    out.content_length_n = match head.framing {
        // No body is longer than `i64::MAX`: it would not fit into a file.
        Framing::Length(length) => i64::try_from(length).unwrap_or(i64::MAX),
        _ => -1,
    };
    head.headers.iter().all(|header| add(request, header, head.framing).is_some())
}

/// Allows nginx to answer range requests (`ngx_http_range_filter_module`), if the response permits it. nginx serves
/// several ranges at once only from a single buffer; with more buffers it would fail after the head was sent.
pub(crate) fn allow_ranges(request: &mut Request, head: &ResponseHead) {
    let ranges = head.ranges();
    if ranges != Ranges::None {
        request.set_allow_ranges(1);
        request.set_single_range(u32::from(ranges == Ranges::One));
    }
}

/// Adds the headers of a response that nginx keeps when another location sends the body
/// (`ngx_http_upstream_headers_in`, `redirect`). Returns false if there is no memory.
pub(crate) fn add_for_redirection(request: &mut Request, head: &ResponseHead) -> bool {
    const KEPT: [&[u8]; 5] = [b"content-type", b"set-cookie", b"content-disposition", b"cache-control", b"expires"];
    let is_kept = |header: &Header<'_>| KEPT.iter().any(|kept| header.name.eq_ignore_ascii_case(kept));
    // The framing of this head does not apply: the body is another one.
    head.headers.iter().filter(is_kept).all(|header| add(request, header, Framing::Unknown).is_some())
}

/// Adds a header without replacing any. Returns false if there is no memory.
pub(crate) fn add_plain(request: &mut Request, name: &[u8], value: &[u8]) -> bool {
    push(request, name, value).is_some()
}

/// Adds one header, and sets the field of `headers_out` in which nginx's filters look for it. Returns `None` if there
/// is no memory.
#[inline(always)]
fn add(request: &mut Request, Header { name, value }: Header<'_>, framing: Framing) -> Option<()> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // The length is compared first, since it rules out most names.
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

/// Appends to the list of headers. A `Location` header is only in the list: nginx would turn a relative address in its
/// field of `headers_out` into an absolute one.
fn push(request: &mut Request, name: &[u8], value: &[u8]) -> Option<*mut ngx_table_elt_t> {
    // SAFETY: `headers` is the list of headers of a live request.
    let header: *mut ngx_table_elt_t = unsafe { ngx_list_push(&raw mut request.headers_out.headers) }.cast();
    if header.is_null() {
        return None;
    }
    // SAFETY: a new element. It is zeroed first, since its fields differ between versions of nginx; its hash is then 0,
    // so that nginx does not send it.
    let element = unsafe {
        header.write(std::mem::zeroed());
        &mut *header
    };
    // One allocation holds both name and value. The value is NUL-terminated, since nginx's own parsers expect that.
    // SAFETY: the pool belongs to a live request.
    let memory: *mut u8 = unsafe { ngx_pnalloc(request.pool, name.len() + value.len() + 1) }.cast();
    if memory.is_null() {
        return None;
    }
    // SAFETY: `memory` has room for name, value and NUL.
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

/// Sets the field of a header that a response has once: the last header of the name counts.
fn replace(slot: &mut *mut ngx_table_elt_t, header: *mut ngx_table_elt_t) {
    // SAFETY: a field is null or points to an element of the same request. nginx does not send an element with hash 0.
    if let Some(before) = unsafe { slot.as_mut() } {
        before.hash = 0;
    }
    *slot = header;
}

/// Appends a header to its field: from nginx 1.23 on, headers of one name form a list.
#[cfg(nginx_1_23)]
fn append(mut slot: &mut *mut ngx_table_elt_t, header: *mut ngx_table_elt_t) {
    // SAFETY: the field, and each `next`, is null or points to an element of the same request.
    while let Some(element) = unsafe { slot.as_mut() } {
        slot = &mut element.next;
    }
    *slot = header;
}

/// Sets the field of a header, which points to the first of several headers before nginx 1.23.
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

/// Adds to the field of `Cache-Control`, which is an array of pointers before nginx 1.23.
#[cfg(not(nginx_1_23))]
fn cache_control(request: &mut Request, header: *mut ngx_table_elt_t) -> Option<()> {
    use crate::bindings::{ngx_array_push, ngx_palloc};

    let size = size_of::<*mut ngx_table_elt_t>();
    let pool = request.pool;
    let array = &mut request.headers_out.cache_control;
    if array.elts.is_null() {
        // SAFETY: the pool belongs to a live request.
        array.elts = unsafe { ngx_palloc(pool, size) };
        (array.nelts, array.size, array.nalloc, array.pool) = (0, size, 1, pool);
    }
    if array.elts.is_null() {
        return None;
    }
    // SAFETY: the array is initialised.
    let element: *mut *mut ngx_table_elt_t = unsafe { ngx_array_push(array) }.cast();
    // SAFETY: the element is null, or memory for one pointer.
    *unsafe { element.as_mut() }? = header;
    Some(())
}

/// Sets media type and charset as nginx's filters need them: `content_type_len` excludes the parameters (gzip, charset,
/// addition). `value` is in the request's pool.
#[inline(always)]
fn content_type(request: &mut Request, value: ngx_str_t) {
    // SAFETY: `value` is in the request's pool, which lives as long as the request.
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

/// Returns the value of `charset` among parameters, without quotes.
fn charset(parameters: &[u8]) -> Option<&[u8]> {
    parameters.split(|byte| *byte == b';').find_map(|parameter| {
        let (name, value) = parameter.trim_ascii().split_at_checked(8)?;
        name.eq_ignore_ascii_case(b"charset=").then(|| unquoted(value))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}
