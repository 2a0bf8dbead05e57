//! Malformed requests, sent to nginx: the table of them has a column for it.

use wsgi_testkit::malformed;

use crate::harness::{Site, in_both_modes, nginx_version};

#[test]
fn malformed_requests_are_judged_as_the_table_says() {
    in_both_modes(|mode| {
        // It waits no longer for a body that it does not want: there is none.
        let location = "wsgi_pass app.py;\nlingering_timeout 100ms;";
        let nginx = Site::new(mode).file("app.py", malformed::APPLICATION).location("/", location).start();
        malformed::check_nginx(&nginx, nginx_version());
        nginx.stop();
    });
}
