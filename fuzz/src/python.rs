//! The whole gateway with Python: `start_response`, `write`, `wsgi.input`, `wsgi.errors` and the iterables of applications,
//! called with objects of any kind, in any order, also after their request. The host always sees well-formed exchanges.

use std::sync::OnceLock;

use wsgi_core::config::{Limits, Mode};
use wsgi_core::host::Level;
use wsgi_testkit::{App, Body, Faults, Host, post};

use crate::{Numbers, fields};

/// The input: numbers for the request and its client; the application's program; the body.
pub fn run(data: &[u8]) {
    let mut texts = fields(data);
    let mut numbers = Numbers::new(texts.next().unwrap_or_default());
    let program = texts.next().unwrap_or_default();
    let body = texts.next().unwrap_or_default();
    let mut request = post("/", body.to_vec()).variable("fuzz.program", program).variable("fuzz.body", body);
    let mut faults = Faults::default();
    match numbers.below(8) {
        0 => request = request.method("HEAD"),
        1 => request = request.body_arrives(Body::CutAfter(numbers.size())),
        2 => request = request.body_arrives(Body::Pieces(numbers.size().max(1))),
        3 => faults.leaves_after = Some(numbers.size()),
        4 => faults.call_fails = Some(usize::from(numbers.below(16))),
        5 => faults.body_unwanted = true,
        _ => {}
    }
    if numbers.flag() {
        request = request.unknown_length();
    }
    let captured = host().send_to(app(numbers.flag()), request, faults).finish();
    captured.check();
    for line in captured.log().chain(&host().log()) {
        assert!(line.level < Level::Alert, "{}", line.text);
    }
}

fn host() -> &'static Host {
    Host::shared_with(Mode::Threads(Limits::new(1).max_threads(4).queue(4)))
}

/// Returns the application, with all response options that an operator can switch on, or with none.
fn app(buffered: bool) -> &'static App {
    static APPS: OnceLock<[App; 2]> = OnceLock::new();
    let [plain, with] = APPS.get_or_init(|| {
        let plain = host().app(include_str!("python.py"));
        let with = plain
            .clone()
            .with("wsgi_write_buffering on")
            .with("wsgi_write_buffer_size 1k")
            .with("wsgi_output_buffering on")
            .with("wsgi_optimize_send_headers on");
        [plain, with]
    });
    if buffered { with } else { plain }
}
