//! Child processes of applications, beside those of a plain Python program.

use wsgi_testkit::children::{APPLICATION, FUNCTIONS, PROGRAMS, compare, plain};

use crate::harness::{Mode, Nginx, Site, in_both_modes, python_says};

fn site(mode: Mode) -> Site {
    Site::new(mode).file("app.py", APPLICATION).location("/", "wsgi_pass app.py;")
}

/// Answers of a worker are those of a plain program.
fn as_in_a_plain_program(nginx: &Nginx, ways: &[&str]) {
    let expected = plain(&nginx.path("app.py"), &python_says("sys.executable"));
    compare(&expected, ways, |path| nginx.get(path).ok());
}

#[test]
fn a_program_that_an_application_starts_is_as_if_a_plain_program_had_started_it() {
    in_both_modes(|mode| as_in_a_plain_program(&site(mode).start(), &PROGRAMS));
}

#[test]
fn a_process_that_an_application_forks_or_spawns_is_as_if_a_plain_program_had_started_it() {
    in_both_modes(|mode| as_in_a_plain_program(&site(mode).start(), &FUNCTIONS));
}
