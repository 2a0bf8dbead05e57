//! Request headers in environ (PEP 3333, "environ Variables", the `HTTP_` ones; RFC 3875, 4.1.18).

use super::host::{HostUnderTest, Served, Site, get, post};
use crate::{ENVIRON, Environ, Request};

/// Returns the `HTTP_` variables of a request, each as `KEY=value`, in alphabetical order.
fn headers(site: &dyn Served, request: Request) -> Vec<String> {
    let environ = Environ::of(&site.send(request));
    let keys = environ.keys().filter(|key| key.starts_with("HTTP_"));
    keys.map(|key| format!("{key}={}", environ.get(key).unwrap_or_default())).collect()
}

/// This holds even if the request before had other headers: environ may come from a cache.
pub(super) fn a_header_is_in_environ_exactly_if_it_was_sent(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let big = "x".repeat(600);
    let shown = format!("HTTP_X_BIG='{big}'");
    let with_more = || get("/").header("x-one", "1").header("x-empty", "").header("accept-language", "de");
    for (request, expected) in [
        (with_more(), &["HTTP_ACCEPT_LANGUAGE='de'", "HTTP_HOST='localhost'", "HTTP_X_EMPTY=''", "HTTP_X_ONE='1'"][..]),
        (get("/"), &["HTTP_HOST='localhost'"]),
        (get("/").header("x-big", &big), &["HTTP_HOST='localhost'", &shown]),
        (crate::get("/").http_1_0(), &[]),
        (get("/").header("x-one", "2"), &["HTTP_HOST='localhost'", "HTTP_X_ONE='2'"]),
    ] {
        assert_eq!(headers(&*site, request), expected);
    }
}

/// This holds regardless of any state that the server and the gateway keep for the connection.
pub(super) fn nothing_of_one_request_is_seen_by_the_next_on_a_connection(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let mut client = site.connect();
    let first = post("/one?q", b"body").header("content-type", "text/x").header("cookie", "a=b");
    let first = first.header("x-one", "1").header("x-big", "x".repeat(600));
    let environ = Environ::of(&client.ask(&first));
    assert_eq!([environ.get("HTTP_X_ONE"), environ.get("CONTENT_LENGTH")], [Some("'1'"), Some("'4'")]);
    let environ = Environ::of(&client.ask(&get("/two").header("x-two", "2")));
    let headers: Vec<&str> = environ.keys().filter(|key| key.starts_with("HTTP_")).collect();
    assert_eq!(headers, ["HTTP_HOST", "HTTP_X_TWO"]);
    assert_eq!(["CONTENT_TYPE", "CONTENT_LENGTH"].map(|key| environ.get(key)), [None, None]);
    assert_eq!(["PATH_INFO", "QUERY_STRING"].map(|key| environ.get(key)), [Some("'/two'"), Some("''")]);
}

pub(super) fn names_of_headers_are_not_case_sensitive(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for name in ["X-Mixed-Case", "x-mixed-case", "X-MIXED-CASE"] {
        let bytes = format!("GET / HTTP/1.1\r\nhOST: localhost\r\n{name}: 1\r\n\r\n");
        let environ = Environ::of(&site.exchange(bytes.as_bytes()));
        assert_eq!(environ.get("HTTP_X_MIXED_CASE"), Some("'1'"), "{name}");
        assert_eq!(environ.get("HTTP_HOST"), Some("'localhost'"));
    }
}

/// RFC 9110, 5.3; the separator of `Cookie` is another one (RFC 6265, 4.2.1).
pub(super) fn repeated_headers_are_joined_in_order(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let one = || get("/").header("x-a", "1").header("cookie", "a=1");
    let two = || one().header("x-a", "2").header("cookie", "b=2");
    let empty_between = || get("/").header("x-a", "1").header("x-a", "").header("x-a", "3");
    for (request, joined, cookies) in [
        (one(), "'1'", Some("'a=1'")),
        (two(), "'1, 2'", Some("'a=1; b=2'")),
        (two().header("x-a", "3, 4"), "'1, 2, 3, 4'", Some("'a=1; b=2'")),
        (one(), "'1'", Some("'a=1'")),
        (empty_between(), "'1, , 3'", None),
    ] {
        let environ = Environ::of(&site.send(request));
        assert_eq!([environ.get("HTTP_X_A"), environ.get("HTTP_COOKIE")], [Some(joined), cookies]);
    }
}

pub(super) fn repeated_headers_are_joined_across_other_headers(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let lines = "X-A: 1\r\nCookie: a=1\r\nx-a: 2\r\nX-B: 9\r\nCOOKIE: b=2\r\nX-A:3\r\n";
    let environ = Environ::of(&site.exchange(&crate::wire::request("GET", "/", lines, b"")));
    assert_eq!(environ.get("HTTP_X_A"), Some("'1, 2, 3'"));
    assert_eq!(environ.get("HTTP_COOKIE"), Some("'a=1; b=2'"));
    assert_eq!(environ.get("HTTP_X_B"), Some("'9'"));
}

pub(super) fn http_host_is_what_the_client_sent(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for value in ["www.example.org", "www.example.org:8080", "127.0.0.1:1", "[::1]:8080"] {
        let environ = Environ::of(&site.send(crate::get("/").header("host", value)));
        assert_eq!(environ.get("HTTP_HOST"), Some(format!("'{value}'").as_str()));
    }
}

/// Otherwise a server and its application could use different hosts (RFC 9112, 3.2.2).
pub(super) fn a_host_in_the_target_is_the_only_one(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let mut client = site.connect();
    for (target, version, header, expected, path, query) in [
        ("http://www.example.org/a?b", "1.1", "Host: other.example\r\n", "www.example.org", "/a", "b"),
        ("http://www.example.org:8080/", "1.1", "Host: www.example.org\r\n", "www.example.org:8080", "/", ""),
        ("http://www.example.org/", "1.1", "X-A: 1\r\nHost: other.example:1\r\nX-B: 2\r\n", "www.example.org", "/", ""),
        ("http://[::1]:80/a", "1.1", "Host: other.example\r\n", "[::1]:80", "/a", ""),
        ("http://www.example.org?b=/c", "1.1", "Host: other.example\r\n", "www.example.org", "/", "b=/c"),
        ("http://www.example.org", "1.1", "Host: other.example\r\n", "www.example.org", "/", ""),
        // A client cannot choose the scheme: Django would take a form sent by https as coming from its own pages.
        ("https://www.example.org/a", "1.1", "Host: other.example\r\n", "www.example.org", "/a", ""),
        ("HTTP://www.example.org/a", "1.1", "Host: other.example\r\n", "www.example.org", "/a", ""),
        ("/a", "1.1", "Host: other.example\r\n", "other.example", "/a", ""),
        ("http://www.example.org/a", "1.0", "Connection: keep-alive\r\n", "www.example.org", "/a", ""),
    ] {
        client.send(format!("GET {target} HTTP/{version}\r\n{header}\r\n"));
        let environ = Environ::of(&client.response());
        let found = ["HTTP_HOST", "PATH_INFO", "QUERY_STRING", "wsgi.url_scheme"]
            .map(|key| environ.get(key).unwrap_or("nothing").to_owned());
        assert_eq!(found, [expected, path, query, "http"].map(|text| format!("'{text}'")), "{target}");
    }
}

/// RFC 9110, 5.5.
pub(super) fn white_space_around_a_value_is_no_part_of_it(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for (line, expected) in [
        ("X-A:1", "1"),
        ("X-A: 1", "1"),
        ("X-A:\t1", "1"),
        ("X-A:\t \t1\t", "1"),
        ("X-A: 1 \t ", "1"),
        ("X-A:\tone\ttwo three\t \t", "one\\ttwo three"),
        ("X-A:\t", ""),
        ("X-A: \t \t ", ""),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{line}\r\nConnection: close\r\n\r\n");
        let environ = Environ::of(&site.exchange(bytes.as_bytes()));
        assert_eq!(environ.get("HTTP_X_A"), Some(format!("'{expected}'").as_str()), "{line:?}");
    }
}

/// Libraries use `HTTP_PROXY` as the address of a proxy ("httpoxy").
pub(super) fn no_client_sets_http_proxy(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let request = get("/").header("proxy", "http://evil.example").header("proxy-x", "1");
    assert_eq!(headers(&*site, request), ["HTTP_HOST='localhost'", "HTTP_PROXY_X='1'"]);
}

/// RFC 3875, 9.2; a name that has not been authenticated does not become `REMOTE_USER`.
pub(super) fn credentials_are_withheld_unless_the_operator_passes_them(host: &dyn HostUnderTest) {
    let request = || get("/").header("authorization", "Basic eDp5").header("proxy-authorization", "Digest x");
    let site = host.serve(Site::new(ENVIRON));
    assert_eq!(headers(&*site, request()), ["HTTP_HOST='localhost'"]);
    let site = host.serve(Site::new(ENVIRON).with("wsgi_pass_authorization on"));
    let environ = Environ::of(&site.send(request()));
    assert_eq!(environ.get("HTTP_AUTHORIZATION"), Some("'Basic eDp5'"));
    assert_eq!(environ.get("HTTP_PROXY_AUTHORIZATION"), Some("'Digest x'"));
    assert_eq!([environ.get("REMOTE_USER"), environ.get("AUTH_TYPE")], [None, None]);
}

/// The server has de-chunked the body and manages the connection. The other headers do no harm, and help with logging.
pub(super) fn headers_of_the_connection_are_kept_but_for_two(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    let mut request = post("/", b"body").unknown_length().header("keep-alive", "timeout=5");
    if site.address().is_none() {
        // On a wire, `to_bytes` adds it.
        request = request.header("transfer-encoding", "chunked");
    }
    let request = request.header("connection", "te").header("te", "trailers").header("upgrade", "x");
    let expected = ["HTTP_CONNECTION='te'", "HTTP_HOST='localhost'", "HTTP_TE='trailers'", "HTTP_UPGRADE='x'"];
    assert_eq!(headers(&*site, request), expected);
}

/// Clients must not be able to override the `X-User` of a proxy with `X_User`; a host may pass or drop the latter alone.
pub(super) fn an_underscore_does_not_pose_as_a_dash(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for request in [
        get("/").header("x-user", "me").header("x_user", "evil"),
        get("/").header("x_user", "evil").header("x-user", "me"),
        get("/").header("x_user", "evil").header("x-user", "me").header("x_user", "evil"),
    ] {
        assert_eq!(headers(&*site, request), ["HTTP_HOST='localhost'", "HTTP_X_USER='me'"]);
    }
}
