//! Stack switches on the thread of an event loop.

mod switches;

use wsgi_core::config::Mode;

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn greenlets_that_switch_within_calls_of_the_gateway_leave_an_event_loop_usable() {
    switches::changes_of_stacks_leave_python_usable(Mode::Inline);
}
