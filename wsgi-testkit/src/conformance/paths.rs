//! SCRIPT_NAME and PATH_INFO (PEP 3333, "environ Variables"; RFC 3875, 4.1.5 and 4.1.13), and the URL made from them
//! ("URL Reconstruction").

use super::host::{HostUnderTest, Served, Site, get};
use crate::wire::Response;
use crate::{ENVIRON, Environ};

/// Returns SCRIPT_NAME and PATH_INFO, as Python's repr shows them.
fn split(response: &Response) -> [String; 2] {
    let environ = Environ::of(response);
    ["SCRIPT_NAME", "PATH_INFO"].map(|key| environ.get(key).unwrap_or("missing").to_owned())
}

pub(super) fn an_application_at_the_root_has_an_empty_script_name(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for path in ["/", "/x", "/x/", "/app/x.py", "/a;b=c/d,e"] {
        assert_eq!(split(&site.get(path)), ["''".to_owned(), format!("'{path}'")]);
    }
}

pub(super) fn script_name_is_the_prefix_and_path_info_the_rest(host: &dyn HostUnderTest) {
    for prefix in ["/app", "/a/b"] {
        let site = host.serve(Site::new(ENVIRON).at(prefix));
        for rest in ["", "/", "/x", "/x/", "/app/x"] {
            let expected = [format!("'{prefix}'"), format!("'{rest}'")];
            assert_eq!(split(&site.get(&format!("{prefix}{rest}"))), expected);
            assert_eq!(split(&site.get(&format!("{prefix}{rest}?/q"))), expected, "with a query");
        }
    }
}

/// A host that matches prefixes byte by byte passes the request to the application; another one answers 404 itself.
pub(super) fn path_info_never_begins_within_a_segment(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON).at("/app"));
    let response = site.get("/application");
    if response.status != 404 {
        assert_eq!(split(&response), ["''", "'/application'"]);
    }
}

pub(super) fn script_name_of_the_operator_changes_path_info(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON).with("wsgi_var SCRIPT_NAME /mounted/"));
    assert_eq!(split(&site.get("/mounted/x")), ["'/mounted'", "'/x'"]);
    assert_eq!(split(&site.get("/mounted")), ["'/mounted'", "''"]);
    // The front end has removed the prefix.
    assert_eq!(split(&site.get("/x")), ["'/mounted'", "'/x'"]);
}

pub(super) fn the_path_is_decoded_once_into_latin_1(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON));
    for (target, path, query) in [
        ("/a%20b+c", "'/a b+c'", "''"),
        ("/%7euser/%7Euser", "'/~user/~user'", "''"),
        // UTF-8 and invalid UTF-8: one character for each byte.
        ("/%C3%A9%c3%a9", r"'/\xc3\xa9\xc3\xa9'", "''"),
        ("/%FF%80", r"'/\xff\x80'", "''"),
        ("/a%2Fb", "'/a/b'", "''"),
        ("/a%3Fb?c%3Fd", "'/a?b'", "'c%3Fd'"),
        ("/%2541%25", "'/%41%'", "''"),
        ("/%23", "'/#'", "''"),
    ] {
        let environ = Environ::of(&site.get(target));
        let seen = ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING"].map(|key| environ.get(key));
        assert_eq!(seen, [Some("''"), Some(path), Some(query)], "{target}");
        // The variable is not in PEP 3333; hosts that set it must not decode it.
        if let Some(raw) = environ.get("REQUEST_URI") {
            assert_eq!(raw, format!("'{target}'"));
        }
    }
}

pub(super) fn the_prefix_is_found_in_the_decoded_path(host: &dyn HostUnderTest) {
    let site = host.serve(Site::new(ENVIRON).at("/app"));
    for target in ["/app/%C3%A9", "/%61pp/%C3%A9", "/app%2f%c3%a9"] {
        assert_eq!(split(&site.get(target)), ["'/app'", r"'/\xc3\xa9'"], "{target}");
    }
}

/// Answers with its own URL, reconstructed as PEP 3333 describes.
const ADDRESS: &str = "
from urllib.parse import quote

def application(environ, start_response):
    scheme, authority = environ['wsgi.url_scheme'], environ.get('HTTP_HOST')
    if not authority:
        authority, port = environ['SERVER_NAME'], environ['SERVER_PORT']
        if port != {'http': '80', 'https': '443'}[scheme]:
            authority += ':' + port
    path = quote(environ.get('SCRIPT_NAME', ''), '/;=,', 'latin-1') + quote(environ.get('PATH_INFO', ''), '/;=,', 'latin-1')
    query = environ.get('QUERY_STRING')
    start_response('200 OK', [])
    return [(scheme + '://' + authority + path + ('?' + query if query else '')).encode()]
";

/// Returns the authority at which a client reaches a site; the in-process host accepts any.
fn authority(site: &dyn Served) -> String {
    site.address().map_or_else(|| "www.example.org:8080".to_owned(), |address| address.to_string())
}

pub(super) fn the_url_is_the_one_that_was_asked_for(host: &dyn HostUnderTest) {
    for (prefix, targets) in [
        ("/", &["/", "/x", "/x/y/?", "/x?a=b&c=%20%C3%A9", "/a;b=c", "/a%20b/%C3%A9%FF%25?%25"][..]),
        ("/app", &["/app", "/app/", "/app/x", "/app?q", "/app/x?/y?z"]),
    ] {
        let site = host.serve(Site::new(ADDRESS).at(prefix));
        // With a port that is not the default and must be kept, and without a port.
        for authority in [authority(&*site), "www.example.org".to_owned()] {
            for target in targets {
                let response = site.send(crate::get(target).header("host", &authority));
                assert_eq!(response.ok(), format!("http://{authority}{}", target.trim_end_matches('?')));
            }
        }
    }
}

pub(super) fn url_without_a_host_header_has_the_server_name(host: &dyn HostUnderTest) {
    for (scheme, port, authority) in [
        ("http", 80, "www.example.org"),
        ("http", 8080, "www.example.org:8080"),
        ("http", 443, "www.example.org:443"),
        ("https", 443, "www.example.org"),
        ("https", 80, "www.example.org:80"),
    ] {
        let site = Site::new(ADDRESS).at("/app").with("wsgi_var SERVER_NAME www.example.org");
        let site = site.with(&format!("wsgi_var SERVER_PORT {port}"));
        let site = host.serve(if scheme == "https" { site.with("wsgi_var HTTPS on") } else { site });
        let response = site.send(crate::get("/app/x?y").http_1_0());
        assert_eq!(response.ok(), format!("{scheme}://{authority}/app/x?y"));
        // The Host header of the client takes precedence.
        assert_eq!(site.send(get("/app/x?y")).ok(), format!("{scheme}://localhost/app/x?y"));
    }
}

pub(super) fn the_url_is_that_of_the_connection_and_escaped_as_sent(host: &dyn HostUnderTest) {
    for prefix in ["/", "/app"] {
        let site = host.serve(Site::new(ADDRESS).at(prefix));
        let authority = authority(&*site);
        for rest in ["", "/", "/a%20b", "/%C3%A9%FF?%C3%A9", "/%25?%25"] {
            let target = format!("{}{rest}", prefix.trim_end_matches('/'));
            let target = if target.is_empty() { "/" } else { &target };
            let url = format!("http://{authority}{target}");
            for head in [
                format!("GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n"),
                format!("GET {target} HTTP/1.0\r\nHost: {authority}\r\n\r\n"),
                format!("GET {target} HTTP/1.0\r\n\r\n"),
            ] {
                assert_eq!(site.exchange(head.as_bytes()).ok(), url, "{head}");
            }
        }
    }
}
