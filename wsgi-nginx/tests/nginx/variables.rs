//! `wsgi_var` (VAR-*).

use crate::harness::{ENVIRON, Environ, Nginx, Site, get, in_both_modes, request};

fn environ(nginx: &Nginx, target: &str, headers: &str) -> Environ {
    Environ::of(&nginx.send(&request("GET", target, &format!("{headers}Connection: close\r\n"), b"")))
}

#[test]
fn var_1_adds_a_str_to_environ() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var FOO bar;\nwsgi_var myapp.config 'two words';")
            .start();
        let environ = environ(&nginx, "/", "");
        assert_eq!(environ.get("FOO"), Some("'bar'"));
        assert_eq!(environ.get("myapp.config"), Some("'two words'"));
    });
}

#[test]
fn var_2_http_cookie_joins_several_cookie_headers() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var HTTP_COOKIE $http_cookie;")
            .start();
        let environ = environ(&nginx, "/", "Cookie: a=1\r\nCookie: b=2\r\n");
        assert_eq!(environ.get("HTTP_COOKIE"), Some("'a=1; b=2'"));
    });
}

#[test]
fn var_3_wins_over_a_request_header() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var HTTP_X_TEST forced;")
            .start();
        assert_eq!(environ(&nginx, "/", "X-Test: evil\r\n").get("HTTP_X_TEST"), Some("'forced'"));
        assert_eq!(environ(&nginx, "/", "").get("HTTP_X_TEST"), Some("'forced'"));
    });
}

#[test]
fn var_4_is_inherited_name_by_name() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .http("wsgi_var A 1;\nwsgi_var B 1;")
            .server("wsgi_var B 2;")
            .location("/", "wsgi_var C 3;\nwsgi_pass app.py;\nlocation /in {\nwsgi_var A 9;\nwsgi_pass app.py;\n}")
            .start();
        let outer = environ(&nginx, "/", "");
        assert_eq!([outer.get("A"), outer.get("B"), outer.get("C")], [Some("'1'"), Some("'2'"), Some("'3'")]);
        let inner = environ(&nginx, "/in", "");
        assert_eq!([inner.get("A"), inner.get("B"), inner.get("C")], [Some("'9'"), Some("'2'"), Some("'3'")]);
    });
}

#[test]
fn var_5_takes_nginx_variables() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var REQ \"$request_method-$arg_a\";")
            .start();
        assert_eq!(environ(&nginx, "/?a=%C3%A9", "").get("REQ"), Some("'GET-%C3%A9'"));
        assert_eq!(environ(&nginx, "/?a=b", "").get("REQ"), Some("'GET-b'"));
    });
}

#[test]
fn values_are_evaluated_for_each_request() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var ARG \"$arg_a\";")
            .start();
        let mut client = nginx.connect();
        for (target, expected) in [("/?a=1", Some("'1'")), ("/", None), ("/?a=2", Some("'2'")), ("/?a=", None)] {
            client.send(get(target));
            assert_eq!(Environ::of(&client.response()).get("ARG"), expected, "{target}");
        }
    });
}

#[test]
fn var_6_empty_value_removes_the_key() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .http("wsgi_var Y 1;")
            .location("/", "wsgi_pass app.py;\nwsgi_var X \"\";\nwsgi_var Y \"\";\nwsgi_var HTTP_X_SECRET \"\";")
            .start();
        let environ = environ(&nginx, "/", "X-Secret: hide\r\nX: 1\r\n");
        assert_eq!([environ.get("X"), environ.get("Y"), environ.get("HTTP_X_SECRET")], [None; 3]);
        assert_eq!(environ.get("HTTP_X"), Some("'1'"));
    });
}

#[test]
fn empty_value_of_a_required_key_does_not_remove_it() {
    in_both_modes(|mode| {
        let empty = ["QUERY_STRING", "PATH_INFO", "REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"];
        let directives: String = empty.iter().map(|key| format!("wsgi_var {key} \"\";\n")).collect();
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .server("server_name example.org;")
            .location("/", &(directives + "wsgi_pass app.py;"))
            .start();
        let environ = environ(&nginx, "/path?query", "");
        assert_eq!([environ.get("QUERY_STRING"), environ.get("PATH_INFO")], [Some("''"); 2]);
        assert_eq!(environ.get("REQUEST_METHOD"), Some("'GET'"));
        assert_eq!(environ.get("SERVER_NAME"), Some("'example.org'"));
        assert_eq!(environ.get("SERVER_PORT"), Some(format!("'{}'", nginx.port()).as_str()));
        assert_eq!(environ.get("SERVER_PROTOCOL"), Some("'HTTP/1.1'"));
    });
}

#[test]
fn var_7_reserved_and_malformed_names_are_refused() {
    for name in ["wsgi.version", "wsgi_gateway.script", "x-wsgiorg.suspend", "\"\"", "A=B"] {
        let check = Site::with_defaults().http(&format!("wsgi_var {name} x;")).check();
        assert!(!check.succeeded, "{name} was accepted");
        assert!(check.output.contains("wsgi_var") && check.output.contains("nginx.conf:"), "{}", check.output);
        assert!(check.output.contains(name.trim_matches('"')), "{}", check.output);
    }
}

#[test]
fn var_8_http_proxy_comes_from_the_operator_only() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;")
            .location("/with", "wsgi_pass app.py;\nwsgi_var HTTP_PROXY http://p;")
            .start();
        assert_eq!(environ(&nginx, "/", "Proxy: http://evil\r\n").get("HTTP_PROXY"), None);
        assert_eq!(environ(&nginx, "/with", "Proxy: http://evil\r\n").get("HTTP_PROXY"), Some("'http://p'"));
    });
}

#[test]
fn var_9_unknown_variable_is_refused() {
    let check = Site::with_defaults().location("/", "wsgi_var A $no_such_thing;").check();
    assert!(!check.succeeded);
    assert!(check.output.contains("unknown \"no_such_thing\" variable"), "{}", check.output);
    assert!(check.output.contains("nginx.conf:"), "{}", check.output);
}

#[test]
fn var_10_the_old_include_changes_nothing() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .file("wsgi_vars", OLD_INCLUDE)
            .server("server_name example.org;")
            .location("/plain", "wsgi_pass app.py;")
            .location("/with", "include wsgi_vars;\nwsgi_pass app.py;")
            .start();
        let body = request("POST", "/plain/x?a=b", "Content-Type: text/x\r\nConnection: close\r\n", b"body");
        let plain = Environ::of(&nginx.send(&body));
        let body = request("POST", "/with/x?a=b", "Content-Type: text/x\r\nConnection: close\r\n", b"body");
        let with = Environ::of(&nginx.send(&body));
        let keys = |environ: &Environ| environ.keys().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(keys(&plain), keys(&with));
        for key in plain.keys().filter(|key| !["REMOTE_PORT", "wsgi.input", "wsgi.errors"].contains(key)) {
            let expected = plain.get(key).map(|value| value.replace("/plain", "/with"));
            assert_eq!(with.get(key), expected.as_deref(), "{key}");
        }
    });
}

/// The variables of the include file that configurations of the 2008 module used.
const OLD_INCLUDE: &str = "
wsgi_var REQUEST_METHOD $request_method;
wsgi_var QUERY_STRING $query_string;
wsgi_var CONTENT_TYPE $content_type;
wsgi_var CONTENT_LENGTH $content_length;
wsgi_var SERVER_NAME $server_name;
wsgi_var SERVER_PORT $server_port;
wsgi_var SERVER_PROTOCOL $server_protocol;
wsgi_var REQUEST_URI $request_uri;
wsgi_var DOCUMENT_URI $document_uri;
wsgi_var DOCUMENT_ROOT $document_root;
wsgi_var SERVER_SOFTWARE nginx/$nginx_version;
wsgi_var REMOTE_ADDR $remote_addr;
wsgi_var REMOTE_PORT $remote_port;
wsgi_var SERVER_ADDR $server_addr;
wsgi_var REMOTE_USER $remote_user;
";

#[test]
fn the_later_of_two_in_one_block_wins_with_a_warning() {
    in_both_modes(|mode| {
        let site = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;\nwsgi_var A first;\nwsgi_var A second;");
        let check = site.check();
        assert!(check.succeeded, "{}", check.output);
        assert!(check.output.contains("[warn]") && check.output.contains("\"A\""), "{}", check.output);
        assert_eq!(environ(&site.start(), "/", "").get("A"), Some("'second'"));
    });
}

#[test]
fn an_override_of_an_included_variable_is_no_reason_to_warn() {
    let site = Site::with_defaults()
        .file("app.py", ENVIRON)
        .file("vars", "wsgi_var A included;\n")
        .location("/", "include vars;\nwsgi_var A own;\nwsgi_pass app.py;");
    let check = site.check();
    assert!(check.succeeded && !check.output.contains("[warn]"), "{}", check.output);
    assert_eq!(environ(&site.start(), "/", "").get("A"), Some("'own'"));
}

#[test]
fn script_name_alone_splits_the_path() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("~ ^/app", "wsgi_pass app.py;\nwsgi_var SCRIPT_NAME /app;")
            .start();
        let inside = environ(&nginx, "/app/x/y", "");
        assert_eq!([inside.get("SCRIPT_NAME"), inside.get("PATH_INFO")], [Some("'/app'"), Some("'/x/y'")]);
        let exact = environ(&nginx, "/app", "");
        assert_eq!([exact.get("SCRIPT_NAME"), exact.get("PATH_INFO")], [Some("'/app'"), Some("''")]);
    });
}

#[test]
fn https_from_a_proxy_in_front_makes_the_scheme_https() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .http("map $http_x_forwarded_proto $https_value {\nhttps on;\n}")
            .location("/", "wsgi_pass app.py;\nwsgi_var HTTPS $https_value;")
            .start();
        let tls = environ(&nginx, "/", "X-Forwarded-Proto: https\r\n");
        assert_eq!([tls.get("wsgi.url_scheme"), tls.get("HTTPS")], [Some("'https'"), Some("'on'")]);
        let plain = environ(&nginx, "/", "");
        assert_eq!([plain.get("wsgi.url_scheme"), plain.get("HTTPS")], [Some("'http'"), None]);
    });
}

#[test]
fn values_of_any_bytes_arrive_as_latin_1() {
    in_both_modes(|mode| {
        let nginx =
            Site::new(mode).file("app.py", ENVIRON).location("/", "wsgi_pass app.py;\nwsgi_var A \"né\";").start();
        assert_eq!(environ(&nginx, "/", "").get("A"), Some(r"'n\xc3\xa9'"));
    });
}
