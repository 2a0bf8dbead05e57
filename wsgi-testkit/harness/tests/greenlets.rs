//! Stack switches on threads of the pool, and on threads of the application.

mod switches;

use wsgi_core::config::{Limits, Mode};

#[test]
#[ignore = "needs the Python package index; make test runs it"]
fn greenlets_that_switch_within_calls_of_the_gateway_leave_threads_usable() {
    switches::changes_of_stacks_leave_python_usable(Mode::Threads(Limits::new(2).max_threads(4).queue(64)));
}
