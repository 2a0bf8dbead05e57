//! The cost of requests for a worker.

use wsgi_harness::{amplification, malformed};

use crate::harness::{Site, in_both_modes};

/// Sum of nginx's default limits: `client_header_buffer_size` 1k, `large_client_header_buffers` 4 8k,
/// `client_body_buffer_size` 16k.
const LIMIT: u64 = (1 + 4 * 8 + 16) * 1024;

#[test]
fn no_request_costs_a_worker_much_more_than_its_client() {
    in_both_modes(|mode| {
        let location = "wsgi_pass app.py;\nlingering_timeout 1s;";
        let nginx = Site::new(mode).file("app.py", malformed::APPLICATION).location("/", location).start();
        amplification::check(&nginx, nginx.worker(), LIMIT, &format!("nginx, {mode}"));
    });
}
