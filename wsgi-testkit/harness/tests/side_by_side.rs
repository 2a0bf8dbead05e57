//! Scripts in separate interpreters that use the standard library, in process. This file runs with every version of Python
//! that CI finds.

use wsgi_core::config::{Limits, Mode};
use wsgi_harness::side_by_side::check_in_process;
use wsgi_testkit::Host;

#[test]
fn scripts_with_interpreters_of_their_own_do_not_see_each_other_in_the_standard_library() {
    check_in_process(Host::shared_with(Mode::Threads(Limits::new(4))));
}
