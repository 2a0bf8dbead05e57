//! Malformed requests: the example has its own parser.

mod common;

use common::Host;
use wsgi_harness::malformed;
use wsgi_testkit::conformance::{HostUnderTest as _, Site, check_leaks};

/// Rows that the example answers otherwise than nginx and wsgi-hyper do.
const OTHERS: &[&str] = &[
    // Refused by the example only.
    "empty lines before the request",
    "target of the absolute form with another scheme",
    // Passed on to the application: HTTP allows any token as a method.
    "method in lower case",
    "method with other characters of a token",
    "TRACE",
    "body of TRACE",
    "chunked body of TRACE",
    // A head may have 64 KiB; the length of its lines is not limited.
    "target of 9,000 bytes",
    "value of 9,000 bytes",
    "name of 9,000 bytes",
    "head of 40,000 bytes",
    // White space around values is not part of them (RFC 9110, 5.5).
    "Content-Length with blanks around",
    "Transfer-Encoding with blanks around",
];

#[test]
fn malformed_requests_are_refused_as_other_hosts_refuse_them() {
    malformed::check_other("examples/embed", &*Host.serve(Site::new(malformed::APPLICATION)), OTHERS);
}

#[test]
fn malformed_requests_tell_a_client_nothing_about_the_server() {
    check_leaks(&Host, &malformed::requests().collect::<Vec<_>>());
}
