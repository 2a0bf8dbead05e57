//! Objects that are frozen when applications are loaded, on the thread of an event loop.

mod cycles;

use wsgi_core::config::Mode;

#[test]
fn cycles_of_requests_inline_are_collected_whatever_is_loaded_meanwhile() {
    cycles::cycles_of_requests_are_collected(Mode::Inline);
}
