//! The cache against a model: whatever requests come, in whatever order, a dictionary that follows its reports is the
//! environ that the rules give for the last of them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use proptest::prelude::*;

use super::*;
use crate::host::{Endpoint, HeaderField, RequestView, Scheme};

/// A request of plain fields.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: &'static str,
    scheme: Scheme,
    script_name: String,
    path_info: String,
    query: String,
    server_port: Option<u16>,
    remote_port: Option<u16>,
    content_length: Option<u64>,
    headers: Vec<(String, Vec<u8>)>,
    extra: Vec<(&'static str, Vec<u8>)>,
    variables: Vec<(String, Vec<u8>)>,
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
            remote_port: Some(50_000),
            content_length: None,
            headers: Vec::new(),
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

    fn extra(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.extra.push((name, value.as_ref().to_vec()));
        self
    }

    fn variable(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.variables.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn at(mut self, script_name: &str, path_info: &str) -> Self {
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
        Endpoint { name: b"127.0.0.1", port: self.remote_port }
    }
    fn content_length(&self) -> Option<u64> {
        self.content_length
    }
    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        self.headers.iter().map(|(name, value)| HeaderField::new(name.as_bytes(), value))
    }
    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.extra.iter().map(|(name, value)| (*name, value.as_slice()))
    }
    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

type Environ = BTreeMap<String, Vec<u8>>;

/// A dictionary that follows the reports of a cache, as strict as Python's.
#[derive(Default)]
struct Dictionary {
    held: Environ,
    keys: HashMap<SlotId, String>,
    once: Environ,
    reports: usize,
}

impl Dictionary {
    fn check(&mut self, slot: SlotId, key: &str) {
        assert!(slot.index() < 500);
        assert_eq!(self.keys.entry(slot).or_insert_with(|| key.to_owned()), key, "a slot keeps its key");
        self.reports += 1;
    }
}

impl Changes for Dictionary {
    fn set(&mut self, slot: SlotId, key: &str, value: &[u8]) {
        self.check(slot, key);
        let before = self.held.insert(key.to_owned(), value.to_vec());
        assert_ne!(before.as_deref(), Some(value), "{key} is set to what it is");
    }
    fn remove(&mut self, slot: SlotId, key: &str) {
        self.check(slot, key);
        assert!(self.held.remove(key).is_some(), "{key} is removed, but not there");
    }
    fn once(&mut self, key: &str, value: &[u8]) {
        self.reports += 1;
        assert!(self.once.insert(key.to_owned(), value.to_vec()).is_none(), "{key} is reported twice");
    }
}

struct Follower {
    cache: EnvironCache,
    dictionary: Dictionary,
}

impl Follower {
    fn new() -> Self {
        Self { cache: EnvironCache::new(), dictionary: Dictionary::default() }
    }

    fn environ(&mut self, request: &Request) -> Environ {
        self.dictionary.once.clear();
        self.dictionary.reports = 0;
        self.cache.update(request, &mut self.dictionary);
        let mut environ = self.dictionary.held.clone();
        environ.append(&mut self.dictionary.once);
        environ
    }
}

/// The rules, in the order in which they are written: values of the server, headers, then the operator's changes.
fn model(request: &Request) -> Environ {
    let mut environ = Environ::new();
    let mut put = |key: &str, value: &[u8]| environ.insert(key.to_owned(), value.to_vec());
    let wants = |key: &str| request.variables.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());

    let wants_https = matches!(wants("HTTPS"), Some(b"on" | b"1")) || wants("REQUEST_SCHEME") == Some(b"https");
    let wants_http = wants("REQUEST_SCHEME") == Some(b"http");
    let https = wants_https || (request.scheme == Scheme::Https && !wants_http);
    let scheme: &[u8] = if https { b"https" } else { b"http" };
    put("REQUEST_METHOD", request.method.as_bytes());
    put("SCRIPT_NAME", request.script_name.as_bytes());
    put("PATH_INFO", request.path_info.as_bytes());
    put("QUERY_STRING", request.query.as_bytes());
    put("SERVER_NAME", b"example.org");
    put("SERVER_PORT", request.server_port.unwrap_or(if https { 443 } else { 80 }).to_string().as_bytes());
    put("SERVER_PROTOCOL", b"HTTP/1.1");
    put("GATEWAY_INTERFACE", b"CGI/1.1");
    put("REQUEST_SCHEME", scheme);
    put("wsgi.url_scheme", scheme);
    put("REMOTE_ADDR", b"127.0.0.1");
    if https {
        put("HTTPS", b"on");
    }
    if let Some(port) = request.remote_port {
        put("REMOTE_PORT", port.to_string().as_bytes());
    }
    if let Some(length) = request.content_length {
        put("CONTENT_LENGTH", length.to_string().as_bytes());
    }
    for (key, value) in &request.extra {
        put(key, value);
    }

    let (spelled, dashed): (Vec<_>, Vec<_>) = request.headers.iter().partition(|(name, _)| name.contains('_'));
    let mut names: HashMap<String, String> = HashMap::new();
    for (name, value) in dashed.into_iter().chain(spelled) {
        let name = name.to_lowercase();
        let key = match name.replace('-', "_").as_str() {
            "content_type" if name == "content-type" => "CONTENT_TYPE".to_owned(),
            "authorization" | "proxy_authorization" | "proxy" | "transfer_encoding" | "keep_alive" => continue,
            "content_type" | "content_length" => continue,
            plain => format!("HTTP_{}", plain.to_uppercase()),
        };
        if let Some(first) = names.get(&key) {
            if *first == name {
                let joined = environ.get_mut(&key).unwrap();
                joined.extend_from_slice(if name == "cookie" { b"; " } else { b", " });
                joined.extend_from_slice(value);
            }
        } else {
            environ.insert(key.clone(), value.clone());
            names.insert(key, name);
        }
    }

    let whole = format!("{}{}", request.script_name, request.path_info);
    for (key, value) in &request.variables {
        match (key.as_str(), value.is_empty()) {
            ("SCRIPT_NAME", _) => {
                let script = String::from_utf8(value.clone()).unwrap().trim_end_matches('/').to_owned();
                if let Some(rest) = whole.strip_prefix(&script)
                    && wants("PATH_INFO").is_none()
                    && (rest.is_empty() || rest.starts_with('/'))
                {
                    environ.insert("PATH_INFO".to_owned(), rest.into());
                }
                environ.insert(key.clone(), script.into());
            }
            ("REQUEST_METHOD" | "SERVER_NAME" | "SERVER_PORT" | "SERVER_PROTOCOL", true) => {}
            ("PATH_INFO" | "QUERY_STRING", _) | (_, false) => {
                environ.insert(key.clone(), value.clone());
            }
            (_, true) => {
                environ.remove(key);
            }
        }
    }
    environ
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
        (prop::option::of(79..81u16), prop::option::of(1..3u16), prop::option::of(0..2u64)),
    );
    let headers = prop::collection::vec((name, value.clone()), 0..40);
    let request = (line, headers, extra, prop::collection::vec(value, 4), variables).prop_map(
        |((method, https, (script_name, path_info), query, numbers), headers, extra, values, variables)| Request {
            method,
            scheme: if https { Scheme::Https } else { Scheme::Http },
            script_name: script_name.to_owned(),
            path_info: path_info.to_owned(),
            query: query.to_owned(),
            server_port: numbers.0,
            remote_port: numbers.1,
            content_length: numbers.2,
            headers,
            extra: extra.into_iter().zip(values).collect(),
            variables,
        },
    );
    prop::collection::vec(request, count)
}

proptest! {
    #[test]
    fn dictionary_is_the_environ_of_the_last_request(requests in requests(1..30)) {
        let mut follower = Follower::new();
        for request in &requests {
            prop_assert_eq!(follower.environ(request), model(request));
            let held = follower.dictionary.held.values();
            prop_assert!(held.clone().all(|value| value.len() <= 256));
        }
    }

    #[test]
    fn same_request_again_changes_nothing(requests in requests(1..4)) {
        let mut follower = Follower::new();
        for request in &requests {
            let environ = follower.environ(request);
            let short = environ.iter().all(|(key, value)| value.len() <= 256 && key.len() < 64);
            prop_assert_eq!(follower.environ(request), environ);
            if short {
                prop_assert_eq!(follower.dictionary.reports, 0);
            }
        }
    }
}

/// The environ of one request with a new cache.
fn environ(request: &Request) -> BTreeMap<String, String> {
    Follower::new().environ(request).into_iter().map(|(key, value)| (key, String::from_utf8(value).unwrap())).collect()
}

#[test]
fn bare_request_has_what_cgi_requires() {
    let environ = environ(&Request::default());
    let expected = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("PATH_INFO", "/"),
        ("QUERY_STRING", ""),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "50000"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_SCHEME", "http"),
        ("SCRIPT_NAME", ""),
        ("SERVER_NAME", "example.org"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("wsgi.url_scheme", "http"),
    ];
    assert!(environ.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected), "{environ:?}");
}

#[test]
fn repeated_headers_are_joined_in_order() {
    let request = Request::default()
        .header("Cookie", "a=1")
        .header("Via", "x")
        .header("cookie", "b=2")
        .header("VIA", "y")
        .header("Via", "z");
    let environ = environ(&request);
    assert_eq!(environ["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(environ["HTTP_VIA"], "x, y, z");
}

#[test]
fn credentials_and_framing_are_withheld_however_they_are_spelled() {
    for name in [
        "Authorization",
        "Proxy-Authorization",
        "Proxy",
        "Transfer-Encoding",
        "Keep-Alive",
        "Content-Length",
        "Content_Type",
    ] {
        for name in [name.to_owned(), name.to_lowercase(), name.replace('-', "_")] {
            let environ = environ(&Request::default().header(&name, "1"));
            assert!(environ.keys().all(|key| !key.starts_with("HTTP_") && !key.starts_with("CONTENT_")), "{name}");
        }
    }
}

#[test]
fn name_that_is_no_token_is_dropped() {
    for name in ["", "X User", "X(User", "X\u{e9}", "X:"] {
        assert_eq!(environ(&Request::default().header(name, "1")), environ(&Request::default()), "{name:?}");
    }
}

#[test]
fn underscore_form_yields_to_the_dashed_one() {
    for names in [["X-User", "X_User"], ["X_User", "X-User"]] {
        let request = names.iter().fold(Request::default(), |request, name| request.header(name, name));
        assert_eq!(environ(&request)["HTTP_X_USER"], "X-User");
    }
    let alone = Request::default().header("X_User", "a").header("x_user", "b");
    assert_eq!(environ(&alone)["HTTP_X_USER"], "a, b");
}

#[test]
fn script_name_of_the_operator_moves_the_border_of_the_path() {
    let request = Request::default().at("", "/shop/cart").variable("SCRIPT_NAME", "/shop");
    let environ_of = |request: &Request| {
        let environ = environ(request);
        (environ["SCRIPT_NAME"].clone(), environ["PATH_INFO"].clone())
    };
    assert_eq!(environ_of(&request), ("/shop".to_owned(), "/cart".to_owned()));
    let request = request.variable("PATH_INFO", "/other");
    assert_eq!(environ_of(&request), ("/shop".to_owned(), "/other".to_owned()));
    let request = Request::default().at("/app", "/x").variable("PATH_INFO", "");
    assert_eq!(environ_of(&request), ("/app".to_owned(), String::new()));
}

#[test]
fn proxy_in_front_may_end_tls() {
    for (name, value) in [("HTTPS", "on"), ("HTTPS", "1"), ("REQUEST_SCHEME", "https")] {
        let request = Request { server_port: None, ..Request::default() }.variable(name, value);
        let environ = environ(&request);
        assert_eq!((environ["wsgi.url_scheme"].as_str(), environ["SERVER_PORT"].as_str()), ("https", "443"), "{name}");
    }
}

#[test]
fn operator_wins_over_host_and_client() {
    let request = Request::default()
        .extra("DOCUMENT_ROOT", "/srv")
        .header("X-Test", "evil")
        .header("X-Secret", "1")
        .header("Proxy", "http://evil")
        .variable("HTTP_X_TEST", "forced")
        .variable("HTTP_X_SECRET", "")
        .variable("HTTP_PROXY", "http://p")
        .variable("DOCUMENT_ROOT", "/www");
    let environ = environ(&request);
    assert_eq!(environ["HTTP_X_TEST"], "forced");
    assert_eq!(environ["HTTP_PROXY"], "http://p");
    assert_eq!(environ["DOCUMENT_ROOT"], "/www");
    assert!(!environ.contains_key("HTTP_X_SECRET"));
}

#[test]
fn flood_of_names_takes_no_slot_of_a_usual_one() {
    let mut follower = Follower::new();
    for number in 0..1000 {
        follower.environ(&Request::default().header(&format!("X-Flood-{number}"), "1"));
    }
    let request = Request::default().header("User-Agent", "curl").variable("HTTP_X_MINE", "1");
    follower.environ(&request);
    follower.environ(&request);
    assert_eq!(follower.dictionary.reports, 0);
    assert!(follower.dictionary.keys.len() < 200);
}

#[test]
fn long_value_is_not_kept() {
    let mut follower = Follower::new();
    let long = Request::default().header("Cookie", "c".repeat(300));
    for _ in 0..2 {
        assert_eq!(follower.environ(&long)["HTTP_COOKIE"].len(), 300);
        assert_eq!(follower.dictionary.held["HTTP_COOKIE"], b"");
    }
    assert!(!follower.environ(&Request::default()).contains_key("HTTP_COOKIE"));
}
