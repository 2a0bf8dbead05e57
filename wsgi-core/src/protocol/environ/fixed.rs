//! The variables that every request has, and those whose values depend on one another.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::path;
use crate::host::{RequestView, Scheme};

/// Number of these variables; they have the first slots.
pub(super) const COUNT: usize = 14;

/// Keys of these variables, by position.
pub(super) const KEYS: [&str; COUNT] = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "GATEWAY_INTERFACE",
    "REQUEST_SCHEME",
    "HTTPS",
    "wsgi.url_scheme",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "CONTENT_LENGTH",
];

const REQUEST_METHOD: usize = 0;
const SCRIPT_NAME: usize = 1;
const PATH_INFO: usize = 2;
const QUERY_STRING: usize = 3;
const SERVER_NAME: usize = 4;
const SERVER_PORT: usize = 5;
const SERVER_PROTOCOL: usize = 6;
const GATEWAY_INTERFACE: usize = 7;
const REQUEST_SCHEME: usize = 8;
const HTTPS: usize = 9;
const REMOTE_ADDR: usize = 11;
const REMOTE_PORT: usize = 12;
const CONTENT_LENGTH: usize = 13;

/// Positions of the variables that depend on the scheme alone, unless overridden.
pub(super) const BY_SCHEME: Range<usize> = GATEWAY_INTERFACE..REMOTE_ADDR;

/// Values of the operator that replace those of a request.
#[derive(Default)]
pub(super) struct Overrides<'a>([Option<&'a [u8]>; COUNT]);

impl<'a> Overrides<'a> {
    /// Sets the value for the key at `position`.
    pub(super) fn set(&mut self, position: usize, value: &'a [u8]) {
        self.0[position] = Some(value);
    }

    /// Returns the value of a key that may be missing: an empty override removes it.
    #[inline(always)]
    fn optional(&self, position: usize, value: Option<&'a [u8]>) -> Option<&'a [u8]> {
        match self.0[position] {
            Some(value) => Some(value).filter(|value| !value.is_empty()),
            None => value,
        }
    }

    /// Returns the value of a key that is never empty: an empty override is ignored.
    #[inline(always)]
    fn filled(&self, position: usize, value: &'a [u8]) -> Option<&'a [u8]> {
        Some(self.0[position].filter(|value| !value.is_empty()).unwrap_or(value))
    }

    /// Returns the scheme that the client uses, which may be that of a proxy in front.
    #[inline(always)]
    fn scheme(&self, connection: Scheme) -> Scheme {
        let is = |position: usize, text: &[u8]| {
            self.0[position].is_some_and(|value: &[u8]| value.eq_ignore_ascii_case(text))
        };
        if is(HTTPS, b"on") || is(HTTPS, b"1") || is(REQUEST_SCHEME, b"https") {
            Scheme::Https
        } else if is(REQUEST_SCHEME, b"http") {
            Scheme::Http
        } else {
            connection
        }
    }

    /// Returns SCRIPT_NAME and PATH_INFO. An override of SCRIPT_NAME alone moves the border between them, if the path begins
    /// with it.
    #[inline]
    fn paths<R: RequestView>(&self, request: &'a R, buffer: &'a mut Vec<u8>) -> (&'a [u8], &'a [u8]) {
        let (script, path) = (request.script_name(), request.path_info());
        match (self.0[SCRIPT_NAME].map(path::without_slash), self.0[PATH_INFO]) {
            (None, None) => (script, path),
            (None, Some(path)) => (script, path),
            (Some(script), Some(path)) => (script, path),
            (Some(wanted), None) => (wanted, path::split_again(script, path, wanted, buffer).unwrap_or(path)),
        }
    }
}

/// The scheme of the last request, and its numbers as text.
#[derive(Default)]
pub(super) struct Last {
    /// `None` after overrides.
    scheme: Option<Scheme>,
    server_port: Decimal,
    remote_port: Decimal,
    content_length: Decimal,
    /// The name of the server in brackets, if it is an address of version 6.
    bracketed: Vec<u8>,
}

/// Whether the values of [`BY_SCHEME`] equal those of the last request.
#[inline(always)]
pub(super) fn has_same_scheme<R: RequestView>(request: &R, overrides: &Overrides<'_>, last: &mut Last) -> bool {
    let plain = overrides.0[BY_SCHEME].iter().all(Option::is_none);
    let scheme = plain.then(|| request.scheme());
    let before = std::mem::replace(&mut last.scheme, scheme);
    plain && before == scheme
}

/// Returns the values of a request, by position. `buffer` must be empty, and may hold one of the values.
#[inline(always)]
pub(super) fn values<'a, R: RequestView>(
    request: &'a R,
    overrides: &Overrides<'a>,
    last: &'a mut Last,
    buffer: &'a mut Vec<u8>,
) -> [Option<&'a [u8]>; COUNT] {
    let scheme = overrides.scheme(request.scheme());
    let (scheme_name, https, default_port) = match scheme {
        Scheme::Http => (&b"http"[..], None, 80),
        Scheme::Https => (&b"https"[..], Some(&b"on"[..]), 443),
    };
    let (script, path) = overrides.paths(request, buffer);
    let (server, peer) = (request.server(), request.peer());
    let server_port = last.server_port.text(server.port.unwrap_or(default_port).into());
    let remote_port = peer.port.map(|port| last.remote_port.text(port.into()));
    let content_length = request.content_length().map(|length| last.content_length.text(length));
    [
        overrides.filled(REQUEST_METHOD, request.method()),
        Some(script),
        Some(path),
        Some(overrides.0[QUERY_STRING].unwrap_or(request.query())),
        overrides.filled(SERVER_NAME, server_name(server.name, &mut last.bracketed)),
        overrides.filled(SERVER_PORT, server_port),
        overrides.filled(SERVER_PROTOCOL, request.protocol()),
        overrides.optional(GATEWAY_INTERFACE, Some(b"CGI/1.1")),
        overrides.optional(REQUEST_SCHEME, Some(scheme_name)),
        overrides.optional(HTTPS, https),
        Some(scheme_name),
        overrides.optional(REMOTE_ADDR, Some(peer.name).filter(|name| !name.is_empty())),
        overrides.optional(REMOTE_PORT, remote_port),
        overrides.optional(CONTENT_LENGTH, content_length),
    ]
}

/// Returns an address of version 6 in brackets, as in a URL (RFC 3875, 4.1.14), and any other name unchanged.
#[inline(always)]
fn server_name<'a>(name: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    // The first character rules out most names.
    match name {
        [b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b':', ..] if name.contains(&b':') => bracketed(name, buffer),
        name => name,
    }
}

#[cold]
fn bracketed<'a>(name: &'a [u8], buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let is_address = str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv6Addr>().is_ok());
    if !is_address {
        return name;
    }
    buffer.clear();
    buffer.push(b'[');
    buffer.extend_from_slice(name);
    buffer.push(b']');
    buffer
}

/// A number and its text, which is formatted only when the number changes.
struct Decimal {
    number: u64,
    /// Right-aligned.
    text: [u8; 20],
    start: usize,
}

impl Default for Decimal {
    fn default() -> Self {
        Self { number: 0, text: [b'0'; 20], start: 19 }
    }
}

impl Decimal {
    #[inline]
    fn text(&mut self, number: u64) -> &[u8] {
        if self.number != number {
            self.write(number);
        }
        &self.text[self.start..]
    }

    fn write(&mut self, number: u64) {
        self.number = number;
        self.start = self.text.len();
        let mut rest = number;
        loop {
            self.start -= 1;
            self.text[self.start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_of_the_standard_library() {
        let mut decimal = Decimal::default();
        for number in [0, 7, 10, 0, 443, 65_535, 1_000_000, u64::MAX, u64::MAX, 80] {
            assert_eq!(decimal.text(number), number.to_string().as_bytes());
        }
    }

    #[test]
    fn only_an_address_of_version_6_is_in_brackets() {
        for (name, expected) in [
            ("::1", "[::1]"),
            ("2001:db8::5", "[2001:db8::5]"),
            ("FE80::1", "[FE80::1]"),
            ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("example.org", "example.org"),
            ("a:b", "a:b"),
            ("c", "c"),
        ] {
            assert_eq!(server_name(name.as_bytes(), &mut Vec::new()), expected.as_bytes());
        }
    }

    #[test]
    fn positions_are_those_of_the_keys() {
        let positions = [
            (REQUEST_METHOD, "REQUEST_METHOD"),
            (SCRIPT_NAME, "SCRIPT_NAME"),
            (PATH_INFO, "PATH_INFO"),
            (QUERY_STRING, "QUERY_STRING"),
            (SERVER_NAME, "SERVER_NAME"),
            (SERVER_PORT, "SERVER_PORT"),
            (SERVER_PROTOCOL, "SERVER_PROTOCOL"),
            (GATEWAY_INTERFACE, "GATEWAY_INTERFACE"),
            (REQUEST_SCHEME, "REQUEST_SCHEME"),
            (HTTPS, "HTTPS"),
            (REMOTE_ADDR, "REMOTE_ADDR"),
            (REMOTE_PORT, "REMOTE_PORT"),
            (CONTENT_LENGTH, "CONTENT_LENGTH"),
        ];
        for (position, key) in positions {
            assert_eq!(KEYS[position], key);
        }
    }
}
