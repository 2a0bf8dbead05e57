//! Malformed requests, sent to nginx. The expected results are a column of the table of malformed requests.

use wsgi_harness::malformed;
use wsgi_testkit::conformance::check_leaks;

use crate::conformance::Host;
use crate::harness::{Mode, Site, in_both_modes, nginx_version};

#[test]
fn malformed_requests_are_judged_as_the_table_says() {
    in_both_modes(|mode| {
        // A short timeout: nginx would wait in vain for the rest of a body that it discards.
        let location = "wsgi_pass app.py;\nlingering_timeout 100ms;";
        let nginx = Site::new(mode).file("app.py", malformed::APPLICATION).location("/", location).start();
        malformed::check_nginx(&nginx, nginx_version());
        nginx.stop();
    });
}

#[test]
fn malformed_requests_tell_a_client_nothing_about_the_server() {
    for mode in [Mode::Inline, Mode::Threads(1), Mode::Threads(4)] {
        check_leaks(&Host(mode), &malformed::requests().collect::<Vec<_>>());
    }
}
