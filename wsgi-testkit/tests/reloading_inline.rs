//! `wsgi_script_reloading` on the thread of an event loop.

mod destructors;

use wsgi_core::config::Mode;
use wsgi_testkit::Host;

#[test]
fn rel_2_versions_with_destructors_are_replaced_under_load_inline() {
    destructors::versions_are_replaced_under_load(Host::shared_with(Mode::Inline));
}
