//! Rules of RFC 9112 that hyper does not enforce.

use http::Version;
use http::header::HOST;
use http::request::Parts;
use wsgi_core::host::host_and_port;

/// Whether the service may answer a request that hyper accepts.
pub(super) fn is_in_order(request: &Parts) -> bool {
    has_plain_method(request) && has_one_host(request)
}

/// Whether nginx accepts the method. RFC 9110 (9.1) allows more characters, which clients do not use.
fn has_plain_method(request: &Parts) -> bool {
    request.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
}

/// Whether the request has exactly one valid host; with HTTP/1.0 it may have none. Other servers may understand a request
/// with no host or with two differently (RFC 9112, 3.2).
fn has_one_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version < Version::HTTP_11,
        (Some(host), None) => host_and_port(host.as_bytes()).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(method: &str, host: &str) -> Parts {
        Request::builder().method(method).uri("/").header(HOST, host).body(()).unwrap().into_parts().0
    }

    #[test]
    fn odd_methods_are_refused() {
        for (method, plain) in [("GET", true), ("M-SEARCH_X", true), ("get", false), ("G!T", false)] {
            assert_eq!(has_plain_method(&request(method, "a")), plain, "{method}");
        }
    }

    #[test]
    fn hosts_without_a_name_are_refused() {
        for (host, good) in [("a", true), ("", false)] {
            assert_eq!(has_one_host(&request("GET", host)), good, "{host:?}");
        }
    }
}
