//! Scripts in separate interpreters that use the same modules of the standard library.

use wsgi_harness::side_by_side::{SCRIPTS, check_side_by_side, script};

use crate::harness::{Mode, Site};

#[test]
fn scripts_with_interpreters_of_their_own_use_the_standard_library_side_by_side() {
    for mode in [Mode::Inline, Mode::Threads(1), Mode::Threads(4)] {
        let site = Site::new(mode).http("wsgi_enable_subinterpreters on;");
        let nginx = (0..SCRIPTS)
            .fold(site, |site, number| {
                let main = if number == 0 { "wsgi_use_main_interpreter on;" } else { "" };
                site.file(&format!("{number}.py"), script(number))
                    .location(&format!("/{number}"), &format!("wsgi_pass {number}.py;{main}"))
            })
            .start();
        check_side_by_side(|number, target| nginx.get(&format!("/{number}{target}")).ok());
    }
}
