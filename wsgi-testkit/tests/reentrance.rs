//! Nested calls, and violations of lock rules, on threads.

mod calling_back;

use wsgi_core::config::{Limits, Mode};

#[test]
fn a_call_within_a_call_on_a_thread_of_the_pool_is_refused_and_never_waits_for_itself() {
    let mode = Mode::Threads(Limits::new(2).max_threads(8).queue(8));
    calling_back::on_stage(mode, |stage| {
        calling_back::calls_within_calls_are_refused(stage);
        calling_back::broken_rules_are_found(stage);
    });
}
