//! Switching the GIL between computing scripts, on the thread of an event loop. This file runs with every version of Python
//! that CI finds.

mod computing;

use wsgi_core::config::Mode;

#[test]
fn a_script_that_computes_inline_holds_up_no_other() {
    computing::scripts_answer_while_others_compute(Mode::Inline);
}
