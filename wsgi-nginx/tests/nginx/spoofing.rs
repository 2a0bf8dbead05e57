//! Headers with underscores or invalid names, which nginx accepts only if configured to: none of them sets the variable
//! of another header.

use wsgi_testkit::conformance::check_spoofing;

use crate::harness::{ENVIRON, Site, in_both_modes};

#[test]
fn no_header_poses_as_another_variable_with_underscores_and_invalid_names_let_in() {
    in_both_modes(|mode| {
        let nginx = Site::new(mode)
            .file("app.py", ENVIRON)
            .http("underscores_in_headers on;\nignore_invalid_headers off;")
            .location("/", "wsgi_pass app.py;")
            .start();
        check_spoofing(&nginx, &format!("nginx that lets all names in, {mode}"));
    });
}
