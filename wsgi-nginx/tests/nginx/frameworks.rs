//! Flask, Django, Falcon, Bottle and Pyramid, wrapped in the validator of the standard library.

use wsgi_harness::frameworks::{Framework, check, environment};

use crate::harness::{Site, in_both_modes};

fn runs(name: &str) {
    let framework = Framework::named(name);
    let home = format!("wsgi_python_home {};", environment().display());
    in_both_modes(|mode| {
        let site = Site::new(mode).http(&home).file("app.py", framework.source).location("/", "wsgi_pass app.py;");
        check(framework, Box::new(site.start()));
    });
}

#[test]
fn flask_runs_without_a_complaint() {
    runs("flask");
}

#[test]
fn django_runs_without_a_complaint() {
    runs("django");
}

#[test]
fn falcon_runs_without_a_complaint() {
    runs("falcon");
}

#[test]
fn bottle_runs_without_a_complaint() {
    runs("bottle");
}

#[test]
fn pyramid_runs_without_a_complaint() {
    runs("pyramid");
}
