//! What hyper lets through and must not (RFC 9112).

use http::Version;
use http::header::HOST;
use http::request::Parts;

use crate::request::is_host_and_port;

/// Whether a request that hyper lets through is answered by the service.
pub(super) fn is_in_order(request: &Parts) -> bool {
    is_plain(request) && has_one_host(request)
}

/// Whether method and target are such as nginx takes. Anything else is legal, and used by nobody but those who try what
/// happens.
fn is_plain(request: &Parts) -> bool {
    let method = request.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte));
    method && request.uri.authority().is_none_or(is_host_and_port)
}

/// A client that sends a request with no host or with two cannot be trusted to mean the same by it as others on the way
/// (RFC 9112, 3.2). It is hung up on. So is one whose host has an empty label, or is empty.
fn has_one_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version < Version::HTTP_11,
        (Some(host), None) => {
            let host = host.as_bytes();
            !host.is_empty() && host != b"." && !host.windows(2).any(|pair| pair == b"..")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(method: &str, uri: &str, host: &str) -> Parts {
        Request::builder().method(method).uri(uri).header(HOST, host).body(()).unwrap().into_parts().0
    }

    #[test]
    fn odd_methods_and_targets_are_refused() {
        for (method, uri, plain) in [
            ("GET", "/", true),
            ("M-SEARCH", "*", true),
            ("get", "/", false),
            ("G!T", "/", false),
            ("GET", "http://a:80/", true),
            ("GET", "http://[::1]:80/", true),
            ("GET", "http://a:/", true),
            ("GET", "http://a:b/", false),
            ("GET", "http://a:65535/", true),
            ("GET", "http://a:65536/", false),
            ("GET", "http://me@a/", false),
        ] {
            assert_eq!(is_plain(&request(method, uri, "a")), plain, "{method} {uri}");
        }
    }

    #[test]
    fn hosts_without_a_name_are_refused() {
        for (host, good) in [("a", true), ("a.", true), ("[::1]:80", true), ("", false), (".", false), ("a..b", false)]
        {
            assert_eq!(has_one_host(&request("GET", "/", host)), good, "{host:?}");
        }
    }
}
