//! Response headers that an application addresses to nginx (`X-Accel-Redirect`, `X-Accel-Buffering` and others). nginx
//! obeys the same headers of a proxied server (`ngx_http_upstream_process_headers`).

use wsgi_core::host::{AccelHeader, AccelHeaders, ResponseHead};

use crate::bindings::{NGX_HTTP_LOG_UNSAFE, ngx_http_parse_unsafe_uri, ngx_str_t, ngx_uint_t};
use crate::head;
use crate::ngx::{self, Request};

/// The target of an `X-Accel-Redirect`. The strings are in the request's pool.
#[derive(Clone, Copy)]
pub(crate) enum Redirection {
    /// A named location, `@name`.
    Named(ngx_str_t),
    Path {
        uri: ngx_str_t,
        args: ngx_str_t,
    },
}

/// Obeys the headers that are addressed to nginx, except those in `ignored`. Returns false if there is no memory. The
/// head has not been sent.
pub(crate) fn obey(request: &mut Request, head: &ResponseHead, ignored: AccelHeaders) -> bool {
    let mut named = head.headers.iter().filter_map(|header| Some((AccelHeader::named(header.name)?, header.value)));
    // Whitespace around a value is not part of it (RFC 9110, 5.5).
    named.all(|(name, value)| ignored.contains(name) || obey_one(request, name, value.trim_ascii()))
}

/// Obeys a header that changes the request itself. Returns false if there is no memory. An invalid value has no effect,
/// as in nginx.
fn obey_one(request: &mut Request, header: AccelHeader, value: &[u8]) -> bool {
    match header {
        AccelHeader::LimitRate => {
            let rate = str::from_utf8(value).ok().filter(|rate| rate.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(rate) = rate.and_then(|rate| rate.parse::<isize>().ok()) {
                request.limit_rate = rate.unsigned_abs();
                request.set_limit_rate_set(1);
            }
        }
        AccelHeader::Charset => {
            let charset: *mut ngx_str_t = request.zeroed();
            let Some(text) = request.copy(value).filter(|_| !charset.is_null()) else { return false };
            // SAFETY: `charset` is not null and points to memory of the request's pool for one string.
            unsafe { charset.write(text) };
            request.headers_out.override_charset = charset;
        }
        // `X-Accel-Redirect` and `X-Accel-Buffering` were obeyed before; responses of an application are not cached.
        AccelHeader::Redirect | AccelHeader::Buffering | AccelHeader::Expires => {}
    }
    true
}

/// Prepares a request whose head has not been sent for an internal redirect to `target`. Adds the headers of `head`
/// that nginx keeps across a redirect. The error is the status to answer with instead.
pub(crate) fn prepare_redirection(
    request: &mut Request,
    head: &ResponseHead,
    target: &[u8],
) -> Result<Redirection, ngx::Status> {
    if !head::add_for_redirection(request, head) {
        return Err(ngx::INTERNAL_SERVER_ERROR);
    }
    let mut uri = request.copy(target).ok_or(ngx::INTERNAL_SERVER_ERROR)?;
    if target.starts_with(b"@") {
        return Ok(Redirection::Named(uri));
    }
    let mut args = ngx_str_t::empty();
    let mut flags: ngx_uint_t = NGX_HTTP_LOG_UNSAFE;
    // SAFETY: the request is alive. nginx's parser writes to the copy and to `args`, and logs a target that it refuses.
    let code = unsafe { ngx_http_parse_unsafe_uri(request, &raw mut uri, &raw mut args, &raw mut flags) };
    if code == ngx::OK { Ok(Redirection::Path { uri, args }) } else { Err(ngx::NOT_FOUND) }
}
