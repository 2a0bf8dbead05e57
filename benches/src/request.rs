//! Requests in memory, in the form that a server has after parsing.

use std::io::Read as _;

use wsgi_core::error::HostError;
use wsgi_core::host::{BodySource, Endpoint, HeaderField, RequestView, Scheme};

/// One request. Its header names are hashed for each use, as by a server that keeps no hashes itself.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: &'static str,
    pub query: &'static str,
    pub peer_port: u16,
    pub headers: &'static [(&'static str, &'static str)],
    pub body: Option<&'static [u8]>,
}

impl Request {
    /// A `GET` of the root with these headers.
    pub const fn get(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { method: "GET", path: "/", query: "", peer_port: 50_000, headers, body: None }
    }

    /// A `POST` of a body.
    pub const fn post(body: &'static [u8]) -> Self {
        Self { method: "POST", body: Some(body), ..Self::get(BARE) }
    }

    pub(crate) fn source(&self) -> Option<Box<dyn BodySource>> {
        self.body.map(|rest| Box::new(Source { rest }) as _)
    }
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    fn protocol(&self) -> &[u8] {
        b"HTTP/1.1"
    }

    fn script_name(&self) -> &[u8] {
        b""
    }

    fn path_info(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }

    fn server(&self) -> Endpoint<'_> {
        Endpoint { name: b"localhost", port: Some(8000) }
    }

    fn peer(&self) -> Endpoint<'_> {
        Endpoint { name: b"127.0.0.1", port: Some(self.peer_port) }
    }

    fn content_length(&self) -> Option<u64> {
        self.body.map(|body| body.len() as u64)
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.headers.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value.as_bytes()))
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        std::iter::empty()
    }
}

/// A body that has arrived in full.
struct Source {
    rest: &'static [u8],
}

impl BodySource for Source {
    fn remaining(&self) -> Option<u64> {
        Some(self.rest.len() as u64)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        Ok(self.rest.read(buf)?)
    }

    fn is_ready(&self) -> bool {
        true
    }
}

/// Headers that every client of HTTP/1.1 sends.
pub const BARE: &[(&str, &str)] = &[("Host", "localhost")];

/// Headers of a browser: eight more.
pub const BROWSER: &[(&str, &str)] = &[
    ("Host", "localhost"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cookie", "sessionid=2c3f1a0b9d8e7f6a5b4c3d2e1f0a9b8c; csrftoken=abcdefghijklmnopqrstuvwxyz012345"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Cache-Control", "max-age=0"),
    ("DNT", "1"),
];

/// Headers of another browser: every value differs, and a few names.
pub const OTHER_BROWSER: &[(&str, &str)] = &[
    ("Host", "www.localhost"),
    ("User-Agent", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.5 Safari/605.1.15"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "de-DE,de;q=0.9"),
    ("Accept-Encoding", "gzip, deflate, br"),
    ("Cookie", "sessionid=00112233445566778899aabbccddeeff; csrftoken=543210zyxwvutsrqponmlkjihgfedcba"),
    ("Sec-Fetch-Site", "none"),
    ("Cache-Control", "no-cache"),
    ("Priority", "u=0, i"),
];

/// Headers of a browser behind proxies that add many: thirty headers.
pub const THIRTY: &[(&str, &str)] = &[
    ("Host", "localhost"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cookie", "sessionid=2c3f1a0b9d8e7f6a5b4c3d2e1f0a9b8c; csrftoken=abcdefghijklmnopqrstuvwxyz012345"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Cache-Control", "max-age=0"),
    ("DNT", "1"),
    ("Referer", "http://localhost/basket"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-User", "?1"),
    ("Sec-GPC", "1"),
    ("Priority", "u=0, i"),
    ("If-None-Match", "\"2c3f1a0b9d8e7f6a\""),
    ("If-Modified-Since", "Sat, 01 Jun 2024 12:00:00 GMT"),
    ("X-Requested-With", "XMLHttpRequest"),
    ("X-Forwarded-For", "192.0.2.1, 198.51.100.2"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "shop.example.org"),
    ("X-Forwarded-Port", "443"),
    ("X-Real-IP", "192.0.2.1"),
    ("X-Request-ID", "4bf92f3577b34da6a3ce929d0e0e4736"),
    ("X-Amzn-Trace-Id", "Root=1-67891233-abcdef012345678912345678"),
    ("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("Via", "1.1 proxy.example.org"),
    ("Forwarded", "for=192.0.2.1;proto=https"),
    ("CDN-Loop", "cdn.example.org"),
];

/// Named sets of requests that the gateway's instructions are counted with. The requests of a set alternate, so in the last
/// one each request differs from the one before in nearly all parts that a client controls.
pub const SETS: [(&str, &[Request]); 3] = [
    ("bare", &[Request::get(BARE)]),
    ("browser", &[Request::get(BROWSER)]),
    (
        "changing",
        &[
            Request::get(BROWSER),
            Request { path: "/shop/basket", query: "page=2", peer_port: 51_234, ..Request::get(OTHER_BROWSER) },
        ],
    ),
];
