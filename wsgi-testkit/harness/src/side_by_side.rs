//! Scripts in separate interpreters that use the same modules of Python's standard library, for the tests of all hosts.
//!
//! A module that keeps state of an interpreter in variables of the process would show one script the state of another: the
//! precision of its decimals, its event loop, its exceptions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Returns the script with this number, 0 to 2; its docstring describes it.
pub fn script(number: usize) -> String {
    format!("WHO = {number}\n{}", include_str!("side_by_side/application.py"))
}

/// Number of scripts.
pub const SCRIPTS: usize = 3;

/// The names of the checks.
pub const CHECKS: [&str; 15] = [
    "abstract_classes",
    "asyncio_exceptions",
    "asyncio_loop",
    "context_variables",
    "csv_settings",
    "dates",
    "decimal_context",
    "decimal_exceptions",
    "decimal_is_a_number",
    "decimal_local_context",
    "formats",
    "queues",
    "sqlite",
    "zone_of_the_script",
    "zone_that_is_missing",
];

/// The ways to run a check: on the thread of the request, and on a thread that the application starts.
const WAYS: [&str; 2] = ["", "/thread"];

/// Runs every check in every script, first one after the other, then in all scripts at the same time. `ask` sends a request
/// for a path and query below the location of a script, and returns the answer.
pub fn check_side_by_side(ask: impl Fn(usize, &str) -> String + Sync) {
    let wrong = Mutex::new(BTreeMap::new());
    let check = |number: usize, target: &str| {
        let answer = ask(number, target);
        if answer != "right" {
            let mut wrong = wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.insert(format!("script {number}, {target}"), answer);
        }
    };
    for target in CHECKS.iter().flat_map(|name| WAYS.map(|way| format!("{way}?{name}"))) {
        for _ in 0..3 {
            (0..SCRIPTS).for_each(|number| check(number, &target));
        }
        std::thread::scope(|scope| {
            for number in 0..SCRIPTS {
                let (check, target) = (&check, &target);
                scope.spawn(move || (0..10).for_each(|_| check(number, target)));
            }
        });
    }
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    let text: String = wrong.iter().map(|(what, answer)| format!("{what}: {answer}\n")).collect();
    assert!(wrong.is_empty(), "{text}");
}

/// Runs [`check_side_by_side`] on scripts that `host` serves, the first one in the main interpreter.
#[cfg(feature = "python")]
pub fn check_in_process(host: &wsgi_testkit::Host) {
    let app = |number| {
        let app = host.app(&script(number)).with("wsgi_enable_subinterpreters on");
        if number == 0 { app.with("wsgi_use_main_interpreter on") } else { app }
    };
    let apps: Vec<wsgi_testkit::App> = (0..SCRIPTS).map(app).collect();
    check_side_by_side(|number, target| {
        let response = host.send(&apps[number], wsgi_testkit::get(&format!("/x{target}")));
        assert!(response.is_complete(), "{response:?}");
        response.text()
    });
}
