//! The environ of a request, without include files and with no directive except `wsgi_pass`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use crate::harness::{ENVIRON, Environ, Mode, Nginx, Site, in_both_modes, request, workspace};

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", ENVIRON)
}

fn at_root(mode: Mode) -> Nginx {
    site(mode).location("/", "wsgi_pass app.py;").start()
}

fn environ(nginx: &Nginx, target: &str, headers: &str) -> Environ {
    Environ::of(&nginx.send(&request("GET", target, &format!("{headers}Connection: close\r\n"), b"")))
}

fn quoted(text: impl std::fmt::Display) -> String {
    format!("'{text}'")
}

#[test]
fn the_cgi_set_is_complete_without_an_include() {
    in_both_modes(|mode| {
        let nginx =
            site(mode).server("server_name example.org;\nroot html;").location("/app", "wsgi_pass app.py;").start();
        let body = request("POST", "/app/x?a=b%20c", "Content-Type: text/x\r\nConnection: close\r\n", b"body");
        let environ = Environ::of(&nginx.send(&body));
        let port = quoted(nginx.port());
        let root = quoted(nginx.path("html").display());
        let expected = [
            ("REQUEST_METHOD", "'POST'"),
            ("SCRIPT_NAME", "'/app'"),
            ("PATH_INFO", "'/x'"),
            ("QUERY_STRING", "'a=b%20c'"),
            ("REQUEST_URI", "'/app/x?a=b%20c'"),
            ("DOCUMENT_URI", "'/app/x'"),
            ("DOCUMENT_ROOT", &root),
            ("CONTENT_TYPE", "'text/x'"),
            ("CONTENT_LENGTH", "'4'"),
            ("SERVER_NAME", "'example.org'"),
            ("SERVER_PORT", &port),
            ("SERVER_ADDR", "'127.0.0.1'"),
            ("REMOTE_ADDR", "'127.0.0.1'"),
            ("SERVER_PROTOCOL", "'HTTP/1.1'"),
            ("GATEWAY_INTERFACE", "'CGI/1.1'"),
            ("REQUEST_SCHEME", "'http'"),
            ("HTTP_HOST", "'localhost'"),
            ("wsgi.version", "(1, 0)"),
            ("wsgi.url_scheme", "'http'"),
            ("wsgi.multithread", "False"),
            ("wsgi.multiprocess", "True"),
            ("wsgi.run_once", "False"),
            ("wsgi.input_terminated", "True"),
            ("wsgi_gateway.callable", "'application'"),
            ("wsgi_gateway.interpreter", "'main'"),
        ];
        for (key, value) in expected {
            assert_eq!(environ.get(key), Some(value), "{key}");
        }
        assert!(environ.get("SERVER_SOFTWARE").is_some_and(|value| value.starts_with("'nginx/")));
        assert!(environ.get("REMOTE_PORT").is_some_and(|value| value.trim_matches('\'').parse::<u16>().is_ok()));
        for key in ["HTTPS", "REMOTE_USER", "AUTH_TYPE", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "PATH", "HOME"] {
            assert_eq!(environ.get(key), None, "{key}");
        }
    });
}

#[test]
fn path_is_split_at_the_location() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .location("/", "wsgi_pass app.py;")
            .location("/app", "wsgi_pass app.py;")
            .location("/slash/", "wsgi_pass app.py;")
            .location("= /exact", "wsgi_pass app.py;")
            .location("~ ^/regex", "wsgi_pass app.py;")
            .location("/to-named", "error_page 418 = @named;\nreturn 418;")
            .location("@named", "wsgi_pass app.py;")
            .start();
        for (target, script_name, path_info) in [
            ("/", "''", "'/'"),
            ("/a//b/../c", "''", "'/a/c'"),
            ("/app", "'/app'", "''"),
            ("/app/", "'/app'", "'/'"),
            ("/app/x", "'/app'", "'/x'"),
            ("/application", "''", "'/application'"),
            ("/slash/", "'/slash'", "'/'"),
            ("/slash/x", "'/slash'", "'/x'"),
            ("/exact", "'/exact'", "''"),
            ("/regex/x", "''", "'/regex/x'"),
            ("/to-named/x", "''", "'/to-named/x'"),
            ("/a%2Fb%20c", "''", "'/a/b c'"),
            ("/%C3%A9%FF", "''", r"'/\xc3\xa9\xff'"),
        ] {
            let environ = environ(&nginx, target, "");
            assert_eq!(environ.get("SCRIPT_NAME"), Some(script_name), "{target}");
            assert_eq!(environ.get("PATH_INFO"), Some(path_info), "{target}");
            assert_eq!(environ.get("REQUEST_URI"), Some(quoted(target).as_str()));
        }
    });
}

#[test]
fn a_rewrite_changes_the_path_and_not_the_request_uri() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .location("/old", "rewrite ^/old/(.*)$ /app/$1?more=1 last;")
            .location("/app", "wsgi_pass app.py;")
            .start();
        let environ = environ(&nginx, "/old/x?a=b", "");
        assert_eq!([environ.get("SCRIPT_NAME"), environ.get("PATH_INFO")], [Some("'/app'"), Some("'/x'")]);
        assert_eq!(environ.get("QUERY_STRING"), Some("'more=1&a=b'"));
        assert_eq!(environ.get("REQUEST_URI"), Some("'/old/x?a=b'"));
    });
}

#[test]
fn underscores_in_headers_lets_no_header_pose_as_one_with_a_dash() {
    in_both_modes(|mode| {
        assert_eq!(environ(&at_root(mode), "/", "X_User: me\r\n").get("HTTP_X_USER"), None, "it is off by default");
        let nginx = site(mode).http("underscores_in_headers on;").location("/", "wsgi_pass app.py;").start();
        for headers in ["X-User: me\r\nX_User: evil\r\n", "X_User: evil\r\nX-User: me\r\n"] {
            assert_eq!(environ(&nginx, "/", headers).get("HTTP_X_USER"), Some("'me'"), "{headers:?}");
        }
        assert_eq!(environ(&nginx, "/", "X_User: me\r\n").get("HTTP_X_USER"), Some("'me'"));
    });
}

#[test]
fn bytes_above_ascii_that_are_not_escaped_in_the_path_are_latin_1() {
    in_both_modes(|mode| {
        let bytes = b"GET /\xc3\xa9\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert_eq!(Environ::of(&at_root(mode).send(bytes)).get("PATH_INFO"), Some(r"'/\xc3\xa9\xff'"));
    });
}

#[test]
fn server_name_is_never_empty() {
    in_both_modes(|mode| {
        let nginx = at_root(mode);
        // Without server_name, the server's name is the host of the request; without a host it is the address.
        assert_eq!(environ(&nginx, "/", "").get("SERVER_NAME"), Some("'localhost'"));
        let old = Environ::of(&nginx.send(b"GET / HTTP/1.0\r\n\r\n"));
        assert_eq!(old.get("SERVER_NAME"), Some("'127.0.0.1'"));
        assert_eq!(old.get("SERVER_PROTOCOL"), Some("'HTTP/1.0'"));
        assert_eq!(old.get("HTTP_HOST"), None);
        let with_port = b"GET / HTTP/1.1\r\nHost: example.org:99\r\nConnection: close\r\n\r\n";
        let with_port = Environ::of(&nginx.send(with_port));
        assert_eq!(with_port.get("SERVER_NAME"), Some("'example.org'"));
        assert_eq!(with_port.get("HTTP_HOST"), Some("'example.org:99'"));
        assert_eq!(with_port.get("SERVER_PORT"), Some(quoted(nginx.port()).as_str()));
    });
}

#[test]
fn server_name_that_is_a_pattern_is_replaced_by_the_host() {
    in_both_modes(|mode| {
        for name in ["_", "*.example.org", "~^.*$"] {
            let nginx = site(mode).server(&format!("server_name {name};")).location("/", "wsgi_pass app.py;").start();
            let bytes = b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n";
            let environ = Environ::of(&nginx.send(bytes));
            assert_eq!(environ.get("SERVER_NAME"), Some("'www.example.org'"), "{name}");
        }
    });
}

#[test]
fn unix_socket_has_a_port_and_no_remote_port() {
    in_both_modes(|mode| {
        let site = site(mode);
        let socket = site.path("app.sock");
        let directives = format!("listen unix:{};\nlocation / {{\nwsgi_pass app.py;\n}}", socket.display());
        let _nginx = site.another_server(&directives).start();
        let mut stream = UnixStream::connect(socket).expect("nginx listens");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("nginx reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("nginx answers");
        assert!(answer.contains("\nSERVER_PORT='80'\n"), "{answer}");
        assert!(!answer.contains("REMOTE_PORT="), "{answer}");
        assert!(answer.contains("\nREMOTE_ADDR='"), "{answer}");
        assert!(answer.contains("\nSERVER_NAME='localhost'\n"), "{answer}");
        assert!(answer.contains("\nSERVER_ADDR='unix:/"), "{answer}");
    });
}

/// RFC 3875, 4.1.14: without brackets the URL that is built as in PEP 3333 would be invalid.
#[test]
fn an_address_of_version_6_names_the_server_in_brackets() {
    in_both_modes(|mode| {
        // The port is free on that address, unless another test uses it.
        let port = TcpListener::bind("[::1]:0").and_then(|listener| listener.local_addr()).expect("IPv6").port();
        let directives = format!("listen [::1]:{port};\nlocation / {{\nwsgi_pass app.py;\n}}");
        let _nginx = site(mode).another_server(&directives).start();
        let named = |bytes: &[u8]| {
            let mut stream = TcpStream::connect(("::1", port)).expect("nginx listens");
            stream.write_all(bytes).expect("nginx reads");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("nginx answers");
            answer
        };
        let answer = named(b"GET / HTTP/1.0\r\n\r\n");
        assert!(answer.contains("\nSERVER_NAME='[::1]'\n"), "{answer}");
        assert!(answer.contains("\nSERVER_ADDR='::1'\n"), "{answer}");
        let answer = named(b"GET / HTTP/1.0\r\nHost: [2001:db8::5]:99\r\n\r\n");
        assert!(answer.contains("\nSERVER_NAME='[2001:db8::5]'\n"), "{answer}");
    });
}

#[test]
fn a_path_begins_with_its_slash_also_where_rewrite_leaves_it_out() {
    in_both_modes(|mode| {
        let directives = "rewrite ^/old/(.*)$ $1 break;\nwsgi_pass app.py;";
        let nginx = site(mode).location("/old/", directives).start();
        let found = environ(&nginx, "/old/a/b?c", "");
        let keys = ["SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI"].map(|key| found.get(key));
        assert_eq!(keys, [Some("''"), Some("'/a/b'"), Some("'c'"), Some("'/old/a/b?c'")]);
    });
}

/// Subrequests have no request line.
#[test]
fn a_host_in_the_target_counts_for_the_parts_of_a_page() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .file("html/page.html", "<!--#include virtual=\"/part\" -->")
            .location("/part", "wsgi_pass app.py;")
            .location("/page.html", "root html;\nssi on;")
            .start();
        let bytes =
            b"GET http://www.example.org:81/page.html HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n";
        assert_eq!(Environ::of(&nginx.send(bytes)).get("HTTP_HOST"), Some("'www.example.org:81'"));
    });
}

#[test]
fn real_ip_is_honoured() {
    in_both_modes(|mode| {
        let nginx = site(mode)
            .http("set_real_ip_from 127.0.0.1;\nreal_ip_header X-Real-IP;")
            .location("/", "wsgi_pass app.py;")
            .start();
        assert_eq!(environ(&nginx, "/", "X-Real-IP: 192.0.2.7\r\n").get("REMOTE_ADDR"), Some("'192.0.2.7'"));
    });
}

/// nginx itself is the TLS client of the application's server.
fn behind_tls(mode: Mode) -> Nginx {
    let site = site(mode).file("localhost.pem", include_str!("fixtures/localhost.pem"));
    let socket = site.path("tls.sock");
    site.another_server(&format!(
        "listen unix:{} ssl;\nssl_certificate localhost.pem;\nssl_certificate_key localhost.pem;\n\
         location / {{\nwsgi_pass app.py;\n}}",
        socket.display()
    ))
    .location("/", &format!("proxy_pass https://unix:{};", socket.display()))
    .start()
}

#[test]
fn tls_shows_in_scheme_and_variables() {
    in_both_modes(|mode| {
        let environ = environ(&behind_tls(mode), "/", "");
        assert_eq!(environ.get("wsgi.url_scheme"), Some("'https'"));
        assert_eq!([environ.get("HTTPS"), environ.get("REQUEST_SCHEME")], [Some("'on'"), Some("'https'")]);
        assert_eq!(environ.get("SERVER_PORT"), Some("'443'"));
        assert!(environ.get("SSL_PROTOCOL").is_some_and(|value| value.starts_with("'TLS")));
    });
}

/// PEP 3333 asks servers to document the variables that they provide ("environ Variables").
#[test]
fn every_variable_is_documented() {
    let text = std::fs::read_to_string(workspace().join("docs/directives.md")).expect("docs/directives.md");
    let (_, section) = text.split_once("\n## environ\n").expect("a section on environ");
    let documented: Vec<_> = section.split('`').skip(1).step_by(2).collect();
    let is_documented = |key: &str| {
        let names = |name: &str| name.strip_suffix('*').map_or(key == name, |family| key.starts_with(family));
        documented.iter().any(|name| names(name))
    };
    let body = request("POST", "/?x", "Content-Type: text/x\r\nConnection: close\r\n", b"body");
    for nginx in [at_root(Mode::Inline), behind_tls(Mode::Inline)] {
        let environ = Environ::of(&nginx.send(&body));
        let unknown: Vec<_> = environ.keys().filter(|key| !is_documented(key)).collect();
        assert_eq!(unknown, [""; 0]);
    }
}
