//! `wsgi_pass_authorization`: whether applications see a client's credentials (AUTH-*).

use crate::harness::{ENVIRON, Environ, Nginx, Site, in_both_modes, request};

/// `Basic` with the user `x` and the password `y`.
const CREDENTIALS: &str = "Authorization: Basic eDp5\r\n";

fn environ(nginx: &Nginx, path: &str, headers: &str) -> Environ {
    Environ::of(&nginx.send(&request("GET", path, headers, b"")))
}

#[test]
fn auth_1_credentials_are_withheld_by_default() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode).file("app.py", ENVIRON).location("/", "wsgi_pass app.py;").start();
        let environ = environ(&nginx, "/", &format!("{CREDENTIALS}X-Other: 1\r\n"));
        assert_eq!(environ.get("HTTP_AUTHORIZATION"), None);
        assert_eq!(environ.get("HTTP_X_OTHER"), Some("'1'"));
    });
}

#[test]
fn auth_2_credentials_are_passed_as_they_are() {
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", ENVIRON);
        let nginx = site.location("/", "wsgi_pass app.py;\nwsgi_pass_authorization on;").start();
        let mut request = b"GET / HTTP/1.0\r\nAuthorization: Bearer a.b=\xe9\xff".to_vec();
        request.extend_from_slice(b"\r\n\r\n");
        let environ = Environ::of(&nginx.send(&request));
        assert_eq!(environ.get("HTTP_AUTHORIZATION"), Some(r"'Bearer a.b=\xe9\xff'"));
    });
}

#[test]
fn auth_3_an_inner_level_can_withhold_them_again() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .server("wsgi_pass_authorization on;")
            .location("/", "wsgi_pass app.py;")
            .location("/private/", "wsgi_pass app.py;\nwsgi_pass_authorization off;")
            .start();
        assert!(environ(&nginx, "/", CREDENTIALS).get("HTTP_AUTHORIZATION").is_some());
        assert_eq!(environ(&nginx, "/private/", CREDENTIALS).get("HTTP_AUTHORIZATION"), None);
    });
}

#[test]
fn auth_4_remote_user_never_comes_from_an_unverified_header() {
    in_both_modes(|mode| {
        for directive in ["", "wsgi_pass_authorization on;"] {
            let site = Site::new(mode).file("app.py", ENVIRON);
            let nginx = site.location("/", &format!("wsgi_pass app.py;\n{directive}")).start();
            let environ = environ(&nginx, "/", &format!("{CREDENTIALS}Remote-User: x\r\n"));
            assert_eq!((environ.get("REMOTE_USER"), environ.get("AUTH_TYPE")), (None, None));
        }
    });
}

#[test]
fn auth_5_remote_user_comes_from_the_operator_where_nginx_checks_it() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            // nginx supports {PLAIN} passwords in addition to crypt().
            .file("users", "x:{PLAIN}y\n")
            .location(
                "/",
                "wsgi_pass app.py;\nwsgi_var REMOTE_USER $remote_user;\nauth_basic a;\nauth_basic_user_file users;",
            )
            .start();
        assert_eq!(nginx.get("/").status, 401);
        let environ = environ(&nginx, "/", CREDENTIALS);
        assert_eq!(environ.get("REMOTE_USER"), Some("'x'"));
        assert_eq!(environ.get("HTTP_AUTHORIZATION"), None);
    });
}

#[test]
fn auth_6_credentials_for_a_proxy_are_treated_alike() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .location("/", "wsgi_pass app.py;")
            .location("/on/", "wsgi_pass app.py;\nwsgi_pass_authorization on;")
            .start();
        let header = "Proxy-Authorization: Basic eDp5\r\n";
        assert_eq!(environ(&nginx, "/", header).get("HTTP_PROXY_AUTHORIZATION"), None);
        assert_eq!(environ(&nginx, "/on/", header).get("HTTP_PROXY_AUTHORIZATION"), Some("'Basic eDp5'"));
    });
}

#[test]
fn a_variable_of_the_operator_is_there_in_any_case() {
    in_both_modes(|mode| {
        let site = Site::new(mode).file("app.py", ENVIRON);
        let nginx = site.location("/", "wsgi_pass app.py;\nwsgi_var HTTP_AUTHORIZATION $http_authorization;").start();
        assert_eq!(environ(&nginx, "/", CREDENTIALS).get("HTTP_AUTHORIZATION"), Some("'Basic eDp5'"));
    });
}
