//! Nested calls, and violations of lock rules, on the thread of an event loop.

mod calling_back;

use wsgi_core::config::Mode;

#[test]
fn a_call_within_a_call_on_an_event_loop_is_refused_and_never_waits_for_itself() {
    calling_back::on_stage(Mode::Inline, |stage| {
        calling_back::calls_within_calls_are_refused(stage);
        calling_back::broken_rules_are_found(stage);
    });
}
