//! Requests and their environ: no header of a client makes or changes another variable than the header's.

use std::collections::{BTreeMap, BTreeSet};

use wsgi_core::host::{RequestSnapshot, Scheme};
use wsgi_core::internal::model::environ::{Environ, Follower, Request, model};
use wsgi_core::protocol::Credentials;

use crate::{Numbers, fields};

/// Names of the host's variables, and below those of the operator's. Each of the latter is used once.
const EXTRA: [&str; 5] = ["REQUEST_URI", "DOCUMENT_ROOT", "SERVER_ADDR", "SSL_CIPHER", "SERVER_NAME"];
const VARIABLES: [&str; 20] = [
    "HTTP_X_USER",
    "HTTP_AUTHORIZATION",
    "HTTP_PROXY",
    "HTTP_A_B_C",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTPS",
    "REQUEST_SCHEME",
    "REQUEST_METHOD",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "QUERY_STRING",
    "PATH_INFO",
    "SCRIPT_NAME",
    "GATEWAY_INTERFACE",
    "my.app",
    "DOCUMENT_ROOT",
];

/// The input: several requests in a row, each as numbers and then its texts, names with values.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let credentials = match texts.next() {
        Some(b"passed") => Credentials::Passed,
        _ => Credentials::Withheld,
    };
    let mut follower = Follower::new(credentials);
    while let Some(numbers) = texts.next() {
        let request = request(&mut Numbers::new(numbers), &mut texts);
        let environ = follower.environ(&request);
        assert_eq!(environ, model(&request, credentials));
        assert_eq!(follower.environ(&RequestSnapshot::new(&request)), environ, "a copy says the same");
        let silent = Request { headers: Vec::new(), ..request.clone() };
        not_forged(&environ, &Follower::new(credentials).environ(&silent), &request, credentials);
    }
}

fn request<'a>(numbers: &mut Numbers<'_>, texts: &mut impl Iterator<Item = &'a [u8]>) -> Request {
    let count = numbers.below(8);
    let mut headers = Vec::new();
    for _ in 0..count {
        let (Some(name), Some(value)) = (texts.next(), texts.next()) else { break };
        headers.push((name.to_vec(), value.to_vec()));
    }
    // More names than a cache has slots.
    if numbers.below(16) == 1 {
        headers.extend((0..numbers.byte()).map(|number| (format!("X-Many-{number}").into_bytes(), vec![number])));
    }
    let bits = numbers.byte();
    let (script_name, path_info) = [("", "/"), ("/app", "/x/y"), ("", "/app/x/y"), ("/app", "")][usize::from(bits & 3)];
    let mut extra = Vec::new();
    let mut variables: Vec<(String, Vec<u8>)> = Vec::new();
    let mut named = BTreeSet::new();
    for number in 0..numbers.below(6) {
        // A host mostly has them in the same order.
        let name = EXTRA[usize::from(number.wrapping_add(bits)) % EXTRA.len()];
        if extra.iter().all(|(known, _)| *known != name) {
            extra.push((name, numbers.take(2).to_vec()));
        }
    }
    for _ in 0..numbers.below(8) {
        let name = VARIABLES[usize::from(numbers.below(VARIABLES.len() as u8))];
        let size = usize::from(numbers.below(8));
        if named.insert(name) {
            variables.push((name.to_owned(), numbers.take(size).to_vec()));
        }
    }
    // More variables than there are slots.
    if numbers.below(16) == 1 {
        let (first, value) = (u16::from(numbers.byte()) * 2, numbers.take(1));
        variables.extend((first..first + 130).map(|number| (format!("MANY_{number}"), value.to_vec())));
    }
    Request {
        method: ["GET", "HEAD", "POST"][usize::from(bits >> 2) % 3],
        scheme: if bits & 0x80 == 0 { Scheme::Http } else { Scheme::Https },
        script_name: script_name.to_owned(),
        path_info: path_info.to_owned(),
        server_port: (bits & 0x40 == 0).then_some(80),
        remote_addr: if bits & 0x20 == 0 { "127.0.0.1" } else { "" },
        content_length: (bits & 0x10 != 0).then_some(u64::from(bits)),
        // With few bits, all names collide.
        hash_mask: if numbers.flag() { 3 } else { u32::MAX },
        headers,
        extra,
        variables,
        ..Request::default()
    }
}

/// A value without spaces and tabs around it (RFC 9110, 5.5).
fn without_white_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Checks that a client controls only the variables of headers by the prefix of CGI (RFC 3875, 4.1.18), and the type of its
/// body.
fn not_forged(environ: &Environ, silent: &Environ, request: &Request, credentials: Credentials) {
    let operator = |key: &str| request.variables.iter().any(|(name, _)| name == key);
    let keys: BTreeSet<_> = environ.keys().chain(silent.keys()).collect();
    for key in keys {
        let free = key == "CONTENT_TYPE" || key.starts_with("HTTP_");
        if !free || operator(key) {
            assert_eq!(environ.get(key), silent.get(key), "{key} is changed by a header");
        }
    }
    let mut withheld = vec!["HTTP_PROXY", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"];
    if credentials == Credentials::Withheld {
        withheld.extend(["HTTP_AUTHORIZATION", "HTTP_PROXY_AUTHORIZATION"]);
    }
    for key in withheld {
        assert!(operator(key) || !environ.contains_key(key), "{key} comes from a header");
    }
    // If a name with dashes is present, headers in another spelling do not contribute to its value.
    let mut named: BTreeMap<Vec<u8>, Vec<(bool, &[u8])>> = BTreeMap::new();
    for (name, value) in &request.headers {
        let plain = name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }).collect();
        named.entry(plain).or_default().push((name.contains(&b'_'), without_white_space(value)));
    }
    for (key, value) in environ.iter().filter(|(key, _)| key.starts_with("HTTP_") && !operator(key)) {
        let headers = named.get(&key.as_bytes()[5..]).unwrap_or_else(|| panic!("{key} comes from nowhere"));
        let dashed: Vec<&[u8]> = headers.iter().filter(|(spelled, _)| !spelled).map(|(_, value)| *value).collect();
        if !dashed.is_empty() {
            let separator: &[u8] = if key == "HTTP_COOKIE" { b"; " } else { b", " };
            assert_eq!(*value, dashed.join(separator), "{key}");
        }
    }
}
