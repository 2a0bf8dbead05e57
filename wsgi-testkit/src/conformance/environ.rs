//! The variables of environ (PEP 3333, "environ Variables"); those made of headers and of the path are in other files.

use super::host::{HostUnderTest, Site, get, post};
use crate::wire::{Client, request};
use crate::{ENVIRON, Environ};

/// A site that answers with the list of keys that meet the condition, each of which is an error.
fn wrong(condition: &str) -> Site {
    Site::new(format!(
        "
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr([key for key, value in environ.items() if {condition}]).encode()]
"
    ))
}

pub(super) fn request_method_is_as_sent_and_never_empty(host: &dyn HostUnderTest) {
    // Sent in a header, as a response to HEAD has no body.
    let site = host.serve(Site::new(
        "
def application(environ, start_response):
    start_response('200 OK', [('X-Method', ascii(environ['REQUEST_METHOD']))])
    return [b'']
",
    ));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "FROBNICATE"] {
        let response = site.send(get("/").method(method).header("connection", "close"));
        assert_eq!(response.header("X-Method"), Some(format!("'{method}'").as_str()));
    }
}

pub(super) fn query_string_is_raw_and_always_there(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for (target, query) in [
        ("/", "''"),
        ("/?", "''"),
        ("/?a=b%20c&d=%C3%A9+e", "'a=b%20c&d=%C3%A9+e'"),
        ("/x?/y?z", "'/y?z'"),
        ("/", "''"),
    ] {
        assert_eq!(Environ::of(&site.get(target)).get("QUERY_STRING"), Some(query), "{target}");
    }
}

pub(super) fn content_type_and_content_length_are_those_of_the_request(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let post_typed = |body: &[u8]| post("/", body).header("content-type", "text/x; charset=utf-8");
    let kind = Some("'text/x; charset=utf-8'");
    let forged = || get("/").header("content_type", "text/evil").header("content_length", "9");
    for (request, expected) in [
        (post_typed(b"body"), [kind, Some("'4'")]),
        (get("/"), [None, None]),
        (post_typed(b""), [kind, None]),
        (forged(), [None, None]),
        (post("/", &[b'x'; 20_000]), [None, Some("'20000'")]),
    ] {
        let environ = Environ::of(&site.send(request));
        assert_eq!(["CONTENT_TYPE", "CONTENT_LENGTH"].map(|key| environ.get(key)), expected);
        let doubled = environ.keys().find(|key| key.starts_with("HTTP_CONTENT_"));
        assert_eq!(doubled, None, "it is there without HTTP_ already");
    }
}

pub(super) fn content_length_of_a_chunked_body_is_there_exactly_if_it_was_collected(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    // A collected body is stored in a file if it is large.
    for length in [6, 100_000] {
        let environ = Environ::of(&site.send(post("/", &vec![b'x'; length]).unknown_length()));
        let collected = format!("'{length}'");
        assert_eq!(environ.get("CONTENT_LENGTH"), host.traits().collects_chunks.then_some(collected.as_str()));
    }
}

pub(super) fn content_length_of_an_empty_body_is_there_if_the_client_sent_it(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let environ = Environ::of(&site.exchange(&request("POST", "/", "Content-Length: 0\r\n", b"")));
    assert_eq!(environ.get("CONTENT_LENGTH"), Some("'0'"));
}

pub(super) fn server_name_and_port_are_never_empty(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let with_port = crate::get("/").header("host", "localhost:99");
    for request in [get("/"), with_port, crate::get("/").http_1_0()] {
        let environ = Environ::of(&site.send(request.clone()));
        let value = |key| environ.get(key).and_then(|value| value.strip_prefix('\'')?.strip_suffix('\''));
        let name = value("SERVER_NAME").expect("a str");
        assert!(!name.is_empty() && !name.ends_with(":99"), "SERVER_NAME is {name:?} for {request:?}");
        let port = value("SERVER_PORT").expect("a str");
        let number: u16 = port.parse().unwrap_or_else(|_| panic!("SERVER_PORT is {port:?} for {request:?}"));
        assert_ne!(number, 0);
        // The port that the request arrived at (RFC 3875, 4.1.15), regardless of the client's header.
        if let Some(address) = site.address() {
            assert_eq!(number, address.port());
        }
    }
}

pub(super) fn remote_addr_and_port_are_the_client_s(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let stream = std::net::TcpStream::connect(site.address().expect("a host with connections")).expect("it listens");
    let address = stream.local_addr().expect("a connection has two ends");
    let mut client = Client::new(stream);
    client.send(crate::wire::get("/"));
    let environ = Environ::of(&client.response());
    assert_eq!(environ.get("REMOTE_ADDR"), Some(format!("'{}'", address.ip()).as_str()));
    assert_eq!(environ.get("REMOTE_PORT"), Some(format!("'{}'", address.port()).as_str()));
}

pub(super) fn server_protocol_is_the_client_s_version(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for (request, version) in [(get("/"), "'HTTP/1.1'"), (get("/").http_1_0(), "'HTTP/1.0'"), (get("/"), "'HTTP/1.1'")]
    {
        assert_eq!(Environ::of(&site.send(request)).get("SERVER_PROTOCOL"), Some(version));
    }
}

pub(super) fn gateway_interface_and_request_scheme_are_there(host: &dyn HostUnderTest) {
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).get("/"));
    assert_eq!(environ.get("GATEWAY_INTERFACE"), Some("'CGI/1.1'"));
    assert_eq!(environ.get("REQUEST_SCHEME"), Some("'http'"));
}

/// Subclasses are not allowed: PEP 3333 requires `type(value) is str`.
pub(super) fn keys_and_cgi_values_are_exactly_str_and_latin_1(host: &dyn HostUnderTest) {
    let site = host.serve(
        wrong(
            "type(key) is not str or not key.startswith(('wsgi.', 'x-wsgiorg.'))
                and (type(value) is not str or any(ord(character) > 255 for character in value))",
        )
        .with("wsgi_var myapp.region eu-1")
        .with("wsgi_var HTTP_X_FIXED 1"),
    );
    let request = || post("/x?y=z", b"body").header("content-type", "text/x").header("cookie", "a=b");
    let big = "\u{fd}".repeat(600);
    for request in [request(), request().header("x-big", &big), crate::get("/").http_1_0()] {
        assert_eq!(site.send(request).ok(), "[]");
    }
}

pub(super) fn header_bytes_above_ascii_are_their_latin_1_characters(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    // Some caches store short values only.
    for repeated in [1, 8] {
        let bytes: Vec<u8> = (0x80..=0xff).collect();
        let value = [b"<", bytes.repeat(repeated).as_slice(), b">"].concat();
        let shown: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let environ = Environ::of(&site.send(get("/").header("x-bytes", value)));
        assert_eq!(environ.get("HTTP_X_BYTES"), Some(format!("'<{}>'", shown.repeat(repeated)).as_str()));
    }
}

pub(super) fn absent_variables_are_left_out_and_never_none(host: &dyn HostUnderTest) {
    let site = host.serve(wrong("value is None"));
    let all = host.serve(Site::new(ENVIRON));
    for request in [get("/"), crate::get("/").http_1_0(), post("/", b"body")] {
        assert_eq!(site.send(request).ok(), "[]");
    }
    let environ = Environ::of(&all.send(crate::get("/").http_1_0()));
    for key in ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST", "HTTPS", "REMOTE_USER", "AUTH_TYPE"] {
        assert_eq!(environ.get(key), None, "{key}");
    }
}

/// Some hosts have no TLS; an operator whose proxy terminates it sets `wsgi_var`.
pub(super) fn https_is_set_by_the_operator_and_never_by_a_client(host: &dyn HostUnderTest) {
    let forged = || get("/").header("https", "on").header("x-forwarded-proto", "https");
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).send(forged()));
    assert_eq!(environ.get("wsgi.url_scheme"), Some("'http'"));
    assert_eq!(environ.keys().find(|key| *key == "HTTPS" || key.starts_with("SSL_")), None);
    for value in ["on", "1"] {
        let site = host.serve(Site::new(ENVIRON).with(&format!("wsgi_var HTTPS {value}")));
        let environ = Environ::of(&site.get("/"));
        assert_eq!(environ.get("wsgi.url_scheme"), Some("'https'"), "HTTPS {value}");
        assert_eq!(environ.get("HTTPS"), Some(format!("'{value}'").as_str()));
        assert_eq!(environ.get("REQUEST_SCHEME"), Some("'https'"));
    }
}

pub(super) fn wsgi_version_is_the_tuple_1_0(host: &dyn HostUnderTest) {
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).get("/"));
    assert_eq!(environ.get("wsgi.version"), Some("(1, 0)"));
}

pub(super) fn url_scheme_is_http(host: &dyn HostUnderTest) {
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).get("/"));
    assert_eq!(environ.get("wsgi.url_scheme"), Some("'http'"));
}

pub(super) fn streams_have_the_methods_of_pep_3333(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
STREAMS = {
    'wsgi.input': ['read', 'readline', 'readlines', '__iter__'],
    'wsgi.errors': ['flush', 'write', 'writelines'],
}
def application(environ, start_response):
    start_response('200 OK', [])
    missing = [(stream, method) for stream, methods in STREAMS.items() for method in methods
               if not callable(getattr(environ[stream], method, None))]
    return [repr(missing).encode()]
",
    ));
    assert_eq!(site.get("/").ok(), "[]", "without a body");
    assert_eq!(site.post("/", b"body").ok(), "[]", "with a body");
}

pub(super) fn flags_tell_how_this_host_runs_applications(host: &dyn HostUnderTest) {
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).get("/"));
    let python = |flag| Some(if flag { "True" } else { "False" });
    assert_eq!(environ.get("wsgi.multithread"), python(host.traits().multithread));
    assert_eq!(environ.get("wsgi.multiprocess"), python(host.traits().multiprocess));
    assert_eq!(environ.get("wsgi.run_once"), Some("False"));
    assert_eq!(environ.get("wsgi.input_terminated"), Some("True"));
}

pub(super) fn keys_of_the_server_are_lower_case_below_a_prefix_of_its_own(host: &dyn HostUnderTest) {
    let environ = Environ::of(&host.serve(Site::new(ENVIRON)).post("/x?y", b"body"));
    let cgi = |key: &str| key.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'));
    let (specified, others): (Vec<&str>, Vec<&str>) =
        environ.keys().filter(|key| !cgi(key)).partition(|key| key.starts_with("wsgi."));
    let expected = [
        "wsgi.errors",
        "wsgi.file_wrapper",
        "wsgi.input",
        "wsgi.input_terminated",
        "wsgi.multiprocess",
        "wsgi.multithread",
        "wsgi.run_once",
        "wsgi.url_scheme",
        "wsgi.version",
    ];
    assert_eq!(specified, expected, "what PEP 3333 does not specify has no place below wsgi.");
    for key in &others {
        let own = key.starts_with("wsgi_gateway.") || key.starts_with("x-wsgiorg.");
        assert!(own && !key.bytes().any(|byte| byte.is_ascii_uppercase()), "{key}");
    }
    for name in ["version", "script", "callable", "interpreter"] {
        let key = format!("wsgi_gateway.{name}");
        assert!(environ.get(&key).is_some_and(|value| value.starts_with('\'')), "{key} is no str");
    }
}

pub(super) fn the_operator_adds_and_overrides_variables(host: &dyn HostUnderTest) {
    let site = host.serve(
        Site::new(ENVIRON)
            .with("wsgi_var myapp.region eu-1")
            .with("wsgi_var SERVER_ADMIN root")
            .with("wsgi_var HTTP_X_DEBUG fixed"),
    );
    let forged = || get("/").header("x-debug", "forged").header("server-admin", "forged");
    for request in [get("/"), forged(), forged(), get("/")] {
        let environ = Environ::of(&site.send(request));
        assert_eq!(environ.get("myapp.region"), Some("'eu-1'"));
        assert_eq!(environ.get("SERVER_ADMIN"), Some("'root'"));
        assert_eq!(environ.get("HTTP_X_DEBUG"), Some("'fixed'"));
    }
}

/// PEP 3333 allows copying them, but they may contain secrets.
pub(super) fn variables_of_the_process_are_not_copied(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(
        "
import os
os.environ['WSGI_CONFORMANCE_SECRET'] = 'x'
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr([key for key in ('WSGI_CONFORMANCE_SECRET', 'PATH', 'HOME', 'PWD') if key in environ]).encode()]
",
    ));
    assert_eq!(site.get("/").ok(), "[]");
    assert_eq!(site.get("/").ok(), "[]", "with the second request");
}
