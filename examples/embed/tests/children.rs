//! Child processes of applications, compared with those of a plain Python program.

mod common;

use common::Host;
use wsgi_harness::children::{APPLICATION, FUNCTIONS, Forked, IgnoredSignals, PROGRAMS, compare};
use wsgi_testkit::conformance::{HostUnderTest as _, Site};

#[test]
fn child_processes_start_as_from_a_plain_python_program() {
    let site = Host.serve(Site::new(APPLICATION));
    compare(&[&PROGRAMS[..], &FUNCTIONS].concat(), Forked::Everything, IgnoredSignals::Inherited, |path| {
        site.get(path).ok()
    });
}
