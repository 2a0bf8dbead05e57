//! Requests for the gateway.

use bytes::Bytes;
use wsgi_core::error::HostError;
use wsgi_core::host::{BodySource, Endpoint, HeaderField, Mount, RequestView, Scheme, decode_path, split_path};

/// A request for the gateway, built from an [`http::Request`].
#[derive(Clone, Debug)]
pub struct Request {
    inner: http::Request<Bytes>,
    /// The decoded path.
    path: Vec<u8>,
    scheme: Scheme,
    prefix: String,
    server_port: Option<u16>,
    variables: Vec<(String, Vec<u8>)>,
    body_plan: Body,
    content_length: Option<u64>,
}

/// How the body arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it, from memory.
    Whole,
    /// At most this many bytes with each read.
    Pieces(usize),
    /// The client leaves after this many bytes.
    CutAfter(usize),
}

/// Creates a `GET` request for a path and query.
pub fn get(target: &str) -> Request {
    Request::new(http::Request::get(target).body(Bytes::new()).expect("a valid target"))
}

/// Creates a `POST` request with a body.
pub fn post(target: &str, body: impl Into<Bytes>) -> Request {
    Request::new(http::Request::post(target).body(body.into()).expect("a valid target"))
}

impl Request {
    /// Creates a request from an [`http::Request`]. A body that is not empty gets a content length; the path is decoded.
    /// Panics if hosts would refuse the path ([`decode_path`]).
    pub fn new(inner: http::Request<Bytes>) -> Self {
        let content_length = (!inner.body().is_empty()).then(|| inner.body().len() as u64);
        Self {
            path: decode_path(inner.uri().path().as_bytes()).expect("a path that hosts do not refuse").into_owned(),
            inner,
            scheme: Scheme::Http,
            prefix: String::new(),
            server_port: Some(80),
            variables: Vec::new(),
            body_plan: Body::Whole,
            content_length,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = http::HeaderValue::from_bytes(value.as_ref()).expect("a valid header value");
        self.inner.headers_mut().append(name, value);
        self
    }

    /// Changes the method.
    pub fn method(mut self, method: &str) -> Self {
        *self.inner.method_mut() = method.parse().expect("a valid method");
        self
    }

    /// Sets an operator's variable (`wsgi_var`).
    pub fn variable(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Mounts the application below a path prefix.
    pub fn mounted_at(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// Sets the scheme to https, as if by TLS.
    pub fn https(mut self) -> Self {
        self.scheme = Scheme::Https;
        self.server_port = Some(443);
        self
    }

    /// Sets how the body arrives.
    pub fn body_arrives(mut self, plan: Body) -> Self {
        self.body_plan = plan;
        self
    }

    /// Makes the length of the body unknown, as with chunked coding in a host that does not collect it.
    pub fn unknown_length(mut self) -> Self {
        self.content_length = None;
        self
    }

    /// Makes it a request of HTTP/1.0.
    pub fn http_1_0(mut self) -> Self {
        *self.inner.version_mut() = http::Version::HTTP_10;
        self
    }

    /// Whether the method is HEAD.
    pub fn is_head(&self) -> bool {
        self.inner.method() == http::Method::HEAD
    }

    /// Returns the request as sent in HTTP/1 (RFC 9112): with a `Content-Length` if there is a body, or chunked if its length
    /// is [not known](Self::unknown_length). Header names are in lower case.
    pub fn to_bytes(&self) -> Vec<u8> {
        let target = self.inner.uri().path_and_query().map_or("/", |target| target.as_str());
        let version = if self.inner.version() == http::Version::HTTP_10 { "1.0" } else { "1.1" };
        let mut bytes = format!("{} {target} HTTP/{version}\r\n", self.inner.method()).into_bytes();
        for (name, value) in self.inner.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        let body = self.inner.body();
        let chunk = match self.body_plan {
            Body::Pieces(size) => size,
            Body::Whole | Body::CutAfter(_) => body.len().max(1),
        };
        match self.content_length {
            Some(length) => bytes.extend(format!("content-length: {length}\r\n\r\n").into_bytes()),
            None if body.is_empty() => bytes.extend(b"\r\n"),
            None => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for block in body.chunks(chunk) {
                    bytes.extend([format!("{:x}\r\n", block.len()).as_bytes(), block, b"\r\n"].concat());
                }
                bytes.extend(b"0\r\n\r\n");
                return bytes;
            }
        }
        bytes.extend_from_slice(body);
        bytes
    }

    /// Returns the body, as a host passes it to the gateway; `None` if there is none.
    pub fn source(&self) -> Option<Box<dyn BodySource>> {
        (!self.inner.body().is_empty()).then(|| {
            Box::new(Source {
                whole: self.inner.body().clone(),
                rest: self.inner.body().clone(),
                plan: self.body_plan,
                known: self.content_length.is_some(),
            }) as Box<dyn BodySource>
        })
    }
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.inner.method().as_str().as_bytes()
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn protocol(&self) -> &[u8] {
        match self.inner.version() {
            http::Version::HTTP_09 => b"HTTP/0.9",
            http::Version::HTTP_10 => b"HTTP/1.0",
            http::Version::HTTP_2 => b"HTTP/2.0",
            http::Version::HTTP_3 => b"HTTP/3.0",
            _ => b"HTTP/1.1",
        }
    }

    fn script_name(&self) -> &[u8] {
        split_path(&self.path, Mount::Prefix(self.prefix.as_bytes())).0
    }

    fn path_info(&self) -> &[u8] {
        split_path(&self.path, Mount::Prefix(self.prefix.as_bytes())).1
    }

    fn query(&self) -> &[u8] {
        self.inner.uri().query().unwrap_or_default().as_bytes()
    }

    fn server(&self) -> Endpoint<'_> {
        Endpoint { name: b"testkit", port: self.server_port }
    }

    fn peer(&self) -> Endpoint<'_> {
        Endpoint { name: b"127.0.0.1", port: Some(50_000) }
    }

    fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.inner.headers().iter().map(|(name, value)| HeaderField::new(name.as_str().as_bytes(), value.as_bytes()))
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

struct Source {
    whole: Bytes,
    rest: Bytes,
    plan: Body,
    known: bool,
}

impl BodySource for Source {
    fn remaining(&self) -> Option<u64> {
        self.known.then_some(self.rest.len() as u64)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, HostError> {
        let mut count = buf.len().min(self.rest.len());
        match &mut self.plan {
            Body::Whole => {}
            Body::Pieces(size) => count = count.min(*size),
            Body::CutAfter(left) => {
                if *left == 0 {
                    return Err(HostError::ClientGone);
                }
                count = count.min(*left);
                *left -= count;
            }
        }
        buf[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }

    fn is_ready(&self) -> bool {
        self.plan == Body::Whole
    }

    fn length(&self) -> Option<u64> {
        (self.known && self.plan == Body::Whole).then_some(self.whole.len() as u64)
    }

    fn seek(&mut self, position: u64) {
        let position = usize::try_from(position).unwrap_or(usize::MAX).min(self.whole.len());
        self.rest = self.whole.slice(position..);
    }
}

#[cfg(test)]
mod tests {
    use wsgi_core::host::RequestView as _;

    use super::get;

    #[test]
    fn the_path_is_decoded_and_the_query_is_not() {
        let request = get("/%C3%a9%20x//%25?q=%20");
        assert_eq!(request.path_info(), "/é x/%".as_bytes());
        assert_eq!(request.query(), b"q=%20");
    }
}
