//! Warnings of Python, with applications on threads.

mod deprecations;

use wsgi_core::config::{Limits, Mode};

#[test]
fn python_warns_of_nothing_that_the_gateway_does() {
    deprecations::no_step_warns("python_warns_of_nothing_that_the_gateway_does", Mode::Threads(Limits::new(2)));
}
