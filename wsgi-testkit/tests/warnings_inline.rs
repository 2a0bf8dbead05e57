//! Warnings of Python, with applications on the thread of an event loop.

mod deprecations;

use wsgi_core::config::Mode;

#[test]
fn python_warns_of_nothing_that_the_gateway_does_inline() {
    deprecations::no_step_warns("python_warns_of_nothing_that_the_gateway_does_inline", Mode::Inline);
}
