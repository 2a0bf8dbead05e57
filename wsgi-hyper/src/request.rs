//! A request of the crate `http` as the gateway reads it.

use std::borrow::Cow;

use http::header::HOST;
use http::request::Parts;
use http::{Method, StatusCode, Version};
use wsgi_core::config::Variable;
use wsgi_core::host::{Endpoint, HeaderField, RequestView, Scheme, decode_path, decode_prefix, host_and_port};

use crate::connection::Addresses;

/// The path at which the application is mounted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mount {
    /// Decoded; empty, or `/...` without a trailing slash.
    prefix: Vec<u8>,
    /// Whether the server has removed the prefix from the path.
    stripped: bool,
}

impl Mount {
    /// Panics if no path can begin with the prefix.
    pub(crate) fn new(prefix: &str, stripped: bool) -> Self {
        let decoded = decode_prefix(prefix);
        let prefix = decoded.unwrap_or_else(|| panic!("no path of a request begins with the prefix {prefix:?}"));
        Self { prefix, stripped }
    }

    /// Returns the full path, or `None` if it is outside of the mount.
    fn whole<'a>(&self, path: Cow<'a, [u8]>) -> Option<Cow<'a, [u8]>> {
        if self.stripped {
            return Some(Cow::Owned([&*self.prefix, &path].concat()));
        }
        let rest = path.strip_prefix(&*self.prefix)?;
        (rest.is_empty() || rest[0] == b'/').then_some(path)
    }
}

/// Name and port of a server.
type Server<'a> = (Cow<'a, str>, Option<u16>);

/// A request and the values that take more than a field access.
pub(crate) struct View<'a> {
    parts: &'a Parts,
    /// The full path, decoded.
    path: Cow<'a, [u8]>,
    /// Length of SCRIPT_NAME in `path`.
    script: usize,
    uri: Cow<'a, str>,
    scheme: Scheme,
    server: Server<'a>,
    known: &'a Addresses,
    content_length: Option<u64>,
    software: &'a str,
    variables: &'a [Variable],
}

impl<'a> View<'a> {
    /// Reads a request. The error is the status to refuse it with.
    pub(crate) fn new(
        parts: &'a Parts,
        known: &'a Addresses,
        mount: &'a Mount,
        content_length: Option<u64>,
        software: &'a str,
        variables: &'a [Variable],
    ) -> Result<Self, StatusCode> {
        // CONNECT is for proxies, and TRACE would reveal the headers that a proxy has added. nginx refuses both.
        if matches!(parts.method, Method::CONNECT | Method::TRACE) {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        let path = decode_path(parts.uri.path().as_bytes()).ok_or(StatusCode::BAD_REQUEST)?;
        let path = mount.whole(path).ok_or(StatusCode::NOT_FOUND)?;
        let sent = parts.uri.path_and_query().map_or("/", |sent| sent.as_str());
        let uri = match mount.stripped {
            true => Cow::Owned(encode(&mount.prefix) + sent),
            false => Cow::Borrowed(sent),
        };
        let (name, port) = match (requested(parts)?, &known.local) {
            (Some((name, port)), local) => (name, local.as_ref().map(|local| local.port).or(port)),
            (None, Some(local)) => (Cow::Borrowed(&*local.name), Some(local.port)),
            (None, None) => (Cow::Borrowed("localhost"), None),
        };
        Ok(Self {
            parts,
            script: mount.prefix.len(),
            path,
            uri,
            // The scheme in the request line and `:scheme` of HTTP/2 are chosen by the client, and are ignored.
            scheme: known.scheme,
            server: (name, port),
            known,
            content_length,
            software,
            variables,
        })
    }
}

/// Returns the host and port that the client requests, from the request line (RFC 9112, 3.2.2) or the Host header;
/// `None` if that is empty or missing.
fn requested(parts: &Parts) -> Result<Option<Server<'_>>, StatusCode> {
    let authority = match (parts.uri.authority(), parts.headers.get(HOST)) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) if !host.is_empty() => host.as_bytes(),
        (None, _) => return Ok(None),
    };
    host_and_port(authority).map(Some).ok_or(StatusCode::BAD_REQUEST)
}

impl RequestView for View<'_> {
    fn method(&self) -> &[u8] {
        self.parts.method.as_str().as_bytes()
    }

    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn protocol(&self) -> &[u8] {
        match self.parts.version {
            Version::HTTP_09 => b"HTTP/0.9",
            Version::HTTP_10 => b"HTTP/1.0",
            Version::HTTP_2 => b"HTTP/2.0",
            Version::HTTP_3 => b"HTTP/3.0",
            _ => b"HTTP/1.1",
        }
    }

    fn script_name(&self) -> &[u8] {
        &self.path[..self.script]
    }

    fn path_info(&self) -> &[u8] {
        &self.path[self.script..]
    }

    fn query(&self) -> &[u8] {
        self.parts.uri.query().unwrap_or_default().as_bytes()
    }

    fn server(&self) -> Endpoint<'_> {
        Endpoint { name: self.server.0.as_bytes(), port: self.server.1 }
    }

    fn peer(&self) -> Endpoint<'_> {
        match &self.known.peer {
            Some(peer) => Endpoint { name: peer.name.as_bytes(), port: Some(peer.port) },
            None => Endpoint { name: b"", port: None },
        }
    }

    fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    fn headers(&self) -> impl Iterator<Item = HeaderField<'_>> {
        // A host in the request line takes precedence over the Host header (RFC 9112, 3.2.2; RFC 9113, 8.3.1), and is
        // often the only one.
        let target = self.parts.uri.authority().map(|host| HeaderField::new(b"host", host.as_str().as_bytes()));
        let replaced = target.is_some();
        let others =
            self.parts.headers.iter().filter(move |(name, _)| is_plain(name.as_str()) && !(replaced && **name == HOST));
        target
            .into_iter()
            .chain(others.map(|(name, value)| HeaderField::new(name.as_str().as_bytes(), value.as_bytes())))
    }

    fn extra(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let always = [
            ("REQUEST_URI", self.uri.as_bytes()),
            ("DOCUMENT_URI", &self.path),
            ("SERVER_SOFTWARE", self.software.as_bytes()),
        ];
        always.into_iter().chain(self.known.local.as_ref().map(|local| ("SERVER_ADDR", local.name.as_bytes())))
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.variables.iter().map(|variable| (&*variable.name, &*variable.value))
    }
}

/// Whether a header is passed to the application. A name with other characters, for example an underscore, may pose as
/// another header. nginx ignores such headers as well (`ignore_invalid_headers`, `underscores_in_headers`).
fn is_plain(name: &str) -> bool {
    // Without a branch for each byte. The names of `http` are in lower case.
    name.bytes().fold(true, |plain, byte| plain & matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Percent-encodes a part of a path that is not from the client.
fn encode(path: &[u8]) -> String {
    path.iter().fold(String::with_capacity(path.len()), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wsgi_core::host::RequestSnapshot;

    use super::*;
    use crate::connection::Connection;

    fn parts(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn get(uri: &str) -> http::request::Builder {
        http::Request::get(uri)
    }

    fn refusal(request: http::request::Builder, mount: &Mount) -> Option<StatusCode> {
        View::new(&parts(request), &Connection::default().into(), mount, None, "test", &[]).err()
    }

    /// Returns the values of the view, by their names in environ.
    fn told(request: http::request::Builder, mount: &Mount) -> BTreeMap<String, String> {
        let parts = parts(request);
        let known = parts.extensions.get::<Connection>().copied().unwrap_or_default().into();
        let view = View::new(&parts, &known, mount, None, "test", &[]).unwrap_or_else(|status| panic!("{status}"));
        // The gateway reads a snapshot of the view.
        let view = RequestSnapshot::new(&view);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut told = BTreeMap::from([
            ("SCRIPT_NAME".to_owned(), text(view.script_name())),
            ("PATH_INFO".to_owned(), text(view.path_info())),
            ("QUERY_STRING".to_owned(), text(view.query())),
            ("SERVER_NAME".to_owned(), text(view.server().name)),
            ("REMOTE_ADDR".to_owned(), text(view.peer().name)),
        ]);
        told.extend(view.server().port.map(|port| ("SERVER_PORT".to_owned(), port.to_string())));
        told.extend(view.headers().map(|field| (text(field.name), text(field.value))));
        told.extend(view.extra().map(|(name, value)| (name.to_owned(), text(value))));
        told
    }

    #[test]
    fn a_mounted_application_sees_its_part_of_the_path() {
        for (mount, uri, script, path, request_uri) in [
            (Mount::default(), "/a%20b?c=d", "", "/a b", "/a%20b?c=d"),
            (Mount::new("/mnt", false), "/mnt/x//y", "/mnt", "/x/y", "/mnt/x//y"),
            (Mount::new("mnt/", false), "/mnt", "/mnt", "", "/mnt"),
            (Mount::new("/", false), "/x", "", "/x", "/x"),
            (Mount::new("/mnt", true), "/x?y", "/mnt", "/x", "/mnt/x?y"),
            (Mount::new("/m\u{fc}/n", true), "/", "/m\u{fc}/n", "/", "/m%C3%BC/n/"),
        ] {
            let told = told(get(uri), &mount);
            assert_eq!((told["SCRIPT_NAME"].as_str(), told["PATH_INFO"].as_str()), (script, path), "{uri}");
            assert_eq!(told["REQUEST_URI"], request_uri);
            assert_eq!(told["DOCUMENT_URI"], format!("{script}{path}"));
        }
    }

    #[test]
    fn a_prefix_in_any_spelling_matches_what_requests_are_decoded_to() {
        for (prefix, uri, script) in [
            ("/a//b", "/a/b/x", "/a/b"),
            ("/a/../b", "/b/x", "/b"),
            ("/a/./b/", "/a/b/x", "/a/b"),
            ("/m%20n", "/m%20n/x", "/m n"),
            ("/m n", "/m%20n/x", "/m n"),
            ("/100%25", "/100%25/x", "/100%"),
            ("//", "/x", ""),
        ] {
            for stripped in [false, true] {
                let uri = if stripped { "/x" } else { uri };
                let told = told(get(uri), &Mount::new(prefix, stripped));
                assert_eq!((told["SCRIPT_NAME"].as_str(), told["PATH_INFO"].as_str()), (script, "/x"), "{prefix}");
            }
        }
        for prefix in ["/..", "/a/../../b", "/100%", "/%00"] {
            let panic = std::panic::catch_unwind(|| Mount::new(prefix, false)).expect_err(prefix);
            let message = panic.downcast_ref::<String>().expect("a message");
            assert!(message.contains("no path of a request begins with the prefix"), "{message}");
        }
    }

    #[test]
    fn invalid_targets_hosts_and_methods_are_refused() {
        let root = Mount::default();
        assert_eq!(refusal(get("/a%zz"), &root), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal(get("/..%2f"), &root), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal(get("*"), &root), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal(get("/").header("Host", "a b"), &root), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal(get("/").header("Host", "me@a"), &root), Some(StatusCode::BAD_REQUEST));
        assert_eq!(refusal(get("/").method("TRACE"), &root), Some(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(refusal(get("a:80").method("CONNECT"), &root), Some(StatusCode::METHOD_NOT_ALLOWED));
        for uri in ["/mntx", "/MNT/x", "/", "/mnt/../x"] {
            assert_eq!(refusal(get(uri), &Mount::new("/mnt", false)), Some(StatusCode::NOT_FOUND), "{uri}");
        }
    }

    #[test]
    fn the_server_is_named_as_the_client_names_it() {
        let connection = Connection {
            local: Some("127.0.0.1:8000".parse().unwrap()),
            peer: Some("[::ffff:10.0.0.1]:99".parse().unwrap()),
            scheme: Scheme::Http,
        };
        let server = |request: http::request::Builder| {
            let told = told(request, &Mount::default());
            (told["SERVER_NAME"].clone(), told.get("SERVER_PORT").cloned().unwrap_or_default())
        };
        let named = |name: &str, port: &str| (name.to_owned(), port.to_owned());
        assert_eq!(server(get("/")), named("localhost", ""));
        assert_eq!(server(get("/").header("Host", "")), named("localhost", ""));
        assert_eq!(server(get("/").header("Host", "Example.ORG.:81")), named("example.org", "81"));
        assert_eq!(server(get("/").header("Host", "[::1]:81")), named("[::1]", "81"));
        assert_eq!(server(get("http://a:82/").header("Host", "b")), named("a", "82"));
        assert_eq!(server(get("/").extension(connection)), named("127.0.0.1", "8000"));
        assert_eq!(server(get("/").header("Host", "a:81").extension(connection)), named("a", "8000"));
        let told = told(get("/").extension(connection), &Mount::default());
        assert_eq!((told["REMOTE_ADDR"].as_str(), told["SERVER_ADDR"].as_str()), ("10.0.0.1", "127.0.0.1"));
    }

    #[test]
    fn an_authority_is_a_host_and_a_port_wherever_it_stands() {
        let root = Mount::default();
        for good in ["a", "a:", "a:80", "a:65535", "[::1]:80", "A.b:00080"] {
            assert_eq!(refusal(get("/").header("Host", good), &root), None, "{good}");
            assert_eq!(refusal(get(&format!("http://{good}/")), &root), None, "{good}");
        }
        for odd in ["a:65536", "me@a", "a..b"] {
            assert_eq!(refusal(get("/").header("Host", odd), &root), Some(StatusCode::BAD_REQUEST), "{odd}");
            if let Ok(uri) = format!("http://{odd}/").parse::<http::Uri>() {
                assert_eq!(refusal(get(&uri.to_string()), &root), Some(StatusCode::BAD_REQUEST), "{odd}");
            }
        }
    }

    #[test]
    fn a_host_in_the_request_line_is_the_only_one() {
        assert_eq!(told(get("http://a:82/"), &Mount::default())["host"], "a:82");
        assert_eq!(told(get("http://a:82/").header("Host", "b"), &Mount::default())["host"], "a:82");
        let parts = parts(get("http://a/").header("Host", "b").header("host", "c"));
        let known = Connection::default().into();
        let mount = Mount::default();
        let view = View::new(&parts, &known, &mount, None, "test", &[]).unwrap();
        assert_eq!(view.headers().count(), 1);
    }

    #[test]
    fn headers_that_may_pose_as_others_are_ignored() {
        let told = told(get("/").header("X-User", "a").header("X_User", "b").header("X.Y", "c"), &Mount::default());
        assert_eq!(told["x-user"], "a");
        assert!(!told.contains_key("x_user") && !told.contains_key("x.y"));
    }
}
