//! Objects that are frozen when applications are loaded, on threads.

mod cycles;

use wsgi_core::config::{Limits, Mode};

#[test]
fn cycles_of_requests_on_threads_are_collected_whatever_is_loaded_meanwhile() {
    cycles::cycles_of_requests_are_collected(Mode::Threads(Limits::new(2).max_threads(8).queue(8)));
}
