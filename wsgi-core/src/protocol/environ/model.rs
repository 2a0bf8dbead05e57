//! A second implementation of the rules of environ, without a cache; and a dictionary that follows the reports of a cache,
//! for comparison.

use std::collections::{BTreeMap, HashMap};

pub use self::request::Request;
use super::{Changes, Credentials, EnvironCache, SlotId, fixed};
use crate::host::{RequestView, Scheme};

mod request;

/// Keys and values as an application sees them.
pub type Environ = BTreeMap<String, Vec<u8>>;

/// A dictionary that applies the reports of a cache. Panics if a report changes nothing, or removes a missing key.
#[derive(Default)]
pub(super) struct Dictionary {
    pub(super) held: Environ,
    pub(super) keys: HashMap<SlotId, String>,
    once: Environ,
    pub(super) reports: usize,
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

/// A dictionary and its cache.
pub struct Follower {
    pub(super) cache: EnvironCache,
    pub(super) dictionary: Dictionary,
}

impl Follower {
    /// Creates an empty dictionary.
    pub fn new(credentials: Credentials) -> Self {
        Self { cache: EnvironCache::new(credentials), dictionary: Dictionary::default() }
    }

    /// Returns the environ that an application gets for a request.
    pub fn environ(&mut self, request: &impl RequestView) -> Environ {
        self.dictionary.once.clear();
        self.dictionary.reports = 0;
        self.cache.update(request, &mut self.dictionary);
        let mut environ = self.dictionary.held.clone();
        environ.append(&mut self.dictionary.once);
        environ
    }
}

/// Implements the rules in the order of their description: values of the server, headers, then the operator's changes.
pub fn model(request: &Request, credentials: Credentials) -> Environ {
    let mut environ = Environ::new();
    let mut put = |key: &str, value: &[u8]| environ.insert(key.to_owned(), value.to_vec());
    let wants = |key: &str| request.variables.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice());

    let says = |key: &str, text: &[u8]| wants(key).is_some_and(|value| value.eq_ignore_ascii_case(text));
    let wants_https = says("HTTPS", b"on") || says("HTTPS", b"1") || says("REQUEST_SCHEME", b"https");
    let wants_http = says("REQUEST_SCHEME", b"http");
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
    if !request.remote_addr.is_empty() {
        put("REMOTE_ADDR", request.remote_addr.as_bytes());
    }
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
        // A host cannot change the variables that the gateway makes itself.
        if !fixed::KEYS.contains(key) {
            put(key, value);
        }
    }

    let (spelled, dashed): (Vec<_>, Vec<_>) = request.headers.iter().partition(|(name, _)| name.contains(&b'_'));
    let mut names: HashMap<String, String> = HashMap::new();
    for (name, value) in dashed.into_iter().chain(spelled) {
        let token = |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
        let Some(name) =
            String::from_utf8(name.to_ascii_lowercase()).ok().filter(|name| name.bytes().all(|b| token(&b)))
        else {
            continue;
        };
        let key = match name.replace('-', "_").as_str() {
            "" => continue,
            "content_type" if name == "content-type" => "CONTENT_TYPE".to_owned(),
            "authorization" | "proxy_authorization" if credentials == Credentials::Withheld => continue,
            "proxy" | "transfer_encoding" | "keep_alive" => continue,
            "content_type" | "content_length" => continue,
            plain => format!("HTTP_{}", plain.to_uppercase()),
        };
        let outer = |byte: &u8| matches!(byte, b' ' | b'\t');
        let end = value.iter().rposition(|byte| !outer(byte)).map_or(0, |last| last + 1);
        let value = &value[value[..end].iter().position(|byte| !outer(byte)).unwrap_or(end)..end];
        if let Some(first) = names.get(&key) {
            if *first == name {
                let joined = environ.get_mut(&key).unwrap();
                joined.extend_from_slice(if name == "cookie" { b"; " } else { b", " });
                joined.extend_from_slice(value);
            }
        } else {
            environ.insert(key.clone(), value.to_vec());
            names.insert(key, name);
        }
    }

    let whole = format!("{}{}", request.script_name, request.path_info);
    for (key, value) in &request.variables {
        match (key.as_str(), value.is_empty()) {
            ("SCRIPT_NAME", _) => {
                let end = value.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
                let script = &value[..end];
                if let Some(rest) = whole.as_bytes().strip_prefix(script)
                    && wants("PATH_INFO").is_none()
                    && (rest.is_empty() || rest.starts_with(b"/"))
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
