//! Malformed requests: the example has a parser of its own.

mod common;

use common::Host;
use wsgi_testkit::conformance::{HostUnderTest as _, Site};
use wsgi_testkit::malformed;

/// Rows that nginx and wsgi-hyper judge alike, and the example otherwise.
const OTHERS: &[&str] = &[
    // Refused here.
    "empty lines before the request",
    "target of the absolute form with another scheme",
    // Methods are for the application: HTTP allows any token.
    "method in lower case",
    "method with other characters of a token",
    "TRACE",
    "body of TRACE",
    "chunked body of TRACE",
    // A head may have 64 KiB, however long its lines are.
    "target of 9,000 bytes",
    "value of 9,000 bytes",
    "name of 9,000 bytes",
    "head of 40,000 bytes",
    // Tabs around values are no part of them (RFC 9110, 5.5).
    "Content-Length with blanks around",
    "Transfer-Encoding with blanks around",
];

#[test]
fn malformed_requests_are_refused_as_other_hosts_refuse_them() {
    malformed::check_other("examples/embed", &*Host.serve(Site::new(malformed::APPLICATION)), OTHERS);
}
