//! `wsgi_pass_authorization` and `wsgi_var`, which every host has (AUTH-*, VAR-*).

use wsgi_testkit::{App, Host, Request, get};

const ENVIRON: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr({key: value for key, value in environ.items() if type(value) is str}).encode()]
";

fn environ(directives: &[&str], request: Request) -> String {
    let app: App = directives.iter().fold(Host::shared().app(ENVIRON), |app, directive| app.with(directive));
    Host::shared().send(&app, request).text()
}

fn with_credentials() -> Request {
    get("/").header("authorization", "Basic eDp5").header("proxy-authorization", "Digest")
}

#[test]
fn auth_1_and_auth_6_credentials_are_withheld_by_default() {
    let environ = environ(&[], with_credentials().header("x-other", "1"));
    assert!(!environ.contains("AUTHORIZATION") && environ.contains("'HTTP_X_OTHER': '1'"), "{environ}");
}

#[test]
fn auth_2_and_auth_6_credentials_are_passed_as_they_are() {
    let environ = environ(&["wsgi_pass_authorization on"], with_credentials());
    assert!(environ.contains("'HTTP_AUTHORIZATION': 'Basic eDp5'"), "{environ}");
    assert!(environ.contains("'HTTP_PROXY_AUTHORIZATION': 'Digest'"), "{environ}");
}

#[test]
fn auth_4_remote_user_never_comes_from_a_header() {
    let request = || with_credentials().header("remote-user", "x");
    for directives in [&[][..], &["wsgi_pass_authorization on"]] {
        assert!(!environ(directives, request()).contains("'REMOTE_USER'"));
    }
    assert!(environ(&["wsgi_var REMOTE_USER x"], request()).contains("'REMOTE_USER': 'x'"));
}

#[test]
fn var_1_and_var_3_a_variable_wins_over_a_header() {
    let environ = environ(&["wsgi_var HTTP_X_TEST forced", "wsgi_var FOO bar"], get("/").header("x-test", "evil"));
    assert!(environ.contains("'HTTP_X_TEST': 'forced'") && environ.contains("'FOO': 'bar'"), "{environ}");
}
