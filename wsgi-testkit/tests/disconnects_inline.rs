//! Clients that leave in any state of an inline exchange.

mod leaving;

use wsgi_core::config::Mode;
use wsgi_testkit::Host;

#[test]
fn a_client_that_leaves_an_event_loop_at_any_state_has_the_result_closed_once() {
    leaving::clients_leave(Host::shared_with(Mode::Inline), true);
}
