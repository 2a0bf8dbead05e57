//! An nginx request as the gateway reads it.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;

use wsgi_core::host::{Endpoint, HeaderField, Mount, RequestView, Scheme, split_path};

use crate::bindings::{
    NGINX_VER, ngx_connection_local_sockaddr, ngx_hash_key, ngx_http_complex_value, ngx_http_get_variable,
    ngx_inet_get_port, ngx_list_part_t, ngx_sock_ntop, ngx_str_t, ngx_table_elt_t, sockaddr, socklen_t,
};
use crate::conf::LocationConf;
use crate::ngx::{self, Request};

/// Longest text of an address: nginx's `NGX_SOCKADDR_STRLEN` with the path of a Unix socket.
const ADDRESS_LENGTH: usize = 128;

/// TLS keys of the environ, under the names that other servers use, and nginx's variables for them.
const TLS_VARIABLES: [(&str, &[u8]); 8] = [
    ("SSL_PROTOCOL", b"ssl_protocol"),
    ("SSL_CIPHER", b"ssl_cipher"),
    ("SSL_SESSION_ID", b"ssl_session_id"),
    ("SSL_SERVER_NAME", b"ssl_server_name"),
    ("SSL_CLIENT_VERIFY", b"ssl_client_verify"),
    ("SSL_CLIENT_S_DN", b"ssl_client_s_dn"),
    ("SSL_CLIENT_I_DN", b"ssl_client_i_dn"),
    ("SSL_CLIENT_SERIAL", b"ssl_client_serial"),
];

/// Evaluates the `wsgi_var` directives that apply, which are those of `conf`. Returns `None` when nginx has no memory
/// for a value.
pub(crate) fn variables<'a>(request: &mut Request, conf: &'a LocationConf) -> Option<Vec<(&'a str, ngx_str_t)>> {
    let values = conf.variables.iter().map(|(name, value)| {
        let mut text = ngx_str_t::empty();
        // SAFETY: the request is alive, and the value was compiled with the configuration. The result lives as long as
        // both.
        let code = unsafe { ngx_http_complex_value(request, *value, &raw mut text) };
        (code == ngx::OK).then_some((&**name, text))
    });
    values.collect()
}

/// An nginx request and the values that take more than a field access.
pub(crate) struct View<'a> {
    request: &'a Request,
    script_name: &'a [u8],
    path_info: &'a [u8],
    variables: &'a [(&'a str, ngx_str_t)],
    content_length: Option<u64>,
    document_root: &'a [u8],
    local: Rc<Local>,
    tls: Vec<(&'static str, &'a [u8])>,
}

impl<'a> View<'a> {
    #[inline(always)]
    pub(crate) fn new(
        request: &'a mut Request,
        mount: Mount<'_>,
        variables: &'a [(&'a str, ngx_str_t)],
        content_length: Option<u64>,
    ) -> Self {
        if has_target_host(request) {
            replace_host(request);
        }
        let local = Local::of(request);
        // Evaluated by nginx, which writes to the request.
        let root_is_text = request.core_location().root_lengths.is_null();
        let root = if root_is_text { None } else { variable(request, b"document_root") };
        let tls = if request.connection().tls() != 0 { tls_variables(request) } else { Vec::new() };
        let request: &Request = request;
        let document_root = if root_is_text { text(&request.core_location().root) } else { root.unwrap_or_default() };
        let (script_name, path_info) = split_path(path(request), mount);
        Self { request, script_name, path_info, variables, content_length, document_root, local, tls }
    }
}

/// Returns the bytes of a string of a request, its connection or its configuration.
fn text(text: &ngx_str_t) -> &[u8] {
    // SAFETY: nginx's strings of a live request point to `len` bytes, which live as long as the request.
    unsafe { ngx::bytes(text) }
}

impl RequestView for View<'_> {
    fn method(&self) -> &[u8] {
        text(&self.request.method_name)
    }

    fn scheme(&self) -> Scheme {
        if self.request.connection().tls() != 0 { Scheme::Https } else { Scheme::Http }
    }

    fn protocol(&self) -> &[u8] {
        match text(&self.request.http_protocol) {
            b"" => b"HTTP/0.9",
            protocol => protocol,
        }
    }

    fn script_name(&self) -> &[u8] {
        self.script_name
    }

    fn path_info(&self) -> &[u8] {
        self.path_info
    }

    fn query(&self) -> &[u8] {
        text(&self.request.args)
    }

    fn server(&self) -> Endpoint<'_> {
        let configured = text(&self.request.core_server().server_name);
        let requested = text(&self.request.headers_in.server);
        let name = if is_plain_name(configured) {
            configured
        } else if requested.is_empty() {
            self.local.name()
        } else {
            requested
        };
        Endpoint { name, port: self.local.port }
    }

    fn peer(&self) -> Endpoint<'_> {
        let connection = self.request.connection();
        // SAFETY: a live connection has the client's address.
        let port = unsafe { ngx_inet_get_port(connection.sockaddr) };
        Endpoint { name: text(&connection.addr_text), port: (port != 0).then_some(port) }
    }

    fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        Headers::new(&self.request.headers_in.headers.part).map(|header| {
            // `hash` is `ngx_hash` over the lower-case name, as `name_hash` defines it.
            HeaderField::hashed(header.name(), header.text(), header.hash as u32)
        })
    }

    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let request = self.request;
        let tls = 5 + self.tls.len();
        // The target has a host, and there is no `Host` header that it replaces.
        let added = request.headers_in.host.is_null() && has_target_host(request);
        // One iterator over positions: a chain of two would be polled twice for each element.
        (0..tls + usize::from(added)).map(move |position| match position {
            0 => ("REQUEST_URI", text(&request.unparsed_uri)),
            1 => ("DOCUMENT_URI", text(&request.uri)),
            2 => ("DOCUMENT_ROOT", self.document_root),
            3 => ("SERVER_ADDR", self.local.text()),
            4 => ("SERVER_SOFTWARE", NGINX_VER.to_bytes()),
            position if position < tls => self.tls[position - 5],
            _ => ("HTTP_HOST", target_host(request)),
        })
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|(name, value)| (*name, text(value)))
    }
}

/// Returns the variables of the connection's TLS that have a value.
fn tls_variables<'a>(request: &mut Request) -> Vec<(&'static str, &'a [u8])> {
    let values = TLS_VARIABLES.iter().map(|(key, name)| (*key, variable(request, name).unwrap_or_default()));
    values.filter(|(_, value)| !value.is_empty()).collect()
}

/// Returns the path, normalised and rewritten by nginx. `rewrite` may drop the leading slash.
fn path(request: &Request) -> &[u8] {
    let path = text(&request.uri);
    if path.starts_with(b"/") {
        return path;
    }
    let copy = request.copy(&[b"/", path].concat());
    // SAFETY: the copy is in the request's pool, which lives as long as the request.
    copy.map_or(b"/", |path| unsafe { ngx::bytes(&path) })
}

/// Whether the request line has a host: the target is in absolute form (`ngx_http_parse_request_line`). Subrequests
/// have no request line. In later versions of HTTP nginx makes a `Host` header of `:authority`.
#[inline(always)]
fn has_target_host(request: &Request) -> bool {
    let main = request.main_request();
    !main.host_end.is_null() && !main.is_multiplexed()
}

/// Returns the host of the request line, with its port if it has one. [`has_target_host`] holds for the request.
fn target_host(request: &Request) -> &[u8] {
    let main = request.main_request();
    let (start, mut end) = (main.host_start.cast_const(), main.host_end.cast_const());
    // SAFETY: the host in the request line ends at another byte that nginx's parser has seen. A port, and the byte
    // behind it, are in the same line, which lives as long as the request.
    unsafe {
        if *end == b':' {
            end = end.add(1);
            while (*end).is_ascii_digit() {
                end = end.add(1);
            }
        }
        std::slice::from_raw_parts(start, end.offset_from_unsigned(start))
    }
}

/// Replaces the `Host` header by the host of the request line, which takes precedence (RFC 9112, 3.2.2): nginx has
/// chosen the server by it, but the application would read the header. Later readers of the header see the same value.
#[cold]
fn replace_host(request: &mut Request) {
    let host = ngx::str_of(target_host(request));
    // SAFETY: null, or an element of the header list of a live request.
    if let Some(header) = unsafe { request.headers_in.host.as_mut() } {
        header.value = host;
    }
}

/// Whether a configured name can be the server's name: neither empty, nor the catch-all `_`, nor a pattern.
fn is_plain_name(name: &[u8]) -> bool {
    match name {
        [] | b"_" => false,
        [first, .., last] => !matches!(first, b'.' | b'*' | b'~') && *last != b'*',
        [only] => !matches!(only, b'.' | b'*' | b'~'),
    }
}

/// Returns the value of an nginx variable, if it has one. The value lives as long as the request. `name` is in lower
/// case.
fn variable<'a>(request: &mut Request, name: &[u8]) -> Option<&'a [u8]> {
    let mut name = ngx::str_of(name);
    // SAFETY: the request is alive. The key is the plain hash of the lower-case name; the value is null or in the
    // request's pool.
    let value = unsafe {
        let key = ngx_hash_key(name.data, name.len);
        ngx_http_get_variable(request, &raw mut name, key).as_ref()?
    };
    if value.valid() == 0 || value.not_found() != 0 {
        return None;
    }
    let bytes = ngx_str_t { len: value.len() as usize, data: value.data };
    // SAFETY: `data` points to `len` bytes in the request's pool or in the configuration.
    Some(unsafe { ngx::bytes(&bytes) })
}

/// Iterator over nginx's header list, which consists of several parts.
struct Headers<'a> {
    part: Option<&'a ngx_list_part_t>,
    rest: &'a [ngx_table_elt_t],
}

impl<'a> Headers<'a> {
    /// `part` is the first part of a list of headers.
    fn new(part: &'a ngx_list_part_t) -> Self {
        Self { part: Some(part), rest: elements(part) }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = &'a ngx_table_elt_t;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((first, rest)) = self.rest.split_first() {
                self.rest = rest;
                return Some(first);
            }
            // SAFETY: null, or the next part of the same list.
            self.part = unsafe { self.part?.next.as_ref() };
            self.rest = self.part.map_or(&[], elements);
        }
    }
}

fn elements(part: &ngx_list_part_t) -> &[ngx_table_elt_t] {
    if part.nelts == 0 {
        return &[];
    }
    // SAFETY: a part of a list of headers holds `nelts` headers.
    unsafe { std::slice::from_raw_parts(part.elts.cast(), part.nelts) }
}

/// The address that the client has connected to, as text.
struct Local {
    text: [u8; ADDRESS_LENGTH],
    length: usize,
    port: Option<u16>,
}

thread_local! {
    /// The last address that was formatted. A worker listens on few addresses, and comparing is cheaper than
    /// formatting.
    static LAST: RefCell<(Vec<u8>, Rc<Local>)> = RefCell::new((Vec::new(), Rc::new(Local::UNKNOWN)));
}

impl Local {
    const UNKNOWN: Self = Self { text: [0; ADDRESS_LENGTH], length: 0, port: None };

    fn of(request: &mut Request) -> Rc<Self> {
        // SAFETY: the connection is alive. nginx asks the system for the address once a connection.
        if unsafe { ngx_connection_local_sockaddr(request.connection, ptr::null_mut(), 0) } != ngx::OK {
            return Rc::new(Self::UNKNOWN);
        }
        let connection = request.connection();
        let (address, length) = (connection.local_sockaddr, connection.local_socklen);
        // SAFETY: nginx has filled in the address and its length.
        let raw = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length as usize) };
        LAST.with_borrow_mut(|(known, local)| {
            if known != raw {
                // SAFETY: nginx has filled in the address and its length.
                *local = Rc::new(unsafe { Self::format(address, length) });
                known.clear();
                known.extend_from_slice(raw);
            }
            Rc::clone(local)
        })
    }

    /// # Safety
    ///
    /// `address` points to an address of this length.
    unsafe fn format(address: *mut sockaddr, length: socklen_t) -> Self {
        let mut local = Self::UNKNOWN;
        // SAFETY: the address is valid, as the caller promises; nginx cuts the text at `ADDRESS_LENGTH`.
        unsafe {
            local.length = ngx_sock_ntop(address, length, local.text.as_mut_ptr(), ADDRESS_LENGTH, 0);
            let port = ngx_inet_get_port(address);
            local.port = (port != 0).then_some(port);
        }
        local
    }

    fn text(&self) -> &[u8] {
        &self.text[..self.length]
    }

    /// Returns the name of a server that has no other: its address, or `localhost` for a Unix socket or an unknown
    /// address.
    fn name(&self) -> &[u8] {
        match self.text() {
            [] => b"localhost",
            text if text.starts_with(b"unix:") => b"localhost",
            text => text,
        }
    }
}
