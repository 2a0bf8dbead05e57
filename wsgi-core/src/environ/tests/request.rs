//! Requests of plain fields, and random ones.

use std::ops::Range;

use proptest::prelude::*;

use crate::host::{Endpoint, HeaderField, RequestView, Scheme};

/// A request of plain fields.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) method: &'static str,
    pub(super) scheme: Scheme,
    pub(super) script_name: String,
    pub(super) path_info: String,
    pub(super) query: String,
    pub(super) server_port: Option<u16>,
    /// Empty if unknown.
    pub(super) remote_addr: &'static str,
    pub(super) remote_port: Option<u16>,
    pub(super) content_length: Option<u64>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// Bits of a hash that are used: with few of them names collide.
    pub(super) hash_mask: u32,
    pub(super) extra: Vec<(&'static str, Vec<u8>)>,
    pub(super) variables: Vec<(String, Vec<u8>)>,
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
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn extra(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.extra.push((name, value.as_ref().to_vec()));
        self
    }

    pub(super) fn variable(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn at(mut self, script_name: &str, path_info: &str) -> Self {
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
            let field = HeaderField::new(name.as_bytes(), value);
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

/// Some requests in a row. Values come from small sets, so that they are often the same twice.
pub(crate) fn requests(count: Range<usize>) -> impl Strategy<Value = Vec<Request>> {
    let name = prop_oneof![
        6 => prop::sample::select(vec![
            "Host", "host", "User-Agent", "Cookie", "cookie", "X-User", "X_User", "x_user", "A-B_C", "A_B-C", "A-B-C",
            "Content-Type", "Content_Type", "Content-Length", "Authorization", "Proxy_Authorization", "Proxy",
            "Transfer-Encoding", "Keep-Alive", "keep_alive", "X-Secret",
        ])
        .prop_map(str::to_owned),
        2 => (0..400u32).prop_map(|number| format!("X-Name-{number}")),
        1 => (0..400u32).prop_map(|number| format!("X_Name-{number}")),
        1 => (60..70usize).prop_map(|length| "L".repeat(length)),
    ];
    let value = prop_oneof![
        6 => prop::sample::select(vec!["", "a", "b", "a, b"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => (254..259usize, b'a'..b'c').prop_map(|(length, byte)| vec![byte; length]),
    ];
    let variable = prop_oneof![
        8 => prop::sample::select(vec![
            "HTTP_X_USER", "HTTP_AUTHORIZATION", "HTTP_X_SECRET", "HTTP_A_B_C", "CONTENT_TYPE", "CONTENT_LENGTH", "HTTPS",
            "REQUEST_SCHEME", "REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "REMOTE_ADDR",
            "QUERY_STRING", "PATH_INFO", "GATEWAY_INTERFACE", "my.app", "DOCUMENT_ROOT",
        ])
        .prop_map(str::to_owned),
        1 => (0..400u32).prop_map(|number| format!("HTTP_X_NAME_{number}")),
    ];
    let setting = prop_oneof![
        4 => (variable, value.clone()),
        1 => (Just("SCRIPT_NAME".to_owned()), prop::sample::select(vec!["", "/", "/app", "/app/x/", "/ap", "/other"])
            .prop_map(|text| text.as_bytes().to_vec())),
        1 => (Just("HTTPS".to_owned()), prop::sample::select(vec!["on", "1", "off"])
            .prop_map(|text| text.as_bytes().to_vec())),
        1 => (Just("REQUEST_SCHEME".to_owned()), prop::sample::select(vec!["http", "https"])
            .prop_map(|text| text.as_bytes().to_vec())),
    ];
    let variables = prop::collection::vec(setting, 0..5).prop_map(|mut list| {
        // Each name at most once.
        let mut known = Vec::new();
        list.retain(|(name, _)| {
            !known.contains(name) && {
                known.push(name.clone());
                true
            }
        });
        list
    });
    let extra = prop::sample::subsequence(vec!["REQUEST_URI", "DOCUMENT_ROOT", "SERVER_ADDR", "SSL_CIPHER"], 0..=4);
    let line = (
        prop::sample::select(vec!["GET", "HEAD", "POST"]),
        prop::bool::weighted(0.2),
        prop::sample::select(vec![("", "/"), ("/app", "/x/y"), ("", "/app/x/y"), ("/app", ""), ("", "/apple")]),
        prop::sample::select(vec!["", "q=1"]),
        (
            prop::option::of(79..81u16),
            prop::sample::select(vec!["127.0.0.1", ""]),
            prop::option::of(1..3u16),
            prop::option::of(0..2u64),
        ),
    );
    let headers = prop::collection::vec((name, value.clone()), 0..40);
    let hash_mask = prop_oneof![Just(u32::MAX), Just(3)];
    let headers = (headers, hash_mask);
    let request = (line, headers, extra, prop::collection::vec(value, 4), variables).prop_map(
        |(
            (method, https, (script_name, path_info), query, numbers),
            (headers, hash_mask),
            extra,
            values,
            variables,
        )| Request {
            method,
            scheme: if https { Scheme::Https } else { Scheme::Http },
            script_name: script_name.to_owned(),
            path_info: path_info.to_owned(),
            query: query.to_owned(),
            server_port: numbers.0,
            remote_addr: numbers.1,
            remote_port: numbers.2,
            content_length: numbers.3,
            headers,
            hash_mask,
            extra: extra.into_iter().zip(values).collect(),
            variables,
        },
    );
    prop::collection::vec(request, count)
}
