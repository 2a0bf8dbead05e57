//! As `side_by_side`, on an event loop.

use wsgi_core::config::Mode;
use wsgi_harness::side_by_side::check_in_process;
use wsgi_testkit::Host;

#[test]
fn scripts_with_interpreters_of_their_own_do_not_see_each_other_on_an_event_loop() {
    check_in_process(Host::shared_with(Mode::Inline));
}
