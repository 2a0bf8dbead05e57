//! Child processes of applications, compared with those of a plain Python program.

mod common;

use common::Host;
use wsgi_harness::children::{APPLICATION, FUNCTIONS, Forked, IgnoredSignals, PROGRAMS, compare};
use wsgi_testkit::conformance::{HostUnderTest as _, Site};

#[test]
fn what_an_application_starts_is_as_if_a_plain_program_had_started_it() {
    let site = Host.serve(Site::new(APPLICATION));
    compare(&[&PROGRAMS[..], &FUNCTIONS].concat(), Forked::Everything, IgnoredSignals::Inherited, |path| {
        site.get(path).ok()
    });
}
