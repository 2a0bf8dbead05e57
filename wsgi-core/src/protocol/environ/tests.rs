//! Tests of the cache against a model: after any sequence of requests, a dictionary that follows the reports equals the
//! environ that the rules give for the last request.

use std::collections::BTreeMap;

use proptest::prelude::*;

pub(crate) use self::request::requests;
use super::model::{Follower, Request, model};
use super::*;

mod request;

proptest! {
    #[test]
    fn dictionary_is_the_environ_of_the_last_request(requests in requests(1..20)) {
        let mut follower = Follower::new(Credentials::Withheld);
        for request in &requests {
            prop_assert_eq!(follower.environ(request), model(request, Credentials::Withheld));
            let held = follower.dictionary.held.values();
            prop_assert!(held.clone().all(|value| value.len() <= 256));
        }
    }

    #[test]
    fn same_request_again_changes_nothing(requests in requests(1..4)) {
        let mut follower = Follower::new(Credentials::Withheld);
        for request in &requests {
            let environ = follower.environ(request);
            let short = environ.iter().all(|(key, value)| value.len() <= 256 && key.len() < 64);
            prop_assert_eq!(follower.environ(request), environ);
            if short {
                prop_assert_eq!(follower.dictionary.reports, 0);
            }
        }
    }
}

/// Returns the environ of one request, made with a new cache.
fn environ(request: &Request) -> BTreeMap<String, String> {
    Follower::new(Credentials::Withheld)
        .environ(request)
        .into_iter()
        .map(|(key, value)| (key, String::from_utf8(value).unwrap()))
        .collect()
}

#[test]
fn bare_request_has_what_cgi_requires() {
    let environ = environ(&Request::default());
    let expected = [
        ("GATEWAY_INTERFACE", "CGI/1.1"),
        ("PATH_INFO", "/"),
        ("QUERY_STRING", ""),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("REMOTE_PORT", "50000"),
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_SCHEME", "http"),
        ("SCRIPT_NAME", ""),
        ("SERVER_NAME", "example.org"),
        ("SERVER_PORT", "80"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("wsgi.url_scheme", "http"),
    ];
    assert!(environ.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected), "{environ:?}");
}

#[test]
fn client_without_an_address_has_no_variable_for_it() {
    let request = Request { remote_addr: "", remote_port: None, ..Request::default() };
    let environ = environ(&request);
    assert!(environ.keys().all(|key| !key.starts_with("REMOTE_")), "{environ:?}");
}

#[test]
fn repeated_headers_are_joined_in_order() {
    let request = Request::default()
        .header("Cookie", "a=1")
        .header("Via", "x")
        .header("cookie", "b=2")
        .header("VIA", "y")
        .header("Via", "z");
    let environ = environ(&request);
    assert_eq!(environ["HTTP_COOKIE"], "a=1; b=2");
    assert_eq!(environ["HTTP_VIA"], "x, y, z");
}

#[test]
fn credentials_and_framing_are_withheld_however_they_are_spelled() {
    for name in [
        "Authorization",
        "Proxy-Authorization",
        "Proxy",
        "Transfer-Encoding",
        "Keep-Alive",
        "Content-Length",
        "Content_Type",
    ] {
        for name in [name.to_owned(), name.to_lowercase(), name.replace('-', "_")] {
            let environ = environ(&Request::default().header(&name, "1"));
            assert!(environ.keys().all(|key| !key.starts_with("HTTP_") && !key.starts_with("CONTENT_")), "{name}");
        }
    }
}

#[test]
fn credentials_are_passed_where_that_is_asked_for() {
    let request = Request::default().header("Authorization", "Basic eDp5").header("proxy-authorization", "Digest");
    let mut follower = Follower::new(Credentials::Passed);
    let environ = follower.environ(&request.header("Proxy", "http://evil"));
    assert_eq!(environ["HTTP_AUTHORIZATION"], b"Basic eDp5");
    assert_eq!(environ["HTTP_PROXY_AUTHORIZATION"], b"Digest");
    assert!(!environ.contains_key("HTTP_PROXY"));
}

#[test]
fn name_that_is_no_token_is_dropped() {
    for name in ["", "X User", "X(User", "X\u{e9}", "X:"] {
        assert_eq!(environ(&Request::default().header(name, "1")), environ(&Request::default()), "{name:?}");
    }
}

#[test]
fn header_with_dashes_replaces_the_one_with_underscores() {
    for names in [["X-User", "X_User"], ["X_User", "X-User"]] {
        let request = names.iter().fold(Request::default(), |request, name| request.header(name, name));
        assert_eq!(environ(&request)["HTTP_X_USER"], "X-User");
    }
    let alone = Request::default().header("X_User", "a").header("x_user", "b");
    assert_eq!(environ(&alone)["HTTP_X_USER"], "a, b");
}

#[test]
fn script_name_of_the_operator_changes_the_split_of_the_path() {
    let request = Request::default().at("", "/shop/cart").variable("SCRIPT_NAME", "/shop");
    let environ_of = |request: &Request| {
        let environ = environ(request);
        (environ["SCRIPT_NAME"].clone(), environ["PATH_INFO"].clone())
    };
    assert_eq!(environ_of(&request), ("/shop".to_owned(), "/cart".to_owned()));
    let request = request.variable("PATH_INFO", "/other");
    assert_eq!(environ_of(&request), ("/shop".to_owned(), "/other".to_owned()));
    let request = Request::default().at("/app", "/x").variable("PATH_INFO", "");
    assert_eq!(environ_of(&request), ("/app".to_owned(), String::new()));
}

#[test]
fn proxy_in_front_may_end_tls() {
    for (name, value) in [("HTTPS", "on"), ("HTTPS", "1"), ("REQUEST_SCHEME", "https")] {
        let request = Request { server_port: None, ..Request::default() }.variable(name, value);
        let environ = environ(&request);
        assert_eq!((environ["wsgi.url_scheme"].as_str(), environ["SERVER_PORT"].as_str()), ("https", "443"), "{name}");
    }
}

#[test]
fn operator_wins_over_host_and_client() {
    let request = Request::default()
        .extra("DOCUMENT_ROOT", "/srv")
        .header("X-Test", "evil")
        .header("X-Secret", "1")
        .header("Proxy", "http://evil")
        .variable("HTTP_X_TEST", "forced")
        .variable("HTTP_X_SECRET", "")
        .variable("HTTP_PROXY", "http://p")
        .variable("DOCUMENT_ROOT", "/www");
    let environ = environ(&request);
    assert_eq!(environ["HTTP_X_TEST"], "forced");
    assert_eq!(environ["HTTP_PROXY"], "http://p");
    assert_eq!(environ["DOCUMENT_ROOT"], "/www");
    assert!(!environ.contains_key("HTTP_X_SECRET"));
}

#[test]
fn host_does_not_replace_what_the_gateway_makes() {
    let request = Request::default().extra("SERVER_NAME", "other").extra("SERVER_ADDR", "10.0.0.1");
    let environ = environ(&request);
    assert_eq!((environ["SERVER_NAME"].as_str(), environ["SERVER_ADDR"].as_str()), ("example.org", "10.0.0.1"));
}

#[test]
fn variables_beyond_the_slots_override_headers() {
    let mut request = Request::default().header("X-Mine-298", "client").header("X-Mine-299", "client");
    for number in 0..299 {
        request = request.variable(&format!("HTTP_X_MINE_{number}"), number.to_string());
    }
    request = request.variable("HTTP_X_MINE_299", "");
    let mut follower = Follower::new(Credentials::Withheld);
    for _ in 0..2 {
        let environ = follower.environ(&request);
        assert_eq!(environ["HTTP_X_MINE_298"], b"298");
        assert!(!environ.contains_key("HTTP_X_MINE_299"));
    }
}

#[test]
fn many_header_names_take_no_slot_of_common_names() {
    let mut follower = Follower::new(Credentials::Withheld);
    for number in 0..1000 {
        let long = format!("{number}{}", "x".repeat(100));
        follower.environ(&Request::default().header(&format!("X-Flood-{number}"), "1").header(&long, "1"));
    }
    assert!(follower.dictionary.keys.values().all(|key| key.len() <= 64));
    let request = Request::default()
        .header("User-Agent", "curl")
        .header("Content-Type", "text/plain")
        .variable("HTTP_X_MINE", "1");
    follower.environ(&request);
    follower.environ(&request);
    assert_eq!(follower.dictionary.reports, 0);
    assert!(follower.dictionary.keys.len() < 200);
}

#[test]
fn long_value_is_not_kept() {
    let mut follower = Follower::new(Credentials::Withheld);
    let long = Request::default().header("Cookie", "c".repeat(300));
    for _ in 0..2 {
        assert_eq!(follower.environ(&long)["HTTP_COOKIE"].len(), 300);
        assert_eq!(follower.dictionary.held["HTTP_COOKIE"], b"");
    }
    assert!(!follower.environ(&Request::default()).contains_key("HTTP_COOKIE"));
}
