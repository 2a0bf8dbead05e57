//! A request whose parts the host has already parsed.

use super::{Endpoint, HeaderField, RequestView, Scheme};
use crate::config::Variable;

/// A [`RequestView`] of borrowed data, for hosts that have all parts of a request in memory when it begins.
///
/// ```
/// use wsgi_core::host::{Endpoint, HeaderField, PlainRequest, RequestView};
///
/// let request = PlainRequest {
///     path_info: b"/here",
///     headers: &[HeaderField::new(b"Host", b"localhost:8000")],
///     ..PlainRequest::get(Endpoint { name: b"localhost", port: Some(8000) })
/// };
/// assert_eq!((request.method(), request.path_info()), (&b"GET"[..], &b"/here"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PlainRequest<'a> {
    /// See [`RequestView::method`].
    pub method: &'a [u8],
    /// See [`RequestView::scheme`].
    pub scheme: Scheme,
    /// See [`RequestView::protocol`].
    pub protocol: &'a [u8],
    /// See [`RequestView::script_name`].
    pub script_name: &'a [u8],
    /// See [`RequestView::path_info`].
    pub path_info: &'a [u8],
    /// See [`RequestView::query`].
    pub query: &'a [u8],
    /// See [`RequestView::server`].
    pub server: Endpoint<'a>,
    /// See [`RequestView::peer`].
    pub peer: Endpoint<'a>,
    /// See [`RequestView::content_length`].
    pub content_length: Option<u64>,
    /// See [`RequestView::headers`].
    pub headers: &'a [HeaderField<'a>],
    /// See [`RequestView::extra`].
    pub extra: &'a [(&'static str, &'a [u8])],
    /// See [`RequestView::variables`].
    pub variables: &'a [Variable],
}

impl<'a> PlainRequest<'a> {
    /// Returns a `GET /` request in HTTP/1.1 from an unknown client, without headers and variables.
    pub fn get(server: Endpoint<'a>) -> Self {
        Self {
            method: b"GET",
            scheme: Scheme::Http,
            protocol: b"HTTP/1.1",
            script_name: b"",
            path_info: b"/",
            query: b"",
            server,
            peer: Endpoint { name: b"", port: None },
            content_length: None,
            headers: &[],
            extra: &[],
            variables: &[],
        }
    }
}

impl RequestView for PlainRequest<'_> {
    fn method(&self) -> &[u8] {
        self.method
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn protocol(&self) -> &[u8] {
        self.protocol
    }

    fn script_name(&self) -> &[u8] {
        self.script_name
    }

    fn path_info(&self) -> &[u8] {
        self.path_info
    }

    fn query(&self) -> &[u8] {
        self.query
    }

    fn server(&self) -> Endpoint<'_> {
        self.server
    }

    fn peer(&self) -> Endpoint<'_> {
        self.peer
    }

    fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.headers.iter().copied()
    }

    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.extra.iter().copied()
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|variable| (&*variable.name, &*variable.value))
    }
}
