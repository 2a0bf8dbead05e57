//! Switching the GIL between computing scripts, on threads. This file runs with every version of Python that CI finds.

mod computing;

use wsgi_core::config::{Limits, Mode};

#[test]
fn a_script_that_computes_on_threads_holds_up_no_other() {
    computing::scripts_answer_while_others_compute(Mode::Threads(Limits::new(2)));
}
