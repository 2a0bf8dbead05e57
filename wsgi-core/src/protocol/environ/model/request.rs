//! A request with chosen values, for tests.

use crate::host::{Endpoint, HeaderField, RequestView, Scheme};

/// A request of plain fields.
#[derive(Clone, Debug)]
pub struct Request {
    /// See [`RequestView`].
    pub method: &'static str,
    /// See [`RequestView`].
    pub scheme: Scheme,
    /// See [`RequestView`].
    pub script_name: String,
    /// See [`RequestView`].
    pub path_info: String,
    /// See [`RequestView`].
    pub query: String,
    /// See [`RequestView`].
    pub server_port: Option<u16>,
    /// Empty if unknown.
    pub remote_addr: &'static str,
    /// See [`RequestView`].
    pub remote_port: Option<u16>,
    /// See [`RequestView`].
    pub content_length: Option<u64>,
    /// See [`RequestView`].
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Mask of the hash bits that are used: with few bits, names collide.
    pub hash_mask: u32,
    /// See [`RequestView`].
    pub extra: Vec<(&'static str, Vec<u8>)>,
    /// See [`RequestView`].
    pub variables: Vec<(String, Vec<u8>)>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET",
            scheme: Scheme::Http,
            script_name: String::new(),
            path_info: "/".to_owned(),
            query: String::new(),
            server_port: Some(80),
            remote_addr: "127.0.0.1",
            remote_port: Some(50_000),
            content_length: None,
            headers: Vec::new(),
            hash_mask: u32::MAX,
            extra: Vec::new(),
            variables: Vec::new(),
        }
    }
}

impl Request {
    /// Adds a request header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds a variable of the host.
    pub fn extra(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.extra.push((name, value.as_ref().to_vec()));
        self
    }

    /// Adds a variable of the operator.
    pub fn variable(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Sets SCRIPT_NAME and PATH_INFO.
    pub fn at(mut self, script_name: &str, path_info: &str) -> Self {
        script_name.clone_into(&mut self.script_name);
        path_info.clone_into(&mut self.path_info);
        self
    }
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn scheme(&self) -> Scheme {
        self.scheme
    }
    fn protocol(&self) -> &[u8] {
        b"HTTP/1.1"
    }
    fn script_name(&self) -> &[u8] {
        self.script_name.as_bytes()
    }
    fn path_info(&self) -> &[u8] {
        self.path_info.as_bytes()
    }
    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }
    fn server(&self) -> Endpoint<'_> {
        Endpoint { name: b"example.org", port: self.server_port }
    }
    fn peer(&self) -> Endpoint<'_> {
        Endpoint { name: self.remote_addr.as_bytes(), port: self.remote_port }
    }
    fn content_length(&self) -> Option<u64> {
        self.content_length
    }
    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.headers.iter().map(|(name, value)| {
            let field = HeaderField::new(name, value);
            HeaderField { hash: field.hash & self.hash_mask, ..field }
        })
    }
    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.extra.iter().map(|(name, value)| (*name, value.as_slice()))
    }
    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}
