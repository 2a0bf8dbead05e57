//! Clients that leave in any state of an exchange on a thread.

mod leaving;

use wsgi_core::config::{Limits, Mode};
use wsgi_testkit::Host;

#[test]
fn a_client_that_leaves_a_thread_at_any_state_has_the_result_closed_once() {
    leaving::clients_leave(Host::shared_with(Mode::Threads(Limits::new(1))), false);
}
